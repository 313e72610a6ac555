"""Section `retrain` of params.yaml: when a retraining is tried, and what runs it. It never changes a bundle.

docs/retraining.md says what each setting is for.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline import production
from pipeline.config import Frozen, load_yaml, read_params, validated
from pipeline.context import Context
from pipeline.monitoring.retrain.schedule import checked

Engine = Literal["job", "workflow", "local"]
KEY = r"^[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*$"


class Place(Frozen):
    """Which nodes the step that trains may run on: labels and tolerations of spot nodes, as Kubernetes has them."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()


class Retrain(Frozen):
    """Every setting of retraining. Days of cooldown are days of data, not of the clock.

    `sound_days` had a broken feed, and a person has seen that their rows are right where training reads them.
    """

    engine: Engine = "job"
    schedule: Annotated[str, AfterValidator(checked)] = "30 6 * * *"
    window_key: str = Field("data.end", pattern=KEY)
    branch: str = Field("retrain", min_length=1)
    cooldown_days: int = Field(28, ge=1)
    min_new_labels: int = Field(5000, ge=1)
    max_failures: int = Field(3, ge=1)
    reset_after: date | None = None
    sound_days: tuple[date, ...] = ()
    max_tries: int = Field(5, ge=1)
    lease_minutes: int = Field(120, ge=5)
    spot: Place = Place()


class _Named(Frozen):
    """The section under its name, so that a fault says the whole field."""

    retrain: Retrain


def read_retrain(root: Path) -> Retrain:
    """Section `retrain` of `params.yaml` under `root`. Raises ConfigError naming file, field and value."""
    return _of(read_params(root).retrain, root / "params.yaml")


def as_written(text: str, path: Path) -> Retrain:
    """The same of a `params.yaml` that git has. Raises ConfigError naming `path`, field and value."""
    document = load_yaml(text, path) or {}
    return _of(document.get("retrain") or {}, path)


def is_retraining(context: Context, branch: str) -> bool:
    """Whether main calls this branch the one of retraining, whatever the branch says. Raises ConfigError, GitError."""
    if not branch:
        return False
    main = production.main_ref(context)
    if main is None:
        return branch == read_retrain(context.root).branch
    there = f"{main}:params.yaml"
    return branch == as_written(context.git("show", there), Path(there)).branch


def _of(document: Any, path: Path) -> Retrain:
    return validated(_Named, {"retrain": document}, path).retrain
