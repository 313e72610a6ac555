"""The backtest tells what the limits are worth."""

import numpy as np
import pytest

from pipeline.monitoring import backtest
from pipeline.monitoring.backtest import Backtest
from pipeline.monitoring.config import DecayLimits
from tests.unit.pipeline.monitoring.test_decay import reference
from tests.unit.pipeline.monitoring.test_limits import days

RULES = DecayLimits(resamples=300)


@pytest.fixture(scope="module")
def found() -> Backtest:
    return backtest.run(reference(), "classification", RULES, streams=60)


def test_unchanged_streams_alarm_no_more_often_than_stated(found: Backtest) -> None:
    assert found.holds
    assert found.given.per_stream <= found.stated
    assert found.given.per_window <= found.given.per_stream


def test_a_reference_that_is_itself_a_draw_makes_more_false_alarms(found: Backtest) -> None:
    assert found.given.per_stream <= found.sampled.per_stream < 0.25


def test_a_larger_change_is_found_sooner(found: Backtest) -> None:
    median = {one.factor: one.median_days for one in found.delays if one.change == "labels"}
    assert median[2.0] is not None
    assert median[1.5] is not None
    assert 1 <= median[2.0] <= median[1.5] <= 40


def test_scores_that_halve_are_found_as_labels_that_double(found: Backtest) -> None:
    by = {(one.change, one.factor): one.found for one in found.delays}
    assert by["scores", 0.5] == by["labels", 2.0] == 1.0


def test_it_says_it_in_a_few_lines(found: Backtest) -> None:
    text = backtest.text(found)
    assert "60 streams of 84 days drawn from 28 held-out blocks" in text
    assert "labels x 2: 100% found" in text


def test_both_rates_are_told_with_what_each_is_given_and_which_one_was_stated(found: Backtest) -> None:
    rates = {"given": found.given.model_copy(update={"per_stream": 0.04}), "stated": 0.05}
    sampled = found.sampled.model_copy(update={"per_stream": 0.135})
    _, first, second, *_ = backtest.text(found.model_copy(update={**rates, "sampled": sampled})).splitlines()
    assert first.startswith("- given that the held-out days are what days are like: 4.0% of streams")
    assert first.endswith("at most 5.0% are stated, which holds")
    assert second.startswith("- given that they are a sample of them: 13.5% of streams")
    assert second.endswith("what to expect in life")


def test_the_same_seed_gives_the_same_figures(found: Backtest) -> None:
    assert backtest.run(reference(), "classification", RULES, streams=60) == found


def test_limits_that_are_too_narrow_do_not_hold(found: Backtest) -> None:
    noisy = found.model_copy(update={"given": found.given.model_copy(update={"per_stream": 0.3})})
    assert not noisy.holds
    assert "does NOT hold" in backtest.text(noisy)


def test_too_few_held_out_days_are_refused() -> None:
    with pytest.raises(ValueError, match="12 held-out blocks; 20 are needed"):
        backtest.run(reference(days(12)), "classification", RULES)


def test_no_alarm_is_no_delay() -> None:
    one = backtest._delay("labels", 1.0, np.zeros((10, 84), bool))
    assert (one.found, one.median_days) == (0.0, None)
