"""Which days are looked at, and what is said of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from model.contract import Floats, Task
from pipeline.monitoring import decay
from pipeline.monitoring.config import DecayLimits
from pipeline.monitoring.decay import Day, Found, Outcomes, Setting
from pipeline.monitoring.observation import LOSS_DIFFERENCE, OBSERVED_OVER_EXPECTED, RESIDUAL, SKILL
from pipeline.monitoring.reference import Blocks, Numbers, Reference
from pipeline.stages.blocks import DAY
from tests.unit.pipeline.monitoring.test_limits import days as sums_of

END = date(2013, 3, 31)
RULES = DecayLimits(resamples=300)
ROWS = 700


def reference(held_out: Floats | None = None, *, unit: str = DAY, until: date | None = END) -> Reference:
    numbers = Numbers(np.array([0.0, 1.0]), np.array([1.0]))
    blocks = Blocks(unit, until, sums_of() if held_out is None else held_out)
    return Reference("a" * 64, 1000, {}, numbers, {}, 0.25, blocks)


def log(count: int, *, labelled: int = ROWS, first: date = END + timedelta(days=1)) -> list[Day]:
    return [Day(first + timedelta(days=at), ROWS, labelled) for at in range(count)]


def outcomes(days: list[Day], over: float = 1.0, seed: int = 5) -> Outcomes:
    names = [one.day for one in days if one.labelled]
    return Outcomes(
        np.array(names, "datetime64[D]"),
        np.array([str(one) for one in names]),
        sums_of(len(names), over=over, seed=seed),
    )


def setting(as_of: date, *, delay: int = 1, after: date | None = END, rules: DecayLimits = RULES) -> Setting:
    return Setting(after, as_of, delay, rules)


def judged(
    days: list[Day],
    as_of: date,
    *,
    over: float = 1.0,
    broken: Mapping[date, str] | None = None,
    task: Task = "classification",
    known: Reference | None = None,
) -> Found:
    return decay.judge(days, outcomes(days, over), known or reference(), task, setting(as_of), broken or {})


def last(days: list[Day], as_of: date, **how: int) -> date | None:
    found = decay.windows({one.day: one for one in days}, setting(as_of, **how), {})
    return found[-1].last if found else None


def test_the_first_window_is_there_when_its_last_day_has_labels_and_not_before() -> None:
    april = log(40)
    assert last(april, date(2013, 4, 28)) is None
    assert last(april, date(2013, 4, 29)) == date(2013, 4, 28)


def test_windows_slide_day_by_day() -> None:
    found = decay.windows({one.day: one for one in log(40)}, setting(date(2013, 5, 11)), {})
    assert [one.last for one in found] == [date(2013, 4, 28) + timedelta(days=at) for at in range(13)]
    assert {(one.last - one.first).days for one in found} == {27}


def test_no_window_begins_before_production_was_trained() -> None:
    march = log(80, first=date(2013, 3, 1))
    assert last(march, date(2013, 4, 28)) is None
    assert last(march, date(2013, 4, 29)) == date(2013, 4, 28)


def test_labels_that_come_a_week_late_are_waited_for() -> None:
    played = [*log(21), *log(10, labelled=0, first=date(2013, 4, 22))]
    assert last(played, date(2013, 4, 29)) is None
    assert last(log(28), date(2013, 5, 5)) == date(2013, 4, 28)


def test_the_usual_delay_of_labels_is_honoured() -> None:
    assert last(log(40), date(2013, 5, 4), delay=7) is None
    assert last(log(40), date(2013, 5, 5), delay=7) == date(2013, 4, 28)


def test_a_day_whose_labels_never_come_is_waited_for_and_then_taken_as_it_is() -> None:
    blizzard = [replace(one, labelled=300) if one.day == date(2013, 4, 10) else one for one in log(28)]
    assert last(blizzard, date(2013, 4, 24)) is None
    assert last(blizzard, date(2013, 4, 29)) == date(2013, 4, 28)


def test_too_few_labels_over_the_window_are_no_window() -> None:
    assert last(log(28, labelled=500), date(2013, 6, 30)) is None


def test_a_week_without_rows_at_the_end_does_not_fill_a_window() -> None:
    assert last(log(27), date(2013, 5, 8)) is None


def test_days_without_traffic_within_the_window_are_allowed() -> None:
    weekdays = [one for one in log(40) if one.day.weekday() < 5]
    assert last(weekdays, date(2013, 4, 27)) is None
    assert last(weekdays, date(2013, 4, 30)) == date(2013, 4, 29)


def test_unchanged_days_are_quiet_and_every_reading_says_its_limits() -> None:
    found = judged(log(28), date(2013, 4, 29))
    assert (found.section.decision, found.section.alarm) == ("quiet", False), found.section.reason
    over = found.section.reading(OBSERVED_OVER_EXPECTED)
    assert over is not None
    assert over.low is not None
    assert over.high is not None
    assert found.window is not None
    assert (found.window.first, found.window.last) == (date(2013, 4, 1), date(2013, 4, 28))
    assert (found.window.days, found.window.rows, found.window.labelled) == (28, 28 * ROWS, 28 * ROWS)


def test_a_rate_that_nearly_doubled_is_decay_and_says_by_how_much() -> None:
    found = judged(log(28), date(2013, 4, 29), over=1.9)
    assert found.section.alarm
    assert "from 2013-04-01 to 2013-04-28: observed/expected is 1.7" in found.section.reason
    assert "outside" in found.section.reason


def test_the_history_has_a_glance_for_each_window() -> None:
    found = judged(log(40), date(2013, 5, 11), over=1.9)
    assert [one.last for one in found.history] == [date(2013, 4, 28) + timedelta(days=at) for at in range(13)]
    assert all(one.alarm and one.observed_over_expected is not None for one in found.history)


def test_a_rise_of_the_loss_is_reported_with_its_interval_and_is_no_alarm() -> None:
    days = log(28)
    harder = outcomes(days)
    harder.sums[:, 4:] *= 1.5  # the base rate's loss rises as well: the days are harder
    found = decay.judge(days, harder, reference(), "classification", setting(date(2013, 4, 29)), {})
    loss = found.section.reading(LOSS_DIFFERENCE)
    assert loss is not None
    assert loss.value == pytest.approx(0.25, abs=0.03)
    assert "[+" in loss.reason
    assert not found.section.alarm


def test_skill_that_is_gone_is_decay() -> None:
    days = log(28)
    worse = outcomes(days)
    worse.sums[:, 4] *= 1.3
    found = decay.judge(days, worse, reference(), "classification", setting(date(2013, 4, 29)), {})
    skill = found.section.reading(SKILL)
    assert skill is not None
    assert skill.alarm
    assert found.section.alarm


def test_days_of_a_broken_feed_do_not_count() -> None:
    days = log(28)
    bad = {one.day: "celsius" for one in days[10:15]}
    mixed = outcomes(days)
    mixed.sums[10:15, 1] *= 40
    found = decay.judge(days, mixed, reference(), "classification", setting(date(2013, 4, 29)), bad)
    assert found.section.decision == "quiet", found.section.reason


def test_too_many_broken_days_are_no_window_and_it_says_so() -> None:
    days = log(28)
    found = judged(days, date(2013, 4, 29), broken={one.day: "celsius" for one in days[10:20]})
    assert (found.section.decision, found.window) == ("too little", None)
    assert "10 of a broken feed" in found.section.reason


def test_nothing_logged_is_too_little() -> None:
    found = judged([], date(2013, 4, 29))
    assert (found.section.decision, found.section.alarm, found.window) == ("too little", False, None)
    assert "no prediction was logged after 2013-03-31" in found.section.reason


def test_a_window_that_is_not_full_says_how_far_it_is() -> None:
    found = judged(log(12), date(2013, 4, 13))
    assert found.section.decision == "too little"
    assert "12 labelled days since 2013-04-01" in found.section.reason


def test_a_window_of_one_class_is_judged_and_raises_nothing() -> None:
    days = log(28)
    never = outcomes(days)
    never.sums[:, 1] = 0
    found = decay.judge(days, never, reference(), "classification", setting(date(2013, 4, 29)), {})
    over = found.section.reading(OBSERVED_OVER_EXPECTED)
    assert over is not None
    assert (over.value, over.alarm) == (0.0, True)


def test_a_bundle_without_held_out_days_is_too_little_and_named() -> None:
    older = replace(reference(), blocks=None, reason="the bundle was made before held-out days were kept in it")
    found = judged(log(28), date(2013, 4, 29), known=older)
    assert found.section.decision == "too little"
    assert "bundle aaaaaaaaaaaa: the bundle was made before" in found.section.reason


def test_a_bundle_with_few_held_out_days_is_too_little() -> None:
    found = judged(log(28), date(2013, 4, 29), known=reference(sums_of(12)))
    assert "12 held-out days of its own, at least 20" in found.section.reason


def test_a_log_without_what_the_loss_needs_is_too_little_and_says_what() -> None:
    days = log(28)
    lost = replace(outcomes(days), reason="the log does not carry column 'query'")
    found = decay.judge(days, lost, reference(), "ranking", setting(date(2013, 4, 29)), {})
    assert (found.section.decision, found.section.reason) == ("too little", "the log does not carry column 'query'")


def test_regression_is_judged_by_its_mean_residual() -> None:
    found = judged(log(28), date(2013, 4, 29), over=1.9, task="regression")
    residual = found.section.reading(RESIDUAL)
    assert residual is not None
    assert residual.alarm
    assert residual.value == pytest.approx(0.22, abs=0.05)


def test_groups_are_counted_over_the_window_not_by_day() -> None:
    days = log(28)
    shops = 30
    each = sums_of(28 * shops, seed=3)
    grouped = Outcomes(
        np.repeat(np.array([one.day for one in days], "datetime64[D]"), shops),
        np.tile([f"shop {at}" for at in range(shops)], 28),
        each,
    )
    known = reference(unit="shop", until=None, held_out=sums_of(40))
    found = decay.judge(days, grouped, known, "classification", setting(date(2013, 4, 29), after=None), {})
    assert found.section.decision == "quiet", found.section.reason
    assert found.table is not None
    assert tuple(f"{cell:.0f}" if isinstance(cell, float) else cell for cell in found.table.rows[1]) == (
        "days or groups",
        "30",
        "40",
    )


def test_too_few_groups_are_too_little() -> None:
    days = log(28)
    names = np.array(["a", "b"] * 14)
    grouped = Outcomes(np.array([one.day for one in days], "datetime64[D]"), names, sums_of(28))
    known = reference(unit="shop", until=None)
    found = decay.judge(days, grouped, known, "classification", setting(date(2013, 4, 29), after=None), {})
    assert found.section.decision == "too little"
    assert "2 groups by shop" in found.section.reason
