"""Limits of decay: wide enough that unchanged days rarely alarm, also where the held-out days are themselves a draw."""

import numpy as np
import pytest

from model.contract import Floats
from pipeline.monitoring import limits
from pipeline.monitoring.backtest import broken
from pipeline.monitoring.config import DecayLimits
from pipeline.monitoring.limits import MEAN_RESIDUAL, OF_SKILL, OVER, Limit
from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, RESIDUAL, SKILL

RULES = DecayLimits(resamples=500)


def days(count: int = 28, *, over: float = 1.0, seed: int = 0, spread: float = 0.25) -> Floats:
    """Sums of days: each with its own luck, so that rows of a day are not independent."""
    random = np.random.default_rng(seed)
    rows = random.integers(600, 1000, count).astype(float)
    expected = 0.25 * rows
    observed = expected * over * np.clip(1 + random.normal(0, spread, count), 0.1, None)
    loss = rows * (0.5 + 0.05 * random.normal(size=count))
    return np.stack([rows, observed, expected, rows, loss, 0.56 * rows], axis=1)


def made(reference: Floats, blocks: int = 28, rules: DecayLimits = RULES) -> dict[str, Limit]:
    return limits.of(reference, blocks, (OVER, OF_SKILL), rules)


def test_the_same_seed_gives_the_same_limits() -> None:
    assert made(days()) == made(days())


def test_limits_are_around_what_the_held_out_days_were() -> None:
    over = made(days(over=1.1))[OBSERVED_OVER_EXPECTED]
    assert over.low is not None
    assert over.high is not None
    assert over.low < 1 < over.reference < over.high
    assert over.reference == pytest.approx(1.1, abs=0.1)


def test_a_model_that_comes_right_on_average_has_not_decayed() -> None:
    half = made(days(over=0.5))[OBSERVED_OVER_EXPECTED]
    assert half.high == 1.0
    assert not half.broken_by(1.0)
    assert half.broken_by(1.01)
    double = made(days(over=2.0))[OBSERVED_OVER_EXPECTED]
    assert double.low == 1.0


def test_skill_has_a_lower_limit_alone() -> None:
    skill = made(days())[SKILL]
    assert skill.high is None
    assert skill.low is not None
    assert skill.low < skill.reference


def test_fewer_days_in_a_window_have_wider_limits() -> None:
    full, short = (made(days(), blocks)[OBSERVED_OVER_EXPECTED] for blocks in (28, 10))
    assert (short.high or 0) > (full.high or 0)


def test_fewer_alarms_asked_for_are_wider_limits() -> None:
    strict = made(days(), rules=RULES.model_copy(update={"alarms_per_stream": 0.01}))
    assert (strict[OBSERVED_OVER_EXPECTED].high or 0) > (made(days())[OBSERVED_OVER_EXPECTED].high or 0)


def test_streams_of_new_days_of_the_same_kind_alarm_about_as_often_as_stated() -> None:
    """The held-out days are a draw from the same source as the streams: as it is in life."""
    alarms = []
    for seed in range(60):
        bounds = made(days(seed=seed), rules=RULES.model_copy(update={"resamples": 300, "seed": seed}))
        later = np.stack([days(84, seed=10_000 + 10 * seed + at) for at in range(10)])
        alarms.append(broken(limits.sliding(later, 28), (OVER, OF_SKILL), bounds).any(axis=1).mean())
    assert np.mean(alarms) < 0.12


@pytest.mark.parametrize("factor", [0.5, 1.9])
def test_a_rate_that_halved_or_nearly_doubled_is_outside(factor: float) -> None:
    found = limits.OVER.of(days(seed=9, over=factor).sum(axis=0))
    assert made(days())[OBSERVED_OVER_EXPECTED].broken_by(float(found))


def test_no_event_at_all_is_too_few_for_a_ratio() -> None:
    never = days()
    never[:, 1] = 0
    assert [one.name for one in limits.judged("classification", never)] == [SKILL]


def test_a_window_without_events_has_ratio_zero_and_no_error() -> None:
    never = days()
    never[:, 1] = 0
    assert float(OVER.of(never.sum(axis=0))) == 0
    assert made(days())[OBSERVED_OVER_EXPECTED].broken_by(0.0)


def test_rare_events_leave_the_side_open_that_cannot_be_told() -> None:
    rare = days(spread=0)
    rare[:, 1] = 0
    rare[0, 1] = 1.0
    over = made(rare)[OBSERVED_OVER_EXPECTED]
    assert not over.broken_by(0.0)


def test_regression_is_judged_by_its_mean_residual_and_ranking_by_skill_alone() -> None:
    assert [one.name for one in limits.judged("regression", days())] == [RESIDUAL, SKILL]
    assert [one.name for one in limits.judged("ranking", days())] == [SKILL]


def test_residual_limits_reach_to_zero() -> None:
    biased = days(over=2.0, spread=0.01)
    found = limits.of(biased, 28, (MEAN_RESIDUAL,), RULES)[RESIDUAL]
    assert found.reference > 0.2
    assert found.low == 0.0


def test_sliding_windows_are_sums_of_successive_days() -> None:
    stream = np.arange(12, dtype=float).reshape(1, 6, 2)
    assert limits.sliding(stream, 4)[0].tolist() == [stream[0, at : at + 4].sum(axis=0).tolist() for at in range(3)]
