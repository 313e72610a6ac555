"""What becomes of a label, and which of several holds."""

from datetime import UTC, datetime

import polars as pl

from pipeline.monitoring.labels import SCHEMA, LabelCounts, resolved


def at(hour: int) -> datetime:
    return datetime(2013, 4, 2, hour, tzinfo=UTC)


def held(*rows: tuple[float, int, bool]) -> float:
    """Which value holds of labels of one prediction: value, hour known, whether it corrects."""
    table = pl.DataFrame([("a", value, at(hour), corrects) for value, hour, corrects in rows], SCHEMA, orient="row")
    answers = {resolved(table.sample(fraction=1, shuffle=True, seed=seed), ["id"])["label"][0] for seed in range(8)}
    assert len(answers) == 1, "the order of the rows decided"
    return float(answers.pop())


def test_the_value_known_first_holds() -> None:
    assert held((1, 10, False), (0, 9, False), (1, 8, False)) == 1


def test_the_newest_correction_holds() -> None:
    assert held((1, 8, False), (0, 9, True), (1, 10, True), (0, 11, False)) == 1


def test_what_two_writers_kept_at_the_same_moment_is_decided_by_the_value() -> None:
    assert held((1, 8, False), (0, 8, False)) == 0


def test_late_ones_are_new_ones_and_counted_once() -> None:
    counts = LabelCounts(new=3, late=2, duplicate=1, skewed=1)
    assert counts.read == 5
    assert (counts + counts).late == 4
