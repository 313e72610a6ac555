"""Who retrains, and how often: guards and claims on real git and a played forge, without a model."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.git import Here
from pipeline.errors import GitError, UnavailableError
from pipeline.forge.errors import ForgeError
from pipeline.monitoring.observation import Observation
from pipeline.monitoring.retrain import circuit, ledger
from pipeline.monitoring.retrain import run as module
from pipeline.monitoring.retrain.attempts import PARAMS, Attempt
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.errors import LostError
from pipeline.monitoring.retrain.run import Done, Ended, Run, retrain
from pipeline.monitoring.retrain.steps import HOLDER
from serving.bundle import BundleError
from tests import deliveries, forges
from tests.deliveries import Fork
from tests.forges import REPOSITORY, Fault, Played
from tests.retrainings import BROKEN, END, NOW, observation

TEXT = 'data: # history\n  start: "2013-01-01"\n  end: "2013-03-31"\nretrain:\n  max_failures: 2\n'


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fork with a release in production. Not to be changed: take `fork`."""
    where = tmp_path_factory.mktemp("promoted")
    made = deliveries.fork(where)
    made.commit("parameters", {PARAMS: TEXT})
    made.released(1.0)
    made.promoted()
    return where


@pytest.fixture
def fork(promoted: Path, tmp_path: Path) -> Fork:
    made = deliveries.copied(promoted, tmp_path / "fork")
    made.pull()
    return made


def version(fork: Fork) -> str:
    released = fork.timeline("production").release
    assert released is not None
    return released.version


def silent(_: str) -> None:
    """Nobody hears it."""


def run(
    fork: Fork, holder: str = "one", address: str = "", now: datetime = NOW, say: Callable[[str], None] = silent
) -> Run:
    token = {"FLIGHTLINE_TOKEN": "for-tests-only", "GITHUB_API_URL": address, "GITHUB_REPOSITORY": REPOSITORY}
    made = Run.of(Here(fork.root), say, {HOLDER: holder, **(token if address else {})})
    return Run(**{**made.__dict__, "clock": lambda: now})


def seen(fork: Fork, end: date = END, **given: Any) -> Observation:
    return observation(end, **{"version": version(fork), **given})


def decided(fork: Fork, holder: str = "one", address: str = "", now: datetime = NOW, **given: Any) -> Ended:
    """`flightline retrain --step decide`."""
    return retrain(run(fork, holder, address, now), lambda: seen(fork, **given), "decide")


def kept(fork: Fork) -> tuple[Attempt, ...]:
    return ledger.of(Here(fork.root)).attempts()


@contextmanager
def forge() -> Iterator[tuple[str, Played]]:
    with forges.serving() as (address, played):
        yield address, played


def test_alarm_makes_one_attempt_on_the_branch_of_reports_and_touches_nothing_else(fork: Fork) -> None:
    before = fork.repository.fetch(), fork.git("status", "--porcelain=v2", "--branch")
    ended = decided(fork)
    (attempt,) = kept(fork)
    assert (ended.outcome, ended.attempt) == ("under way", attempt.key)
    assert (attempt.version, attempt.window_end, attempt.base) == (version(fork), END, before[0])
    assert (fork.repository.fetch(), fork.git("status", "--porcelain=v2", "--branch")) == before
    assert Observation.model_validate_json(
        ledger.of(Here(fork.root)).files(attempt.key)["observation.json"]
    ).decay.alarm


def test_storm_of_fifty_events_is_one_attempt(fork: Fork) -> None:
    with ThreadPoolExecutor(5) as pool:
        ended = list(pool.map(lambda number: decided(fork, f"event {number}"), range(50)))
    assert sorted({one.outcome for one in ended}) == ["nothing", "under way"]
    assert [one.outcome for one in ended].count("under way") == 1
    assert len(kept(fork)) == 1


def test_of_two_schedules_at_once_one_wins_and_the_other_ends_quietly(fork: Fork, tmp_path: Path) -> None:
    other = fork.clone(tmp_path / "other")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(decided, fork, "schedule one")
        second = pool.submit(decided, other, "schedule two", end=END - timedelta(days=1))
    both = sorted((first.result(), second.result()), key=lambda one: one.outcome)
    assert [one.outcome for one in both] == ["nothing", "under way"]
    assert both[0].guard == "busy"
    assert both[0].exit_code == 0
    assert len(kept(fork)) == 1


def test_broken_feed_is_refused_and_nothing_is_begun(fork: Fork) -> None:
    ended = decided(fork, feed=BROKEN)
    assert (ended.outcome, ended.guard, ended.exit_code) == ("refused", "feed", 1)
    assert kept(fork) == ()


def test_step_goes_on_with_what_the_last_one_left_and_a_second_time_changes_nothing(fork: Fork) -> None:
    decided(fork)
    for _ in range(2):
        retrain(run(fork), lambda: seen(fork), "advance")
    (attempt,) = kept(fork)
    assert attempt.done == ("decide", "advance")
    moved = ledger.of(Here(fork.root)).files(attempt.key)[PARAMS].decode()
    assert moved == TEXT.replace("2013-03-31", END.isoformat())


def test_step_of_a_run_that_has_no_attempt_ends_quietly(fork: Fork) -> None:
    decided(fork)
    ended = retrain(run(fork, "another"), lambda: seen(fork), "advance")
    assert (ended.outcome, ended.exit_code) == ("nothing", 0)


def test_run_that_lost_its_attempt_while_it_worked_changes_nothing_more(fork: Fork) -> None:
    decided(fork)
    slow, later = run(fork), NOW + timedelta(hours=5)
    (held,) = kept(fork)
    assert decided(fork, "another", now=later).outcome == "under way"
    with pytest.raises(LostError, match="taken it over"):
        module._kept(slow, held, "advance", module.advance(slow, held))
    (attempt,) = kept(fork)
    assert (attempt.holder, attempt.done, attempt.tries) == ("another", ("decide",), 2)


def test_attempt_that_nobody_brings_to_an_end_has_failed(fork: Fork) -> None:
    tries = Retrain().max_tries
    for number in range(tries + 1):
        decided(fork, f"pod {number}", now=NOW + timedelta(hours=5 * number))
    (attempt,) = kept(fork)
    assert (attempt.outcome, attempt.tries) == ("failed", tries)
    assert "did not finish advance" in attempt.reason


def test_pods_of_one_job_are_one_try_however_long_something_is_away(fork: Fork) -> None:
    """The Job itself ends such a row of pods; the next Job is a try."""
    for number in range(Retrain().max_tries + 1):
        assert decided(fork, "job", now=NOW + timedelta(hours=number)).outcome == "under way"
    (attempt,) = kept(fork)
    assert (attempt.outcome, attempt.tries) == (None, 1)
    assert decided(fork, "next job", now=attempt.until).outcome == "under way"
    assert kept(fork)[0].tries == 2


def test_pod_that_another_of_its_job_took_over_from_changes_nothing_more(fork: Fork) -> None:
    decided(fork)
    slow = run(fork)
    (held,) = kept(fork)
    decided(fork)
    with pytest.raises(LostError, match="taken it over"):
        module._kept(slow, held, "advance", module.advance(slow, held))
    (attempt,) = kept(fork)
    assert module._kept(slow, attempt, "advance", module.advance(slow, attempt)).done == ("decide", "advance")
    assert len(kept(fork)) == 1


def test_step_that_is_kept_twice_as_its_push_was_not_answered_is_kept(fork: Fork) -> None:
    decided(fork)
    ours = run(fork, now=NOW + timedelta(minutes=1))
    (held,) = kept(fork)
    first = module._kept(ours, held, "advance", module.advance(ours, held))
    assert first.until > held.until
    assert module._kept(ours, held, "advance", module.advance(ours, held)) == first


def test_runs_of_this_machine_are_tries_though_they_have_one_name(fork: Fork) -> None:
    """Nothing but the tries ends a row of them."""
    for _ in range(2):
        here = Run.of(Here(fork.root), lambda _: None, {})
        retrain(Run(**{**here.__dict__, "clock": lambda: NOW}), lambda: seen(fork), "decide")
    assert kept(fork)[0].tries == 2


def test_attempt_against_a_production_that_is_no_more_is_superseded(fork: Fork) -> None:
    decided(fork)
    fork.released(2.0)
    fork.promoted()
    fork.pull()
    ended = decided(fork, "next", now=NOW + timedelta(hours=1))
    assert ended.outcome == "under way"
    old, new = kept(fork)
    assert (old.outcome, new.outcome) == ("superseded", None)
    assert new.version == version(fork)


def test_failure_is_recorded_and_the_second_in_a_row_opens_one_issue(fork: Fork) -> None:
    """`advance` fails: main's parameters have an anchor at the window's end."""
    fork.commit("an anchor", {PARAMS: TEXT.replace('"2013-03-31"', '&end "2013-03-31"') + "other: *end\n"})
    with forge() as (address, played):
        for days in (2, 1):
            decided(fork, address=address, end=END - timedelta(days=days))
            ended = retrain(run(fork, address=address), lambda: seen(fork), "advance")
            assert (ended.outcome, ended.exit_code) == ("failed", 1)
        refused = [decided(fork, address=address) for _ in range(3)]
        assert {(one.outcome, one.guard) for one in refused} == {("refused", "circuit")}
        (issue,) = played.issues
        assert issue["body"].startswith(circuit.MARKER)
        assert "has an anchor" in issue["body"]
        fork.commit("mended", {PARAMS: TEXT + f"  reset_after: {NOW.date()}\n"})
        assert decided(fork, address=address).outcome == "under way"
        assert issue["state"] == "closed"


def test_circuit_whose_issue_the_token_may_not_open_is_open_all_the_same(
    fork: Fork, capsys: pytest.CaptureFixture[str]
) -> None:
    fork.commit("an anchor", {PARAMS: TEXT.replace('"2013-03-31"', '&end "2013-03-31"') + "other: *end\n"})
    with forge() as (address, played):
        played.denied = "/issues"
        for days in (2, 1):
            assert decided(fork, address=address, end=END - timedelta(days=days)).outcome == "under way"
            ended = retrain(run(fork, address=address, say=print), lambda: seen(fork), "advance")
            assert (ended.outcome, ended.exit_code) == ("failed", 1)
        assert 'give FLIGHTLINE_TOKEN "issues: write" on GitHub' in capsys.readouterr().out
        assert (ended := decided(fork, address=address)).guard == "circuit"
        assert (ended.exit_code, played.issues) == (1, [])


@pytest.mark.parametrize("fault", [BundleError("model.onnx is not as SHA256SUMS says"), ValueError("no such day")])
def test_fault_that_no_second_run_mends_ends_the_attempt(
    fork: Fork, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(fork)
    monkeypatch.setattr(module, "advance", failing(fault))
    ended = retrain(run(fork), lambda: seen(fork), "advance")
    assert (ended.outcome, ended.reason) == ("failed", f"advance: {fault}")
    assert [one.outcome for one in kept(fork)] == ["failed"]


@pytest.mark.parametrize("away", [UnavailableError, GitError, ForgeError])
def test_what_is_merely_away_leaves_the_attempt_as_it_is(
    fork: Fork, away: type[UnavailableError], monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(fork)
    before = kept(fork)
    monkeypatch.setattr(module, "advance", failing(away("it does not answer")))
    with pytest.raises(away):
        retrain(run(fork), lambda: seen(fork), "advance")
    assert kept(fork) == before


def failing(fault: Exception) -> Callable[..., Done]:
    """A step that ends so."""

    def step(_run: Run, _attempt: Attempt) -> Done:
        raise fault

    return step


def test_forge_away_is_an_outage_and_no_attempt(fork: Fork) -> None:
    with forge() as (address, played):
        played.faults = [Fault(status=503) for _ in range(40)]
        with pytest.raises(UnavailableError):
            decided(fork, address=address)
    assert kept(fork) == ()


def test_remote_away_is_an_outage(fork: Fork, tmp_path: Path) -> None:
    fork.git("remote", "set-url", "origin", str(tmp_path / "nowhere.git"))
    with pytest.raises(UnavailableError, match="git"):
        run(fork).main()


def test_without_a_release_there_is_nothing_to_retrain(tmp_path: Path) -> None:
    made = deliveries.fork(tmp_path)
    made.commit("parameters", {PARAMS: TEXT})
    ended = retrain(run(made), observation, "decide")
    assert ended.outcome == "nothing"
    assert "a person's" in ended.reason
