"""What the gates are given: the prepared rows, and both bundles' scores of the held-out ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline import paths, production, signature
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, columns_of, read_rows
from pipeline.production import Production
from pipeline.verdict import BundleRef
from serving import bundle
from serving.bundle import Bundle
from serving.signature import Signature, encode

if TYPE_CHECKING:
    from model.contract import Floats, Model


@dataclass(frozen=True)
class Scorer:
    """A verified bundle with the figures it carries and its scores of the held-out rows."""

    bundle: Bundle
    metrics: Mapping[str, Any]
    scores: "Floats"

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

    model: "Model"
    rows: pd.DataFrame
    split_rule: Mapping[str, str | float]
    candidate: Scorer
    estimator_scores: "Floats"
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
    """Open a bundle and score the held-out rows. Raises BundleError, TableError."""
    return score_opened(bundle.load(path), holdout)


def score_opened(opened: Bundle, holdout: pd.DataFrame) -> Scorer:
    """Score the held-out rows, encoded by the bundle's own signature. Raises TableError."""
    missing = [name for name in opened.signature.names if name not in holdout]
    if missing:
        raise TableError(f"bundle {opened.version[:12]} takes column {missing[0]!r}, which these rows do not have")
    scores = opened.score(encode(opened.signature, columns_of(holdout, opened.signature.names)))
    return Scorer(opened, json.loads((opened.path / "metrics.json").read_text()), scores)


def gather(context: Context) -> Evidence:
    """Read rows, candidate and production. Raises TableError where the bundle is not made from what is here."""
    model, root = context.model, context.root
    check_fresh(context)
    rows = read_rows(root / paths.ROWS, model.schema)
    holdout = rows[rows[PART] == HOLDOUT]
    candidate = score(root / paths.BUNDLE, holdout)
    incumbent, released = _incumbent(production.restore(context), model, holdout)
    split_rule = json.loads((root / paths.SPLIT).read_text())
    said = pd.read_csv(root / paths.ESTIMATOR_SCORES)["score"].to_numpy()
    return Evidence(model, rows, split_rule, candidate, said, released, incumbent)


def check_fresh(context: Context) -> None:
    """Raise TableError where build/bundle was made from other data, code, parameters or packages than are here."""
    from pipeline.stages.bundle import inputs

    path = context.root / paths.BUNDLE / "inputs.json"
    if not path.is_file():
        raise TableError(f"{path} is not there; run `dvc repro`, or `make gate`, which does")
    made_of = json.loads(path.read_text())
    for name, here in inputs(context).items():
        if made_of.get(name) != here:
            raise TableError(f"{paths.BUNDLE} was made from other {name} than are here; run `dvc repro`")


def _incumbent(released: Production, model: "Model", holdout: pd.DataFrame) -> tuple[Scorer | None, Production]:
    """Production's scores; a bundle that cannot score these rows is as good as out of reach, and says why."""
    if released.path is None:
        return None, released
    try:
        opened = bundle.load(released.path)
        check_same_meaning(opened.signature, signature.of_model(model.card, model.schema))
        return score_opened(opened, holdout), released
    except (bundle.BundleError, TableError, ValueError) as error:
        return None, Production(None, f"production cannot be compared with: {error}", reachable=False)


def check_same_meaning(theirs: Signature, ours: Signature) -> None:
    """Raise TableError where production would read these rows as something else than they are.

    A column that became a category, or changed its unit, would be encoded as nonsense, and any candidate would win.
    """
    if theirs.task != ours.task:
        raise TableError(f"it is a {theirs.task} and the candidate a {ours.task}")
    here = {one.name: one for one in ours.inputs}
    for one in theirs.inputs:
        now = here.get(one.name)
        if now is None:
            raise TableError(f"it takes column {one.name!r}, which the schema no longer has")
        if (one.type, one.unit) != (now.type, now.unit):
            raise TableError(
                f"its column {one.name!r} is a {one.type} in {one.unit}, the schema's a {now.type} in {now.unit}"
            )
