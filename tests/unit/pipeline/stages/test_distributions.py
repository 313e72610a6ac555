"""What reference.json keeps of a column, from the real stage to counts of logged rows and to rows that are replayed."""

import json
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

from model.contract import Column, Schema
from pipeline.monitoring import drift
from pipeline.monitoring.reference import Categories, Reference
from pipeline.monitoring.reference import _distribution as told
from pipeline.monitoring.tally import of_rows
from pipeline.stages.bundle import _distribution, _event_days
from serving import replay
from serving.signature import Input
from tests import bundles

ROWS = 2000
RANDOM = np.random.default_rng(0)
NUMBER = Column(name="n", type="number", description="a number", nullable=True)
CATEGORY = Column(name="c", type="category", description="a text", categories=("a", "b"), nullable=True)
WHOLE = NUMBER.model_copy(update={"type": "integer"})
PRICE = np.round(RANDOM.uniform(1, 50, ROWS), 2)
SEVENTH = np.arange(ROWS) % 14 == 0
# A discount that few rows have; and one that half of them have, at one of two rates or freely.
RARE = np.where(SEVENTH, PRICE, 0.0)
RATES = np.choose(np.arange(ROWS) % 4, [0.0, 0.0, 20.0, PRICE])


def kept(values: Any, column: Column = NUMBER) -> dict[str, Any]:
    """A column's part of reference.json, once it was on disk."""
    found: dict[str, Any] = json.loads(json.dumps(_distribution(column, pd.Series(values, dtype=float))))
    return found


def psi(trained: Any, logged: Any) -> float:
    """A column's PSI, as monitoring takes it: of logged rows against the reference that the stage made."""
    document = kept(trained)
    scores = told({"type": "number", "edges": [0.0, 1.0], "counts": [1]})
    reference = Reference("v", ROWS, {"n": told(document)}, scores, {}, 0.0, None)  # type: ignore[arg-type]
    schema = Schema(columns=(NUMBER,), key=("id",), label="y", block="day")
    frame = pl.DataFrame({"n": np.asarray(logged, float), "score": [0.5] * len(logged)})
    found = drift.psi_of(NUMBER, of_rows(frame, schema, reference), reference)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("trained", "logged"),
    [
        (RARE, np.full(ROWS, 50.0)),
        (RARE, np.full(ROWS, 0.01)),
        (RARE, np.zeros(ROWS)),
        (np.zeros(ROWS), RANDOM.uniform(0, 0.99, ROWS)),
        (np.full(ROWS, 4.0), np.full(ROWS, 4.5)),
        (np.full(ROWS, 4.0), np.full(ROWS, 3.5)),
        (RATES, np.where(RATES == 20, 20.01, RATES)),
    ],
    ids=["a discount for all", "a small one", "none at all", "no longer zero", "more", "less", "another rate"],
)
def test_column_of_ties_that_moved_is_seen_and_the_same_rows_are_quiet(trained: Any, logged: Any) -> None:
    assert psi(trained, trained) < 0.001
    assert psi(trained, logged) > (0.05 if not logged.any() else 0.2)


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, -273.15, 1e9, 5e-324])
def test_constant_has_a_bin_of_its_own_that_json_keeps(value: float) -> None:
    found = kept([value] * 12)
    assert (found["counts"], len(found["edges"])) == ([12], 2)
    assert found["edges"] == [value, np.nextafter(value, np.inf)]
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_common_value_is_apart_and_the_rest_is_cut_as_finely_as_it_has_rows() -> None:
    found = kept(RATES)
    for value in (0.0, 20.0):
        at = found["edges"].index(value)
        assert found["edges"][at + 1] == np.nextafter(value, np.inf)
        assert found["counts"][at] == np.isin(RATES, value).sum()
    assert sum(found["counts"]) == ROWS
    assert len(found["counts"]) == 5  # the rest, a quarter, in two bins, of which the one is on both sides of 20


def test_empty_bin_between_two_common_values_is_what_training_never_had() -> None:
    ones = kept([0.0, 1.0] * 100 + list(range(2, 12)))
    assert ones["counts"][:3] == [100, 0, 100]


@pytest.mark.parametrize("column", [NUMBER, WHOLE], ids=["number", "integer"])
@pytest.mark.parametrize("values", [RARE, RATES, np.full(ROWS, 4.0)], ids=["rare", "rates", "constant"])
def test_rows_that_are_replayed_are_where_the_reference_says(values: Any, column: Column) -> None:
    values = np.round(values) if column is WHOLE else values
    document, asked = kept(values, column), Input("n", column.type, "a number")
    signature = msgspec.structs.replace(bundles.SIGNATURE, inputs=(asked,))
    sent = [row["n"] for row in islice(replay.rows(signature, {"features": {"n": document}}), ROWS)]
    assert psi(values, sent) < 0.02
    common = float(np.unique(values, return_counts=True)[0][np.unique(values, return_counts=True)[1].argmax()])
    assert sent.count(common) == pytest.approx((values == common).sum(), abs=100)


def test_category_says_on_which_days_of_training_it_came_and_how_often_it_was_null() -> None:
    times = pd.Series([f"2013-03-{1 + at // 10:02}T{at % 10:02}:00:00-05:00" for at in range(100)])
    names = pd.Series(["a", None, "b", "b", "b"] * 20).where(times.index < 90, "a")
    found = _distribution(CATEGORY, names, _event_days(times))
    assert (found["nulls"], found["counts"]) == (18, {"a": 28, "b": 54})
    assert found["on_days"] == {"a": 1.0, "b": round(72 / 82, 4)}


def test_day_is_that_of_utc_and_a_time_that_cannot_be_read_has_none() -> None:
    days = _event_days(pd.Series(["2013-03-01T23:00:00-05:00", "2013-03-02", "yesterday"]))
    assert [str(one.date()) for one in days[:2]] == ["2013-03-02"] * 2
    assert days.isna().tolist() == [False, False, True]


def test_bundle_of_an_earlier_release_says_neither_nulls_nor_days_of_its_categories() -> None:
    found = told({"type": "category", "counts": {"a": 3}})
    assert found == Categories({"a": 3}, None, None)
    assert told({"type": "number", "nulls": 2, "edges": [0.0, 1.0], "counts": [1]}).nulls == 2
