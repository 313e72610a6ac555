"""Two models on the same logged rows: a challenger scores what production answered, before any user meets it.

Paired, with whole days resampled, under the very rules and statistics of the benchmark gate. Production's score is the
one that was logged: what callers were given.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from model.contract import Floats, Model
from pipeline.config import BenchmarkGate, Frozen
from pipeline.frames import columns_of
from pipeline.gates import benchmark, statistics
from pipeline.monitoring.observation import Period
from pipeline.monitoring.recent import as_pandas, sampled
from pipeline.text import number
from pipeline.verdict import Decision, GateResult
from serving.bundle import Bundle
from serving.signature import encode

DAYS, A_DAY = 28, 20_000
_ID, _DAY, _VERSION, _SCORE, _LABEL = "id", "day", "version", "score", "label"


class ShadowError(ValueError):
    """Rows that nothing can be compared on. Names what is missing."""


class Shadow(Frozen):
    """What the comparison found. `gate` has loss, slices and power as the benchmark gate words them.

    `distance` is Kolmogorov-Smirnov's between both models' scores; `flips` the share of decisions that differ, None
    where the model decides nothing.
    """

    format: Literal[1] = 1
    challenger: str
    production: str
    window: Period
    gate: GateResult
    distance: float
    flips: float | None

    @property
    def decision(self) -> Decision:
        """Pass: better by the margin for certain. Fail: such a gain is excluded, or a slice is harmed."""
        return self.gate.decision

    @property
    def exit_code(self) -> int:
        """What `flightline shadow` exits with."""
        return self.decision.exit_code


@dataclass(frozen=True)
class Logged:
    """Logged rows with a label, of one version of production: columns of the schema, label, day and logged score."""

    frame: pd.DataFrame
    version: str

    @property
    def window(self) -> Period:
        """The days that they are from."""
        days = sorted({_as_day(one) for one in self.frame[_DAY]})
        rows = len(self.frame)
        return Period(first=days[0], last=days[-1], days=len(days), rows=rows, labelled=rows)


def logged(frame: pd.DataFrame, version: str, label: str, after: date | None) -> Logged:
    """The labelled rows of that version, later than a day. Raises ShadowError where there are none.

    `frame` has the store's columns: id, day, version, score, label, and one for each feature.
    """
    kept = frame[(frame[_VERSION] == version) & frame[_LABEL].notna()]
    if after is not None:
        kept = kept[[_as_day(one) > after for one in kept[_DAY]]]
    if kept.empty:
        since = f" after {after}" if after else ""
        raise ShadowError(f"the log has no labelled row of bundle {version[:12]}{since}; labels may come later")
    return Logged(kept.rename(columns={_LABEL: label}), version)


def trained_until(metrics: Mapping[str, Any]) -> date | None:
    """The last day that a bundle was trained on, by its own word; None where it was not split by time."""
    rule = metrics.get("split", {})
    return date.fromisoformat(str(rule["trained_until"])[:10]) if rule.get("kind") == "time" else None


def compare(model: Model, rows: Logged, challenger: Bundle, limits: BenchmarkGate) -> Shadow:
    """Score the rows with the challenger and hold its loss against the logged scores'. Pure but for the models."""
    theirs, said = scores(challenger, rows.frame), rows.frame[_SCORE].to_numpy(np.float64)
    comparison = benchmark.Comparison(
        candidate_loss=model.loss(rows.frame, theirs),
        reference_loss=model.loss(rows.frame, said),
        candidate_scores=theirs,
        labels=rows.frame[model.schema.label].to_numpy(np.float64),
        blocks=rows.frame[_DAY].astype(str).to_numpy(),
        task=model.card.task,
        reference_name="production",
        reference_scores=said,
        slices=model.slices(rows.frame),
    )
    return Shadow(
        challenger=challenger.version,
        production=rows.version,
        window=rows.window,
        gate=benchmark.judge(comparison, "gain", limits),
        distance=statistics.ks_distance(theirs, said),
        flips=_flips(model.card.threshold, theirs, said),
    )


def scores(bundle: Bundle, frame: pd.DataFrame) -> Floats:
    """A bundle's scores of prepared rows, shape (rows,)."""
    columns = columns_of(frame, bundle.signature.names)
    return bundle.score(encode(bundle.signature, columns)).astype(np.float64)


def _flips(threshold: float | None, one: Floats, other: Floats) -> float | None:
    return None if threshold is None else float(((one >= threshold) != (other >= threshold)).mean())


def markdown(shadow: Shadow) -> str:
    """For a pull request: the finding, then loss, slices and power in a table."""
    from pipeline.text import markdown as escaped

    window = shadow.window
    lines = [
        f"**{shadow.decision.capitalize()}:** {escaped(shadow.gate.reason)}.",
        "",
        f"{window.labelled:,} logged rows of {window.days} days ({window.first} to {window.last}); production's scores "
        "are those that callers were given.",
        "",
        "| Figure | Found |",
        "| --- | --- |",
        *(f"| {escaped(name)} | {escaped(said)} |" for name, said in _figures(shadow)),
    ]
    return "\n".join(lines) + "\n"


def _figures(shadow: Shadow) -> Iterator[tuple[str, str]]:
    for check in shadow.gate.checks:
        yield check.name, check.reason
    yield "distance of the scores (KS)", number(shadow.distance)
    if shadow.flips is not None:
        yield "decisions that differ", f"{100 * shadow.flips:.2f} %"


def _as_day(value: Any) -> date:
    return value if type(value) is date else pd.Timestamp(value).date()


def from_store(context: Any, challenger: Path, version: str, limits: BenchmarkGate, last: date | None = None) -> Shadow:
    """The comparison on the newest labelled days of the store, at most DAYS of them, A_DAY rows of each at most.

    Raises ShadowError.
    """
    import json

    import polars as pl

    from pipeline.monitoring.store import open_store
    from serving import bundle

    opened = bundle.load(challenger)
    metrics = json.loads((challenger / "metrics.json").read_text())
    store = open_store(context)
    days = _labelled_days(store.days(), version, last)
    if not days:
        raise ShadowError(
            f"the store has no labelled day of bundle {version[:12]}; `flightline labels add` brings them"
        )
    chosen, names = (pl.col(_VERSION) == version) & pl.col(_LABEL).is_not_null(), (_VERSION, _SCORE, _LABEL)
    frame = as_pandas(sampled(store, days[0], days[-1], (*names, *store.features), A_DAY, chosen))
    rows = logged(frame, version, context.model.schema.label, trained_until(metrics))
    return compare(context.model, rows, opened, limits)


def _labelled_days(counts: Any, version: str, last: date | None) -> list[date]:
    """The newest days on which that version has labelled rows, up to `last`."""
    found = [row["day"] for row in counts.iter_rows(named=True) if row["version"] == version and row["labelled"]]
    return sorted(day for day in found if last is None or day <= last)[-DAYS:]
