"""Counts of logged rows: they add up, and tell apart what training never saw."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from pipeline.monitoring.reference import Categories, Numbers
from pipeline.monitoring.scan import Looker
from pipeline.monitoring.tally import Tally, number_bins, of_rows, reference_bins, total
from tests import monitored

EDGES = np.array([0.0, 1.0, 2.0])


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    return monitored.looker(tmp_path_factory.mktemp("bundle"))


def frame(**columns: list) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    usual = {"temp": [40.0], "dewp": [30.0], "seats": [100.0], "origin": ["EWR"], "dest": ["ATL"], "score": [0.3]}
    return pl.DataFrame({**{name: value * rows for name, value in usual.items()}, **columns})


def counted(looker: Looker, **columns: list) -> Tally:
    return of_rows(frame(**columns), looker.model.schema, looker.reference)


@pytest.mark.parametrize(("value", "bins"), [(-0.1, 0), (0.0, 1), (0.9, 1), (1.0, 2), (2.0, 2), (2.1, 3), (np.inf, 3)])
def test_a_value_is_in_one_bin_or_below_or_above_them(value: float, bins: int) -> None:
    assert number_bins(np.array([value]), EDGES).tolist() == [int(at == bins) for at in range(4)]


def test_nulls_are_counted_apart(looker: Looker) -> None:
    seen = counted(looker, temp=[40.0, None, None], origin=["EWR", None, "LGA"]).columns
    assert (seen["temp"].nulls, seen["temp"].bins.sum()) == (2, 1)
    assert (seen["origin"].nulls, seen["origin"].bins.sum()) == (1, 2)


def test_illegal_numbers_are_counted(looker: Looker) -> None:
    seen = counted(looker, temp=[-41.0, 131.0, np.inf, 40.5], seats=[0.0, 901.0, 100.5, 100.0]).columns
    assert (seen["temp"].out_of_range, seen["seats"].out_of_range) == (3, 3)


def test_a_category_that_nobody_knows_is_counted_and_has_the_last_bin(looker: Looker) -> None:
    seen = counted(looker, dest=["ATL", "XXX", "YYY"]).columns["dest"]
    assert seen.unseen == 2
    assert seen.bins.tolist() == [1, 0, 2]


def test_broken_relations_are_counted_and_a_null_holds(looker: Looker) -> None:
    assert counted(looker, dewp=[50.0, 39.0, None]).violations == {"dewp <= temp": 1}


def test_a_relation_that_cannot_be_checked_and_a_column_that_was_not_logged_are_left_out(looker: Looker) -> None:
    found = of_rows(frame(score=[0.3]).drop("dewp"), looker.model.schema, looker.reference)
    assert found.violations == {}
    assert "dewp" not in found.columns


def test_parts_add_up_to_the_whole(looker: Looker) -> None:
    day = monitored.as_logged(
        monitored.rows_of(date(2013, 4, 1), 1, looker.bundle.path), date(2013, 4, 1), looker.bundle.version
    )
    whole = of_rows(day, looker.model.schema, looker.reference)
    parts = total(of_rows(part, looker.model.schema, looker.reference) for part in day.iter_slices(37))
    assert parts is not None
    assert parts.rows == whole.rows
    for name, seen in whole.columns.items():
        assert (parts.columns[name].bins == seen.bins).all()
        assert parts.columns[name].nulls == seen.nulls
    assert (parts.score.bins == whole.score.bins).all()


def test_no_tally_is_no_total() -> None:
    assert total([]) is None


def test_the_reference_is_binned_as_the_rows_are(looker: Looker) -> None:
    rows = frame(temp=[40.0])
    for column in looker.model.schema.columns:
        known = looker.reference.features[column.name]
        assert isinstance(known, Numbers | Categories)
        seen = of_rows(rows, looker.model.schema, looker.reference).columns[column.name]
        assert reference_bins(column, known).shape == seen.bins.shape
