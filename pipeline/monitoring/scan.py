"""One pass over the logged rows, a day at a time: what comes of it is small, whatever there was to read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from model.contract import Floats, Model
from pipeline.gates import statistics
from pipeline.monitoring import tally
from pipeline.monitoring.decay import Day, Outcomes
from pipeline.monitoring.reference import Reference
from pipeline.monitoring.rescoring import Sample
from pipeline.monitoring.tally import Tally, pandas_of
from pipeline.stages.blocks import DAY, SUMS, contributions
from serving.bundle import Bundle
from serving.signature import encode

_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Looker:
    """Production's bundle and the model contract: what rows are read by."""

    model: Model
    bundle: Bundle
    reference: Reference

    @property
    def unit(self) -> str:
        """What the blocks of the held-out rows are, and so those of a window."""
        return self.reference.blocks.unit if self.reference.blocks else DAY


@dataclass
class Scanned:
    """What was read so far, by day; `samples` are of the rows that production's own version answered."""

    tallies: dict[date, Tally] = field(default_factory=dict)
    labelled: dict[date, int] = field(default_factory=dict)
    cells: dict[tuple[date, str], Floats] = field(default_factory=dict)
    samples: dict[date, Sample] = field(default_factory=dict)
    carried: set[str] = field(default_factory=set)
    lacked: dict[frozenset[str], str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why there are no outcomes; a frame that lacks what others carry is older than the setting, and no reason."""
        return next((why for columns, why in self.lacked.items() if columns >= self.carried), "")

    @property
    def days(self) -> tuple[Day, ...]:
        """Rows and labels by day."""
        return tuple(Day(day, one.rows, self.labelled[day]) for day, one in sorted(self.tallies.items()))

    @property
    def outcomes(self) -> Outcomes:
        """Sums by day and block, in order of day."""
        keys = sorted(self.cells)
        return Outcomes(
            days=np.array([day for day, _ in keys], "datetime64[D]"),
            blocks=np.array([block for _, block in keys], np.str_),
            sums=np.array([self.cells[key] for key in keys]).reshape(len(keys), len(SUMS)),
            reason=self.reason,
        )


def scan(batches: Iterable[pl.DataFrame], looker: Looker) -> Scanned:
    """Read frames as the store joins them: id, day, time, version, score, label and a column per feature."""
    found = Scanned()
    for frame in _frames(batches):
        _add(found, frame, looker)
    return found


def tallies(batches: Iterable[pl.DataFrame], looker: Looker) -> dict[date, Tally]:
    """Rows counted by day and nothing more: all that a broken day is known by, without labels or scoring."""
    found: dict[date, Tally] = {}
    for frame in _frames(batches):
        _count(found, frame, looker)
    return found


def _frames(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows, in frames of one day that are not too large."""
    for batch in batches:
        for part in batch.iter_slices(_ROWS_AT_ONCE):
            yield from part.partition_by("day", maintain_order=True)


def _count(found: dict[date, Tally], frame: pl.DataFrame, looker: Looker) -> None:
    day: date = frame["day"][0]
    counted = tally.of_rows(frame, looker.model.schema, looker.reference)
    found[day] = found[day] + counted if day in found else counted


def _add(found: Scanned, frame: pl.DataFrame, looker: Looker) -> None:
    """Count the rows of one day."""
    day: date = frame["day"][0]
    _count(found.tallies, frame, looker)
    sample = Sample.of(frame, looker.bundle.version, looker.bundle.signature.names)
    found.samples[day] = found.samples[day] + sample if day in found.samples else sample
    labelled, columns = frame.filter(pl.col("label").is_not_null()), frozenset(frame.columns)
    found.labelled[day] = found.labelled.get(day, 0) + len(labelled)
    found.carried |= columns
    if columns in found.lacked or not len(labelled):
        return
    try:
        _add_outcomes(found, day, labelled, looker)
    except KeyError as error:
        found.lacked[columns] = f"the log does not carry column {error}, which scoring, model.loss or the blocks need"


def _add_outcomes(found: Scanned, day: date, labelled: pl.DataFrame, looker: Looker) -> None:
    rows = _prepared(labelled, day, looker)
    each = contributions(looker.model, rows, production_scores(labelled, looker), looker.reference.baseline)
    blocks = str(day) if looker.unit == DAY else rows[looker.unit].to_numpy()
    number, names = statistics.codes(np.broadcast_to(blocks, len(rows)))
    sums = np.zeros((len(names), len(SUMS)))
    np.add.at(sums, number, each)
    for name, added in zip(names, sums, strict=True):
        key = (day, str(name))
        found.cells[key] = found.cells[key] + added if key in found.cells else added


def _prepared(labelled: pl.DataFrame, day: date, looker: Looker) -> pd.DataFrame:
    """The rows as `model.loss` takes them: what was logged of the prepared table, under its names."""
    schema = looker.model.schema
    rows = pandas_of(labelled.select(name for name in schema.names if name in labelled.columns))
    known: dict[str, Any] = {schema.label: labelled["label"].to_numpy()}
    if looker.unit == DAY:
        known |= {schema.block: str(day)}
    return rows.assign(**known)


def production_scores(frame: pl.DataFrame, looker: Looker) -> Floats:
    """What production says of each row: as logged where it answered, scored again where another version did."""
    scores = frame["score"].to_numpy().astype(np.float64)
    others = (frame["version"] != looker.bundle.version).to_numpy()
    if others.any():
        scores[others] = rescored(frame.filter(pl.Series(others)), looker.bundle)
    return scores


def rescored(frame: pl.DataFrame, bundle: Bundle) -> Floats:
    """A bundle's own scores of logged rows. Raises KeyError where the log does not carry one of its columns."""
    columns = {name: _values(frame, name) for name in bundle.signature.names}
    return np.asarray(bundle.score(encode(bundle.signature, columns)), np.float64)


def _values(frame: pl.DataFrame, name: str) -> Any:
    if name not in frame.columns:
        raise KeyError(name)
    return frame[name].to_numpy()
