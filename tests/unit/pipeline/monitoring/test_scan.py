"""One pass over logged rows: counts and sums by day, with production's own scores."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.monitoring.reference import EXPECTED, OBSERVED, ROWS, read_reference
from pipeline.monitoring.scan import Looker, production_scores, rescored, scan
from serving.bundle import BundleError
from tests import monitored

FIRST = date(2013, 4, 1)


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    return monitored.looker(tmp_path_factory.mktemp("bundle"))


def logged(looker: Looker, days: int = 3, version: str | None = None) -> list[pl.DataFrame]:
    return list(monitored.logged(looker.bundle.path, version or looker.bundle.version, FIRST, days))


def test_rows_and_labels_are_counted_by_day(looker: Looker) -> None:
    days = logged(looker)
    days[1] = days[1].with_columns(label=pl.when(pl.int_range(pl.len()) < 50).then(None).otherwise("label"))
    found = scan(days, looker)
    assert [(one.day, one.rows, one.labelled) for one in found.days] == [
        (FIRST, 200, 200),
        (FIRST + timedelta(days=1), 200, 150),
        (FIRST + timedelta(days=2), 200, 200),
    ]


def test_sums_are_of_the_labelled_rows_alone(looker: Looker) -> None:
    (day,) = logged(looker, 1)
    half = day.with_columns(label=pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise("label"))
    found = scan([half], looker).outcomes
    assert found.sums[0, ROWS] == 100
    assert found.sums[0, OBSERVED] == half["label"].sum()
    assert found.sums[0, EXPECTED] == pytest.approx(day["score"].tail(100).sum())


def test_a_frame_of_several_days_and_several_frames_of_a_day_come_to_the_same(looker: Looker) -> None:
    days = logged(looker)
    apart = scan(days, looker).outcomes
    together = scan([pl.concat(days)], looker).outcomes
    parts = scan([part for day in days for part in day.iter_slices(70)], looker).outcomes
    for other in (together, parts):
        np.testing.assert_allclose(other.sums, apart.sums)
        assert (other.days == apart.days).all()


def test_what_another_version_answered_is_scored_again_by_production(looker: Looker) -> None:
    (day,) = logged(looker, 1, version="b" * 64)
    wrong = day.with_columns(score=pl.lit(0.99))
    np.testing.assert_allclose(production_scores(wrong, looker), day["score"].to_numpy(), atol=1e-6)


def test_what_production_answered_is_taken_as_logged(looker: Looker) -> None:
    (day,) = logged(looker, 1)
    mixed = day.with_columns(
        score=pl.lit(0.5), version=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("b" * 64)).otherwise("version")
    )
    found = production_scores(mixed, looker)
    assert (found[5:] == 0.5).all()
    np.testing.assert_allclose(found[:5], day["score"].to_numpy()[:5], atol=1e-6)


def test_scoring_again_takes_nulls_as_the_server_does(looker: Looker) -> None:
    (day,) = logged(looker, 1)
    assert day["seats"].null_count() > 0
    np.testing.assert_allclose(rescored(day, looker.bundle), day["score"].to_numpy(), atol=1e-6)


def test_a_column_that_was_not_logged_is_named_and_the_counts_are_still_there(looker: Looker) -> None:
    found = scan([day.drop("seats").with_columns(version=pl.lit("b" * 64)) for day in logged(looker)], looker)
    assert "'seats'" in found.reason
    assert found.outcomes.reason == found.reason
    assert sum(one.rows for one in found.days) == 600


def test_rows_that_were_logged_before_a_column_was_kept_are_passed_over(looker: Looker) -> None:
    days = [day.with_columns(version=pl.lit("b" * 64)) for day in logged(looker)]
    found = scan([days[0].drop("seats"), *days[1:]], looker)
    assert found.reason == ""
    assert [str(day) for day in found.outcomes.days] == ["2013-04-02", "2013-04-03"]
    assert found.tallies[FIRST].rows == 200


def test_nothing_logged_is_nothing_found(looker: Looker) -> None:
    found = scan([], looker)
    assert found.days == ()
    assert found.outcomes.sums.shape == (0, 6)


def test_groups_have_a_sum_for_each_day(tmp_path: Path) -> None:
    toy = monitored.grouped(monitored.Toy())
    looker = monitored.looker(tmp_path, toy)
    assert looker.unit == "origin"
    found = scan(logged(looker, 2), looker).outcomes
    assert sorted(set(found.blocks.tolist())) == ["EWR", "JFK", "LGA"]
    assert len(found.sums) == 6


def test_a_bundle_whose_reference_is_empty_is_refused_by_name(tmp_path: Path) -> None:
    from tests import bundles

    bundles.write(tmp_path)
    with pytest.raises(BundleError, match=r"reference\.json or metrics\.json has no 'rows'"):
        read_reference(tmp_path, "a" * 64)
