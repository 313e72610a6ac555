"""What main's history says about releases: which one stands, which are held because main went back from them."""

import pytest

from pipeline.delivery.history import find, went_back
from pipeline.delivery.models import DeliveryError
from tests.unit.pipeline.delivery.releases import SAID, held, name, named, point, points, timeline


def letters(held_ones: object) -> str:
    return "".join(sorted(bytes.fromhex(one[:2]).decode() for one in held_ones))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("history", "held_ones"),
    [
        ("-", ""),
        ("A", ""),
        ("ABC", ""),
        ("ABBBC", ""),
        ("ABA", "B"),  # a plain revert
        ("A-", "A"),  # the first release reverted
        ("-A-", "A"),
        ("ABCA", "C"),  # back over B, which nobody complained of
        ("ABAC", "B"),  # held however much comes after
        ("ABAB", ""),  # people brought it back
        ("ABABC", ""),
        ("ABABA", "B"),  # and went back again
        ("ABACA", "BC"),
        ("A-A", ""),
        ("AB-", "B"),
    ],
)
def test_identity_that_an_earlier_one_replaced_is_held(history: str, held_ones: str) -> None:
    assert letters(went_back(points(history))) == held_ones


def test_permission_written_after_the_step_back_lets_go() -> None:
    history = (point(0, "A"), point(1, "B"), point(2, "A"), point(3, "A", held("B", SAID)))
    assert went_back(history) == {}


def test_permission_written_before_the_step_back_does_not() -> None:
    history = (point(0, "A"), point(1, "B", held("B", SAID)), point(2, "A", held("B", SAID)), point(3, "C"))
    assert letters(went_back(history)) == "B"


def test_line_without_permission_does_not_let_go() -> None:
    history = (point(0, "A"), point(1, "B"), point(2, "A", held("B")), point(3, "A", held("B")))
    assert letters(went_back(history)) == "B"


def test_line_holds_until_it_is_permitted() -> None:
    assert letters(timeline("ABC", [held("B"), held("A", SAID)]).held) == "B"


def test_releases_are_listed_newest_first_and_once_each_time() -> None:
    assert letters_in_order(timeline("-AAB-BBA")) == "ABBA"


def letters_in_order(found: object) -> str:
    return "".join(bytes.fromhex(one.identity[:2]).decode() for _, one in found.releases())  # type: ignore[attr-defined]


def test_release_is_found_by_identity_version_and_commit() -> None:
    found = timeline("ABA")
    commit = found.points[1].commit
    for wanted in (name("B"), name("B")[:7], named("B").version[:12], commit):
        assert find(found, wanted) == (commit, named("B"))


def test_of_a_release_made_twice_the_newer_commit_is_found() -> None:
    found = timeline("ABAC")
    assert find(found, name("A"))[0] == found.points[2].commit


@pytest.mark.parametrize(
    ("wanted", "why"), [("4", "too short"), ("0" * 8, "several releases of staging"), ("f" * 12, "names no release")]
)
def test_name_that_is_none_says_what_there_is(wanted: str, why: str) -> None:
    with pytest.raises(DeliveryError, match=why):
        find(timeline("AB"), wanted)
