"""When a pull request is past, and what its first line says."""

import pytest

from pipeline.delivery.history import Timeline
from pipeline.delivery.pulls import Key, past
from tests.unit.pipeline.delivery.releases import SAID, held, name, timeline

NEVER = Timeline("production", ())


def key(kind: str, letter: str, env: str = "staging") -> Key:
    return Key.model_validate({"kind": kind, "env": env, "identity": name(letter), "since": "5" * 40})


@pytest.mark.parametrize(
    ("about", "found", "origin", "overtaken", "why"),
    [
        (key("release", "B"), timeline("A"), None, None, None),
        (key("release", "A"), timeline("A"), None, None, "staging has it already"),
        (key("release", "B"), timeline("AC"), None, "f" * 40, "older run"),
        (key("release", "B"), timeline("A", [held("B")]), None, None, "is held in staging"),
        (key("promote", "B", "production"), timeline("A", env="production"), timeline("AB"), None, None),
        (key("promote", "A", "production"), NEVER, timeline("A"), None, None),
        (key("promote", "B", "production"), timeline("AB", env="production"), timeline("AB"), None, "has it already"),
        (key("promote", "B", "production"), timeline("A", env="production"), timeline("ABC"), None, "staging has"),
        (key("promote", "B", "production"), NEVER, timeline("AB", [held("B")]), None, "is held in staging"),
        (
            key("promote", "B", "production"),
            timeline("A", [held("B")], "production"),
            timeline("AB"),
            None,
            "held in prod",
        ),
        (key("promote", "B", "production"), NEVER, timeline("AB", [held("B", SAID)]), None, None),
        (key("rollback", "B"), timeline("AB"), None, None, None),
        (key("rollback", "B"), timeline("ABA"), None, None, f"staging has identity {name('A')[:12]} now"),
        (key("rollback", "B"), timeline("AB-"), None, None, "staging has no release now"),
        (key("hold", "B"), timeline("AB"), None, None, None),
        (key("hold", "B"), timeline("AB", [held("B", SAID)]), None, None, None),
        (key("hold", "B"), timeline("AB", [held("B")]), None, None, "is held in staging already"),
        (key("unhold", "B"), timeline("AB", [held("B")]), None, None, None),
        (key("unhold", "B"), timeline("ABA"), None, None, None),
        (key("unhold", "B"), timeline("AB", [held("B", SAID)]), None, None, "is not held in staging"),
    ],
)
def test_what_main_leaves_to_merge(
    about: Key, found: Timeline, origin: Timeline | None, overtaken: str | None, why: str | None
) -> None:
    said = past(about, found, origin, overtaken)
    assert said is None if why is None else why in (said or "")


@pytest.mark.parametrize("closed", [False, True])
def test_first_line_is_read_as_it_was_written(*, closed: bool) -> None:
    about = key("promote", "A", "production")
    assert Key.read(f"{about.line(closed=closed)}\nthe rest") == about
    assert about.line(closed=True) != about.line()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text\n" + key("promote", "A").line(),
        key("promote", "A").line().replace("promote", "demote"),
        key("promote", "A").line().replace(name("A"), "0" * 63),
        "<!-- flightline: report -->",
    ],
)
def test_any_other_first_line_is_not_ours(body: str) -> None:
    assert Key.read(body) is None
