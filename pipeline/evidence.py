"""What the gates are given: the prepared rows, and both bundles' scores of the held-out ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from model.contract import Floats, Model
from pipeline import paths, production
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, columns_of, read_rows, sha256
from pipeline.production import Production
from pipeline.verdict import BundleRef
from serving import bundle
from serving.bundle import Bundle
from serving.signature import encode


@dataclass(frozen=True)
class Scorer:
    """A verified bundle with the figures it carries and its scores of the held-out rows."""

    bundle: Bundle
    metrics: Mapping[str, Any]
    scores: Floats

    @property
    def rule(self) -> Mapping[str, Any]:
        """How its rows were split."""
        rule: Mapping[str, Any] = self.metrics.get("split", {})
        return rule

    def ref(self) -> BundleRef:
        """As the verdict names it."""
        return BundleRef(
            version=self.bundle.version,
            model=self.bundle.signature.model,
            estimator=self.metrics.get("estimator", "unknown"),
            rule=dict(self.rule),
            training_rows=self.metrics["rows"]["train"],
            loss=self.metrics["loss"],
        )


@dataclass(frozen=True)
class Evidence:
    """All that the gates are given. `rows` is every prepared row; scores are of the held-out ones, in their order."""

    model: Model
    rows: pd.DataFrame
    split_rule: Mapping[str, str | float]
    candidate: Scorer
    estimator_scores: Floats
    production: Production
    incumbent: Scorer | None

    @property
    def train(self) -> pd.DataFrame:
        """The rows that trained the candidate."""
        return self.rows[self.rows[PART] == TRAIN]

    @property
    def holdout(self) -> pd.DataFrame:
        """The rows that judge."""
        return self.rows[self.rows[PART] == HOLDOUT]


def score(path: Path, holdout: pd.DataFrame) -> Scorer:
    """Open a bundle and score the held-out rows, encoded by its own signature. Raises BundleError, TableError."""
    opened = bundle.load(path)
    missing = [name for name in opened.signature.names if name not in holdout]
    if missing:
        raise TableError(f"bundle {opened.version[:12]} takes column {missing[0]!r}, which these rows do not have")
    scores = opened.score(encode(opened.signature, columns_of(holdout, opened.signature.names)))
    return Scorer(opened, json.loads((path / "metrics.json").read_text()), scores)


def gather(context: Context) -> Evidence:
    """Read rows, candidate and production. Raises TableError where the bundle was not made from these rows."""
    model, root = context.model, context.root
    rows = read_rows(root / paths.ROWS, model.schema)
    holdout = rows[rows[PART] == HOLDOUT]
    candidate = score(root / paths.BUNDLE, holdout)
    made_of = json.loads((root / paths.BUNDLE / "inputs.json").read_text())["data"]
    if made_of != sha256(root / paths.ROWS):
        raise TableError(f"{paths.BUNDLE} was not made from {paths.ROWS}; run `dvc repro`")
    released = production.restore(context)
    incumbent, released = _incumbent(released, holdout)
    split_rule = json.loads((root / paths.SPLIT).read_text())
    said = pd.read_csv(root / paths.ESTIMATOR_SCORES)["score"].to_numpy()
    return Evidence(model, rows, split_rule, candidate, said, released, incumbent)


def _incumbent(released: Production, holdout: pd.DataFrame) -> tuple[Scorer | None, Production]:
    """Production's scores; a bundle that cannot score these rows is as good as out of reach, and says why."""
    if released.path is None:
        return None, released
    try:
        return score(released.path, holdout), released
    except (bundle.BundleError, TableError) as error:
        return None, Production(None, f"production cannot be compared with: {error}", reachable=False)
