"""The dashboards. docs/dashboards.md says who looks at which, and when."""

from pipeline.dashboards.boards.model import MODEL
from pipeline.dashboards.boards.retraining import RETRAINING
from pipeline.dashboards.boards.rollout import ROLLOUT
from pipeline.dashboards.boards.service import SERVICE

BOARDS = (SERVICE, ROLLOUT, MODEL, RETRAINING)
