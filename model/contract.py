"""The model contract: all that delivery needs to know of a model.

A fork keeps this file and replaces the others in `model/`. The pipeline calls `model.load(params)` and talks to what
comes back only through `Model`; the server never imports any of it and reads the bundle's `signature.json` instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Tables: TypeAlias = Mapping[str, pd.DataFrame]
Task: TypeAlias = Literal["classification", "regression", "ranking"]


class Frozen(BaseModel):
    """A configuration value: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Frozen):
    """One column of the prepared table: its meaning, its legal values and what is known to be wrong with it.

    `known` says whether the value exists before the prediction is made; a request column must be known "before".
    `stability` is "stable" where any full week looks like training, with every common category in it; "seasonal" for a
    column whose distribution moves with the calendar beyond the week and so can never alarm.
    `unseen` is what becomes of a category outside `categories`: refused, or encoded as one shared "other".
    """

    name: str
    type: Literal["number", "integer", "category"]
    description: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    nullable: bool = False
    unseen: Literal["refuse", "other"] = "refuse"
    stability: Literal["stable", "seasonal"] = "stable"
    known: Literal["before", "after"] = "before"
    example: float | int | str | None = None
    source: str = ""
    faults: str = ""

    @model_validator(mode="after")
    def _categories_belong_to_a_category(self) -> "Column":
        if (self.type == "category") != bool(self.categories):
            raise ValueError(f"column {self.name!r}: a column of type category needs categories, and only such a one")
        return self


@dataclass(frozen=True)
class Relation:
    """A statement about several columns that holds in every sound row, such as dew point <= temperature.

    `holds` takes the prepared table and returns one boolean per row; rows with a null in it count as holding.
    """

    name: str
    description: str
    holds: Callable[[pd.DataFrame], "pd.Series[bool]"]


@dataclass(frozen=True)
class Schema:
    """The prepared table: `columns` are what a request carries, in the order of the model's input matrix.

    `key` names the columns that identify a row; `block` the column whose rows are not independent of each other
    (default practice: the day of the event) and are therefore resampled together; `event_time` is None where rows have
    no time. `label` is null where the outcome is not known (yet); `label_delay_days` is how late it usually comes.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    label: str
    block: str
    event_time: str | None = None
    label_delay_days: int = 1
    relations: tuple[Relation, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Request columns in matrix order."""
        return tuple(column.name for column in self.columns)


class Card(Frozen):
    """What people and clients are told about the model.

    `api` is the major version of request and response: a break needs a new one. `threshold`, where there is one, turns
    a score into a decision (score >= threshold).
    """

    name: str
    title: str
    task: Task
    description: str
    output: str
    api: int = 1
    unit: str | None = None
    threshold: float | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Split:
    """Which rows train and which are held out (row masks), with the rule that decided it.

    `rule` is data and goes into the bundle, so that a later gate can tell which rows this model never saw:
    {"kind": "time", "column": "date", "trained_until": "2013-03-03"}, or
    {"kind": "group", "column": "store", "share": 0.2, "salt": "flightline"}.
    """

    train: Bools
    holdout: Bools
    rule: Mapping[str, str | float]


class Model(Protocol):
    """A model as delivery sees it. Every method is pure but `fetch`, which may read the outside world."""

    @property
    def card(self) -> Card:
        """What people and clients are told."""
        ...

    @property
    def schema(self) -> Schema:
        """The prepared table."""
        ...

    @property
    def history_end(self) -> date | None:
        """The last day that rows are expected for: the window's end. None where rows have no time."""
        ...

    def fetch(self) -> Tables:
        """Raw tables by name, limited to the window of history in `params.yaml`."""

    def prepare(self, tables: Tables) -> pd.DataFrame:
        """Join the raw tables: one row per key, with key, block, event time, request columns and label."""

    def split(self, frame: pd.DataFrame) -> Split:
        """Divide labelled rows into those that train and those that are held out; never at random over time."""

    def estimator(self) -> Any:
        """An unfitted scikit-learn estimator over a float32 matrix (rows, columns): nulls NaN, categories coded."""

    def score(self, estimator: Any, rows: Floats) -> Floats:
        """The fitted estimator's own scores, shape (rows,): what the ONNX graph must reproduce."""

    def loss(self, frame: pd.DataFrame, scores: Floats) -> Floats:
        """Loss per row, shape (rows,), lower is better.

        A row that carries no loss of its own (ranking: all but the first of a query) is NaN.
        """

    def baseline(self, labels: Floats) -> float:
        """The constant score that a first release has to beat, from the training labels."""

    def slices(self, frame: pd.DataFrame) -> Mapping[str, "pd.Series[Any]"]:
        """Groups in which harm is looked for: dimension name -> group of each row."""
