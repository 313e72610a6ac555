"""The guards: only decay starts a retraining, a broken feed forbids it, and a storm of alarms is one attempt."""

from datetime import date, timedelta
from typing import Any

import pytest

from pipeline.monitoring.observation import BrokenDay, Section
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.guards import Proposal, decide
from tests.retrainings import BROKEN, END, NOW, OTHER, QUIET, asked, attempt, observation

LITTLE = Section(alarm=False, decision="too little", reason="12 of 28 days have labels")
EARLIER = END - timedelta(days=28)


def guard(**given: Any) -> str:
    return decide(asked(**given)).guard


def failed(days: int, **given: Any) -> Any:
    return attempt(END - timedelta(days=days), outcome="failed", reason="stage train", ended=NOW, **given)


def test_decay_starts_an_attempt_on_the_window_to_the_last_labelled_day() -> None:
    answer = decide(asked())
    assert (answer.guard, answer.window_end) == ("go", END)
    assert "1.89" in answer.reason


@pytest.mark.parametrize("decay", [QUIET, LITTLE])
def test_without_decay_nothing_is_done(decay: Section) -> None:
    answer = decide(asked(observation=observation(decay=decay)))
    assert answer.guard == "quiet"
    assert decay.reason in answer.reason


def test_drift_alone_starts_nothing() -> None:
    assert guard(observation=observation(drift=BROKEN, decay=QUIET)) == "quiet"


@pytest.mark.parametrize("force", ["", "the owner wants it"])
def test_broken_feed_is_refused_whoever_asks_and_says_why(force: str) -> None:
    answer = decide(asked(observation=observation(feed=BROKEN), force=force))
    assert (answer.guard, answer.refused) == ("feed", True)
    assert "98.9 %" in answer.reason


def test_broken_feed_stops_an_attempt_that_was_begun() -> None:
    begun = attempt(until=NOW - timedelta(minutes=1))
    assert guard(observation=observation(feed=BROKEN), attempts=(begun,)) == "feed"


def broken(*days: date) -> Any:
    return observation(broken=tuple(BrokenDay(day=day, fault="dewp <= temp fails in 98.9 % of rows") for day in days))


@pytest.mark.parametrize("force", ["", "the owner wants it"])
@pytest.mark.parametrize("back", [8, 14, 20])
def test_broken_day_that_would_be_learnt_is_refused_when_the_newest_week_is_sound_again(back: int, force: str) -> None:
    day = asked().observation.as_of - timedelta(days=back)
    answer = decide(asked(observation=broken(day), force=force))
    assert (answer.guard, answer.refused) == ("feed", True)
    for said in (f"{day} (dewp <= temp fails in 98.9 % of rows)", f"window to {END}", "`retrain.sound_days`"):
        assert said in answer.reason


def test_many_broken_days_are_named_by_the_first() -> None:
    answer = decide(asked(observation=broken(*(END - timedelta(days=back) for back in (9, 8, 7, 6, 5)))))
    assert str(END - timedelta(days=9)) in answer.reason
    assert " and 2 more, and the window" in answer.reason


@pytest.mark.parametrize("day", [date(2013, 3, 31), END + timedelta(days=1)])
def test_broken_day_that_main_has_already_or_that_is_after_the_window_is_no_hindrance(day: date) -> None:
    assert guard(observation=broken(day)) == "go"


def test_reviewed_line_vouches_for_its_days_alone() -> None:
    first, second = END - timedelta(days=7), END
    given = {"observation": broken(first, second)}
    answer = decide(asked(**given, settings=Retrain(sound_days=(first,))))
    assert (answer.guard, str(second) in answer.reason, str(first) in answer.reason) == ("feed", True, False)
    assert guard(**given, settings=Retrain(sound_days=(first, second))) == "go"


def test_vouched_days_open_no_feed_that_is_broken_now() -> None:
    settings = Retrain(sound_days=(END,))
    assert guard(observation=observation(feed=BROKEN), settings=settings) == "feed"


def test_broken_day_asks_for_nobody_where_nothing_would_be_learnt() -> None:
    quiet = broken(END).model_copy(update={"decay": QUIET})
    assert guard(observation=quiet) == "quiet"
    assert guard(observation=broken(END), data_end=END) == "window"


def test_broken_day_stops_an_attempt_that_was_begun_with_it_and_no_other() -> None:
    begun, before = attempt(until=NOW), attempt(END - timedelta(days=1), until=NOW)
    assert guard(observation=broken(END), attempts=(begun,)) == "feed"
    assert guard(observation=broken(END), attempts=(before,)) == "resume"


def test_reason_of_a_person_goes_without_decay_cooldown_and_labels() -> None:
    tried = attempt(END - timedelta(days=3), outcome="no gain")
    given = {"observation": observation(decay=QUIET, new_labels=3), "attempts": (tried,)}
    assert guard(**given) == "quiet"
    answer = decide(asked(**given, force="a new schema"))
    assert (answer.guard, answer.reason) == ("go", "forced: a new schema")


def test_observation_of_another_bundle_says_nothing_about_production() -> None:
    assert guard(version=OTHER) == "stale"


def test_without_a_full_window_nothing_is_done_even_by_force() -> None:
    assert guard(observation=observation(window=None), force="now") == "window"


def test_window_that_main_has_already_is_not_tried() -> None:
    assert guard(data_end=END) == "window"


def test_fifty_alarms_are_one_attempt() -> None:
    begun = attempt()
    assert [guard(attempts=(begun,)) for _ in range(50)] == ["busy"] * 50
    ended = attempt(outcome="no gain", reason="none")
    assert [guard(attempts=(ended,)) for _ in range(50)] == ["attempted"] * 50


def test_who_holds_an_attempt_goes_on_with_it() -> None:
    answer = decide(asked(attempts=(attempt(holder="two"),)))
    assert (answer.guard, answer.attempt) == ("resume", attempt(holder="two"))


def test_another_waits_until_the_time_of_the_holder_is_up() -> None:
    assert guard(attempts=(attempt(until=NOW + timedelta(seconds=1)),)) == "busy"
    assert guard(attempts=(attempt(until=NOW),)) == "resume"


def test_attempt_that_was_begun_is_finished_before_a_newer_window_is_tried() -> None:
    begun = attempt(EARLIER, until=NOW)
    answer = decide(asked(attempts=(begun,)))
    assert (answer.guard, answer.attempt) == ("resume", begun)


def test_attempt_against_another_production_is_no_hindrance() -> None:
    assert guard(attempts=(attempt(version=OTHER, until=NOW + timedelta(hours=1)),)) == "go"


@pytest.mark.parametrize("outcome", ["proposed", "no gain", "stopped"])
def test_cooldown_is_counted_in_days_of_data(outcome: str) -> None:
    tried = attempt(EARLIER, outcome=outcome)
    assert guard(attempts=(tried,)) == "go"
    assert guard(attempts=(tried,), observation=observation(END - timedelta(days=1))) == "cooldown"


def test_cooldown_goes_on_over_a_release() -> None:
    tried = attempt(END - timedelta(days=27), version=OTHER, outcome="proposed")
    answer = decide(asked(attempts=(tried,)))
    assert answer.guard == "cooldown"
    assert str(END + timedelta(days=1)) in answer.reason


def test_attempt_that_failed_does_not_start_the_cooldown() -> None:
    assert guard(attempts=(failed(1),)) == "go"


def test_too_few_new_labels_are_waited_for() -> None:
    assert guard(observation=observation(new_labels=4999)) == "labels"
    assert guard(observation=observation(new_labels=5000)) == "go"


def test_failures_in_a_row_open_the_circuit_and_name_the_line_that_resets_it() -> None:
    two = (failed(2), failed(1))
    assert guard(attempts=two) == "go"
    answer = decide(asked(attempts=(failed(3), *two), force="again"))
    assert (answer.guard, answer.refused) == ("circuit", True)
    assert "stage train" in answer.reason
    assert "`retrain.reset_after: 2026-01-02`" in answer.reason


def test_an_answer_in_between_breaks_the_row() -> None:
    early = NOW - timedelta(days=9)
    before = tuple(failed(days, began=early) for days in (90, 80))
    answered = attempt(END - timedelta(days=60), outcome="no gain", began=NOW - timedelta(days=8))
    assert guard(attempts=(*before, answered, failed(1))) == "go"


@pytest.mark.parametrize(("day", "expected"), [(date(2026, 1, 2), "go"), (date(2026, 1, 1), "circuit")])
def test_reviewed_line_forgives_failures_up_to_its_day(day: date, expected: str) -> None:
    three = (failed(3), failed(2), failed(1))
    assert guard(attempts=three, settings=Retrain(reset_after=day)) == expected


def test_pull_request_that_is_open_or_declined_is_not_opened_again() -> None:
    assert guard(proposals=(Proposal(4, attempt().key, True),)) == "attempted"
    assert guard(proposals=(Proposal(4, attempt().key, False),)) == "declined"


def test_newer_window_goes_beside_an_open_pull_request_which_it_updates() -> None:
    assert guard(proposals=(Proposal(4, attempt(EARLIER).key, True),)) == "go"
