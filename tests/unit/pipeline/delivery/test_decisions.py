"""What release, promote, rollback, hold and unhold decide, from what main says alone."""

from pathlib import Path

import pytest

from pipeline.delivery.candidate import Candidate
from pipeline.delivery.history import Timeline
from pipeline.delivery.hold import holding, permitting
from pipeline.delivery.models import Code, DeliveryError, Judged
from pipeline.delivery.promote import decide as decide_promotion
from pipeline.delivery.push import Settled
from pipeline.delivery.release import decide as decide_release
from pipeline.delivery.rollback import aim, aim_before
from tests.unit.pipeline.delivery.releases import SAID, held, name, named, timeline


def candidate(letter: str) -> Candidate:
    one, code = named(letter), Code(image=f"sha256:{'d' * 64}", inputs="e" * 64)
    judged = Judged(decision="pass", reason="better")
    return Candidate(one.source, one.identity, one.version, "r/i@sha256:0", code, {}, judged, Path(), b"")


def ending(found: object) -> str:
    return found.ending if isinstance(found, Settled) else "go"


@pytest.mark.parametrize(
    ("letter", "found", "newer", "expected"),
    [
        ("A", Timeline("staging", ()), None, "go"),
        ("B", timeline("A"), None, "go"),
        ("A", timeline("A"), None, "nothing"),
        ("A", timeline("A"), "f" * 40, "nothing"),  # a run that is late and equal
        ("B", timeline("ABA"), None, "refused"),  # reverted
        ("B", timeline("AC", [held("B")]), None, "refused"),
        ("B", timeline("AC", [held("B", SAID)]), None, "go"),
        ("A", timeline("A", [held("A")]), None, "nothing"),
        ("C", timeline("ABA"), None, "go"),  # the fix, after a revert
        ("B", timeline("AC"), "f" * 40, "refused"),  # an older run
    ],
)
def test_release(letter: str, found: Timeline, newer: str | None, expected: str) -> None:
    assert ending(decide_release(candidate(letter), found, newer)) == expected


def test_refusal_names_the_identity_the_reason_and_the_verb_that_lets_go() -> None:
    refused = decide_release(candidate("B"), timeline("ABA"), None)
    assert refused is not None
    for word in (name("B")[:12], "main went back from it in 000000000000", "flightline unhold --env staging"):
        assert word in refused.reason


@pytest.mark.parametrize(
    ("staging", "production", "newer", "expected"),
    [
        (timeline("A"), Timeline("production", ()), None, "go"),
        (timeline("AB"), timeline("A", env="production"), None, "go"),
        (timeline("AB"), timeline("B", env="production"), None, "nothing"),
        (timeline("AB"), timeline("B", env="production"), "f" * 40, "nothing"),
        (timeline("AB"), timeline("ABA", env="production"), None, "refused"),
        (timeline("AB"), timeline("A", [held("B")], "production"), None, "refused"),
        (timeline("AB"), timeline("A", [held("B", SAID)], "production"), None, "go"),
        (timeline("AB", [held("B")]), timeline("A", env="production"), None, "refused"),
        (timeline("ABA"), timeline("AC", env="production"), "f" * 40, "refused"),
    ],
)
def test_promotion(staging: Timeline, production: Timeline, newer: str | None, expected: str) -> None:
    assert staging.release is not None
    assert ending(decide_promotion(staging.release, staging, production, newer)) == expected


@pytest.mark.parametrize(
    ("found", "to", "expected"),
    [
        (timeline("ABC"), "A", "go"),
        (timeline("ABC"), "C", "nothing"),
        (timeline("ABAC"), "B", "refused"),
        (timeline("ABAC", [held("B", SAID)]), "B", "go"),
    ],
)
def test_rollback(found: Timeline, to: str, expected: str) -> None:
    assert ending(aim(found, name(to))) == expected


@pytest.mark.parametrize(
    ("found", "aborted", "target"),
    [
        (timeline("AB"), "B", "A"),
        (timeline("ABAC"), "C", "A"),
        (timeline("ABC", [held("B")]), "C", "A"),  # what is held is no place to go to
        (timeline("AB"), "A", "nothing"),  # a late event about what is no longer released
        (timeline("A-"), "A", "nothing"),
        (timeline("A"), "A", "refused"),
    ],
)
def test_aborted_release_goes_back_to_the_newest_that_is_not_held(found: Timeline, aborted: str, target: str) -> None:
    chosen = aim_before(found, name(aborted))
    if isinstance(chosen, Settled):
        assert chosen.ending == target
    else:
        assert chosen[1].identity == name(target)


def test_hold_adds_a_line_once() -> None:
    lines = holding(timeline("AB"), named("A"), "late data")
    assert isinstance(lines, tuple)
    assert [(line.identity, line.reason) for line in lines] == [(name("A"), "late data")]
    assert ending(holding(timeline("AB", lines), named("A"), "again")) == "nothing"


def test_hold_takes_a_permission_back() -> None:
    lines = holding(timeline("AB", [held("A", SAID)]), named("A"), "bad after all")
    assert isinstance(lines, tuple)
    assert [(line.permitted, line.reason) for line in lines] == [(None, "bad after all")]


def test_unhold_records_who_and_why() -> None:
    lines = permitting(timeline("AB", [held("A"), held("B")]), named("A"), SAID)
    assert lines == (held("A", SAID), held("B"))


def test_unhold_of_what_only_history_holds_writes_a_line() -> None:
    found = timeline("ABA")
    lines = permitting(found, named("B"), SAID)
    assert isinstance(lines, tuple)
    assert [(line.identity, line.permitted) for line in lines] == [(name("B"), SAID)]


def test_unhold_of_what_is_not_held_does_nothing() -> None:
    assert ending(permitting(timeline("AB"), named("B"), SAID)) == "nothing"


def test_permission_that_would_change_nothing_is_refused() -> None:
    found = timeline("ABA", [held("B", SAID)])
    held_again = Timeline("staging", (*found.points[:-1], *timeline("ABA").points[-1:]), found.release, found.holds)
    with pytest.raises(DeliveryError, match="give the new one"):
        permitting(held_again, named("B"), SAID)
