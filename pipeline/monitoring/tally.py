"""What a day's logged rows come to: counts that add up, so that any run of days costs nothing more.

Bins are those of the bundle's reference, with one below and one above them: what was never seen in training is told
apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from model.contract import Column, Floats, Relation, Schema
from pipeline.monitoring.reference import Categories, Numbers, Reference

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """One column's counts: `bins` by number or category, and how many values were null or illegal."""

    bins: Counts
    nulls: int = 0
    out_of_range: int = 0
    unseen: int = 0

    @property
    def rows(self) -> int:
        """The rows that carry the column, null or not."""
        return int(self.bins.sum()) + self.nulls

    def __add__(self, other: "Seen") -> "Seen":
        """Both together."""
        return Seen(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class Tally:
    """Some rows, counted. `violations` holds the relations that could be checked."""

    rows: int
    columns: Mapping[str, Seen]
    score: Seen
    violations: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        """Both together; a relation that only one of them could check is left out."""
        both = {name: self.columns[name] + other.columns[name] for name in self.columns if name in other.columns}
        return Tally(
            self.rows + other.rows,
            {**self.columns, **other.columns, **both},
            self.score + other.score,
            {
                name: self.violations[name] + other.violations[name]
                for name in self.violations
                if name in other.violations
            },
        )


def total(tallies: Iterable[Tally]) -> Tally | None:
    """All together; None where there is none."""
    given = list(tallies)
    return reduce(lambda one, other: one + other, given) if given else None


def of_rows(frame: pl.DataFrame, schema: Schema, reference: Reference) -> Tally:
    """Count a frame of logged rows; a column that the log does not carry is not counted."""
    columns = {
        column.name: _column(frame[column.name], column, reference.features[column.name])
        for column in schema.columns
        if column.name in frame.columns and column.name in reference.features
    }
    score = Seen(number_bins(frame["score"].to_numpy(), reference.score.edges))
    return Tally(len(frame), columns, score, _violations(frame, schema.relations))


def _column(values: pl.Series, column: Column, known: Numbers | Categories) -> Seen:
    if isinstance(known, Categories):
        return _categories(values, column, known)
    numbers = values.to_numpy().astype(np.float64, copy=False)
    null = np.isnan(numbers)
    present = numbers[~null]
    return Seen(number_bins(present, known.edges), int(null.sum()), _out_of_range(present, column))


def number_bins(values: Floats, edges: Floats) -> Counts:
    """Counts below, between and above the edges; the last edge belongs to its bin: (values,) -> (edges + 1,)."""
    place = np.searchsorted(edges, values, "right")
    place[values == edges[-1]] -= 1
    return np.bincount(place, minlength=len(edges) + 1).astype(np.int64)


def _out_of_range(values: Floats, column: Column) -> int:
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    wrong = (values < low) | (values > high) | np.isinf(values)
    if column.type == "integer":
        wrong |= values != np.round(values)
    return int(wrong.sum())


def names_of(column: Column, known: Categories) -> tuple[str, ...]:
    """The categories that have a bin, in order; whatever else comes shares the last one."""
    return tuple(dict.fromkeys([*column.categories, *sorted(known.counts)]))


def _categories(values: pl.Series, column: Column, known: Categories) -> Seen:
    counted = dict(values.value_counts().iter_rows())
    nulls = int(counted.pop(None, 0))
    names = names_of(column, known)
    bins = [int(counted.get(name, 0)) for name in names]
    rest = sum(counted.values()) - sum(bins)
    legal = sum(int(counted.get(name, 0)) for name in column.categories)
    return Seen(np.array([*bins, rest], np.int64), nulls, 0, sum(counted.values()) - legal)


def _violations(frame: pl.DataFrame, relations: Iterable[Relation]) -> dict[str, int]:
    rows = pandas_of(frame)
    found = {}
    for relation in relations:
        try:
            found[relation.name] = int((~relation.holds(rows)).sum())
        except KeyError:
            continue  # it needs a column that the log does not carry; feed says so
    return found


def pandas_of(frame: pl.DataFrame) -> pd.DataFrame:
    """The same columns for what the model contract is written in."""
    columns: dict[str, Any] = {name: frame[name].to_numpy() for name in frame.columns}
    return pd.DataFrame(columns)


def reference_bins(column: Column, known: Numbers | Categories) -> Counts:
    """The reference's own counts, bin for bin as `of_rows` counts."""
    if isinstance(known, Categories):
        return np.array([*(known.counts.get(name, 0) for name in names_of(column, known)), 0], np.int64)
    return np.array([0, *known.counts, 0], np.int64)
