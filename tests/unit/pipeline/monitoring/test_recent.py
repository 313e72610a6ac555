"""The newest rows of a real store: whole days, and of a large one no more than memory has room for."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import UnavailableError
from pipeline.monitoring import recent
from pipeline.monitoring import store as stores
from pipeline.monitoring.store import Store
from tests.observed import APRIL, line, store

NEXT = APRIL + timedelta(days=1)
FIRST, SECOND = 40, 5


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    """Forty rows of a day, five of the next."""
    made = store(tmp_path)
    days = ((APRIL, FIRST), (NEXT, SECOND))
    made.add_predictions(
        line(f"{day} {at}", f"{day}T10:00:00Z", score=at / 100) for day, many in days for at in range(many)
    )
    return made


def taken(kept: Store, most: int, chosen: pl.Expr | None = None) -> dict[date, list[str]]:
    rows = recent.sampled(kept, APRIL, NEXT, ["score"], most, chosen)
    assert rows.columns == ["day", "id", "score"]
    return {day: sorted(some["id"]) for (day,), some in rows.group_by("day")}


def test_a_day_that_is_small_enough_is_whole_and_of_a_large_one_so_many_are_drawn(kept: Store) -> None:
    assert {day: len(ids) for day, ids in taken(kept, FIRST).items()} == {APRIL: FIRST, NEXT: SECOND}
    assert {day: len(ids) for day, ids in taken(kept, 10).items()} == {APRIL: 10, NEXT: SECOND}


def test_a_day_that_is_read_in_parts_gives_the_same_rows(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = taken(kept, 10)
    monkeypatch.setattr(stores, "PART_BYTES", 500)
    assert len(list(kept.batches(APRIL, APRIL))) > 1
    assert taken(kept, 10) == whole


def test_rows_that_were_logged_before_a_column_was_kept_are_passed_over(tmp_path: Path) -> None:
    store(tmp_path, features={}).add_predictions([line("old")])
    with pytest.raises(UnavailableError, match=r"2013-04-02 were logged before `monitoring\.fields` kept temp; wait"):
        recent.sampled(store(tmp_path), APRIL, NEXT, ["temp"], 10)
    store(tmp_path).add_predictions([line("new")])
    assert recent.sampled(store(tmp_path), APRIL, NEXT, ["temp"], 10)["id"].to_list() == ["new"]


def test_rows_are_chosen_before_they_are_counted(kept: Store) -> None:
    found = taken(kept, 10, pl.col("version").is_not_null() & (pl.col("score") < 0.035))
    assert found == {APRIL: [f"{APRIL} {at}" for at in range(4)], NEXT: [f"{NEXT} {at}" for at in range(4)]}
