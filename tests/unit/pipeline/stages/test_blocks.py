"""Sums per held-out block: what limits are drawn from, and nothing of a single row."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.stages import blocks
from tests.monitored import SCHEMA, Toy


def held_out(days: int = 3, rows: int = 6) -> pd.DataFrame:
    names = np.repeat([f"2013-03-{4 + at:02d}" for at in range(days)], rows)
    late = np.arange(days * rows) % 2
    return pd.DataFrame({"day": names, "time": [f"{one}T23:30:00Z" for one in names], "late": late.astype(float)})


def described(rows: pd.DataFrame, toy: Toy | None = None) -> dict:
    scores = np.full(len(rows), 0.25)
    found = dict(blocks.described(toy or Toy(), rows, scores, 0.5))  # type: ignore[arg-type]
    json.dumps(found, allow_nan=False)
    return found


def test_each_day_has_its_sums() -> None:
    found = described(held_out())
    assert found["unit"] == blocks.DAY
    assert found["until"] == "2013-03-06"
    sums = found["sums"]
    assert sums["rows"] == sums["with_loss"] == [6.0, 6.0, 6.0]
    assert sums["observed"] == [3.0, 3.0, 3.0]
    assert sums["expected"] == [1.5, 1.5, 1.5]
    assert sums["loss"] == pytest.approx([-3 * np.log(0.25) - 3 * np.log(0.75)] * 3)
    assert sums["baseline_loss"] == pytest.approx([-6 * np.log(0.5)] * 3)


def test_a_block_of_so_few_rows_that_it_could_tell_of_a_person_is_left_out() -> None:
    rows = held_out()
    found = described(pd.concat([rows, rows.head(2).assign(day="2013-03-20")]))
    assert found["left_out"] == 1
    assert len(found["sums"]["rows"]) == 3


def test_no_block_is_large_enough_and_it_says_so() -> None:
    assert "no held-out calendar day has 5 rows" in described(held_out(rows=2))["reason"]


def test_groups_are_named_by_their_column_alone() -> None:
    toy = Toy(schema=replace(SCHEMA, block="origin", event_time=None))
    rows = held_out().assign(origin=np.repeat(["EWR", "JFK", "LGA"], 6))
    found = described(rows, toy)
    assert (found["unit"], found["until"]) == ("origin", None)
    assert "EWR" not in json.dumps(found)


def test_blocks_that_are_no_days_keep_the_last_day_of_the_events() -> None:
    toy = Toy(schema=replace(SCHEMA, block="origin"))
    found = described(held_out().assign(origin="EWR"), toy)
    assert (found["unit"], found["until"]) == ("origin", "2013-03-06")


def test_very_many_blocks_are_thinned() -> None:
    rows = pd.DataFrame({"day": np.repeat(np.arange(5000).astype(str), 5), "late": 0.0, "time": "2013-03-04T00:00:00Z"})
    assert len(described(rows)["sums"]["rows"]) <= blocks.MOST_BLOCKS


class Ranked(Toy):
    def loss(self, frame: pd.DataFrame, scores: np.ndarray) -> np.ndarray:
        carried = np.arange(len(frame)) % 3 == 0
        return np.where(carried, scores, np.nan)


def test_a_row_that_carries_no_loss_adds_none() -> None:
    rows = held_out(days=1)
    found = blocks.contributions(Ranked(), rows, np.full(6, 0.25), 0.5)  # type: ignore[arg-type]
    assert found[:, blocks.SUMS.index("with_loss")].tolist() == [1, 0, 0, 1, 0, 0]
    assert found[:, blocks.SUMS.index("loss")].sum() == 0.5


class Unbounded(Toy):
    def loss(self, frame: pd.DataFrame, scores: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(scores) == 0.5, np.inf, np.ones(len(frame)))


def test_a_constant_without_a_finite_loss_adds_none() -> None:
    found = blocks.contributions(Unbounded(), held_out(), np.full(18, 0.25), 0.5)  # type: ignore[arg-type]
    assert found[:, blocks.SUMS.index("baseline_loss")].sum() == 0
    assert np.isfinite(found).all()


def test_a_column_that_is_called_day_and_holds_no_dates_is_no_calendar_day() -> None:
    rows = held_out().assign(day="monday")
    found = described(rows)
    assert (found["unit"], found["until"]) == ("day", "2013-03-06")
