"""Two models on the same logged rows: a challenger scores what production answered, before any user meets it.

Paired, with whole days resampled (whole groups, where the schema's blocks are no days), under the very rules and
statistics of the benchmark gate. Production's score is the one that was logged: what callers were given.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from model.contract import Floats, Model, Schema
from pipeline.config import BenchmarkGate, Frozen
from pipeline.frames import columns_of
from pipeline.gates import benchmark, statistics, unseen
from pipeline.monitoring.observation import Period
from pipeline.monitoring.recent import as_pandas, sampled
from pipeline.stages.blocks import DAY
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
    where the model decides nothing. `unsliced` says why there are no slices, "" where there are.
    """

    format: Literal[1] = 1
    challenger: str
    production: str
    window: Period
    gate: GateResult
    distance: float
    flips: float | None
    unsliced: str = ""

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
    """Logged rows with a label, of one version of production: columns of the schema, label, day and logged score.

    `unit` is what is resampled as a whole: `DAY`, or the column that names the blocks.
    """

    frame: pd.DataFrame
    version: str
    unit: str = DAY

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


def unseen_by(rows: Logged, metrics: Mapping[str, Any], schema: Schema) -> Logged:
    """The rows without the groups that a challenger trained on; those of one split by time have to be newer already.

    Raises ShadowError where nothing tells which these are, or all of them are.
    """
    rule = metrics.get("split", {})
    if rule.get("kind") == "time":
        return rows
    if rule.get("kind") != "group":
        raise ShadowError("the challenger's metrics.json does not say how its rows were split; rebuild the bundle")
    column = rule["column"]
    if any(one.name == column and one.type != "category" for one in schema.columns):
        raise ShadowError(f"the challenger's split is by {column!r}, a number, and only text is logged as it was split")
    with _needing("leaving out the groups that the challenger trained on", schema):
        held = unseen.holds_out(rule, rows.frame[column])
    if not held.any():
        raise ShadowError(
            f"no labelled row of the log is of a group by {column!r} that the challenger was not trained on"
        )
    return replace(rows, frame=rows.frame[held])


def unit_of(reference: Mapping[str, Any], schema: Schema) -> str:
    """What a bundle's held-out blocks are, by its reference.json; by the schema where that has none."""
    usual = schema.block if schema.event_time is None else DAY
    return str(reference.get("blocks", {}).get("unit", usual))


def compare(model: Model, rows: Logged, challenger: Bundle, limits: BenchmarkGate) -> Shadow:
    """Score the rows with the challenger and hold its loss against the logged scores'. Pure but for the models.

    Raises ShadowError where the log does not carry a column that this needs; slices are left out instead.
    """
    frame, schema = _prepared(rows, model.schema), model.schema
    said = frame[_SCORE].to_numpy(np.float64)
    with _needing("the challenger", schema):
        theirs = scores(challenger, frame)
    with _needing("model.loss", schema):
        losses = model.loss(frame, theirs), model.loss(frame, said)
    with _needing("resampling by blocks", schema):
        blocks = frame[_DAY if rows.unit == DAY else rows.unit].astype(str).to_numpy()
    slices, unsliced = _slices(model, frame)
    comparison = benchmark.Comparison(
        candidate_loss=losses[0],
        reference_loss=losses[1],
        candidate_scores=theirs,
        labels=frame[schema.label].to_numpy(np.float64),
        blocks=blocks,
        task=model.card.task,
        reference_name="production",
        reference_scores=said,
        slices=slices,
        unit="days" if rows.unit == DAY else "blocks",
    )
    return Shadow(
        challenger=challenger.version,
        production=rows.version,
        window=rows.window,
        gate=benchmark.judge(comparison, "gain", limits),
        distance=statistics.ks_distance(theirs, said),
        flips=_flips(model.card.threshold, theirs, said),
        unsliced=unsliced,
    )


def _prepared(rows: Logged, schema: Schema) -> pd.DataFrame:
    """With the column of the blocks where these are the days, which every row has."""
    return rows.frame.assign(**{schema.block: rows.frame[_DAY].astype(str)}) if rows.unit == DAY else rows.frame


def _slices(model: Model, frame: pd.DataFrame) -> tuple[Mapping[str, "pd.Series[Any]"], str]:
    """The slices, or none and why: the gate has looked at them on the held-out rows."""
    try:
        with _needing("model.slices", model.schema):
            return model.slices(frame), ""
    except ShadowError as error:
        return {}, str(error)


@contextmanager
def _needing(what: str, schema: Schema) -> Iterator[None]:
    """A column that is not there becomes an error that names it, what needs it, and what to change."""
    try:
        yield
    except KeyError as error:
        name = error.args[0] if error.args else ""
        fix = "add it to `monitoring.fields` in params.yaml"
        if name not in schema.names:
            fix = "it is none of the request's (`schema.columns` in model/), and no other is logged"
        raise ShadowError(f"the log does not carry column {error}, which {what} needs; {fix}") from error


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
        if not (shadow.unsliced and check.name == "slices"):
            yield check.name, check.reason
    if shadow.unsliced:
        yield "slices", f"left out: {shadow.unsliced}"
    yield "distance of the scores (KS)", number(shadow.distance)
    if shadow.flips is not None:
        yield "decisions that differ", f"{100 * shadow.flips:.2f} %"


def _as_day(value: Any) -> date:
    return value if type(value) is date else pd.Timestamp(value).date()


def from_store(context: Any, challenger: Path, version: str, limits: BenchmarkGate, last: date | None = None) -> Shadow:
    """The comparison on the newest labelled days of the store, at most DAYS of them, A_DAY rows of each at most.

    Raises ShadowError; UnavailableError where the store is away or all of these rows are older than the fields kept.
    """
    import json

    import polars as pl

    from pipeline.monitoring.store import open_store
    from serving import bundle

    opened, schema = bundle.load(challenger), context.model.schema
    metrics, reference = (json.loads((challenger / name).read_text()) for name in ("metrics.json", "reference.json"))
    store = open_store(context)
    days = _labelled_days(store.days(), version, last)
    if not days:
        raise ShadowError(
            f"the store has no labelled day of bundle {version[:12]}; `flightline labels add` brings them"
        )
    chosen, names = (pl.col(_VERSION) == version) & pl.col(_LABEL).is_not_null(), (_VERSION, _SCORE, _LABEL)
    frame = as_pandas(sampled(store, days[0], days[-1], (*names, *store.features), A_DAY, chosen))
    rows = logged(frame, version, schema.label, trained_until(metrics))
    fair = unseen_by(replace(rows, unit=unit_of(reference, schema)), metrics, schema)
    return compare(context.model, fair, opened, limits)


def _labelled_days(counts: Any, version: str, last: date | None) -> list[date]:
    """The newest days on which that version has labelled rows, up to `last`."""
    found = [row["day"] for row in counts.iter_rows(named=True) if row["version"] == version and row["labelled"]]
    return sorted(day for day in found if last is None or day <= last)[-DAYS:]
