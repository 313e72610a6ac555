from collections.abc import Iterator

import pytest

from pipeline.config import ConfigError
from pipeline.errors import UnavailableError
from pipeline.forge import Forge, waiting
from pipeline.review.judged import GATE, judged
from tests import forges
from tests.forges import Played

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Forge, Played]]:
    """A forge that is asked often."""
    monkeypatch.setattr(waiting, "EVERY", 0.01)
    with forges.played() as (forge, played, _):
        yield forge, played


def test_newest_run_of_the_gate_at_the_commit_is_waited_for(at: tuple[Forge, Played]) -> None:
    forge, played = at
    played.add_run(f"{GATE}@refs/heads/dvc-lock", head_sha=COMMIT, status="completed", conclusion="cancelled")
    played.add_run(f"{GATE}@refs/heads/dvc-lock", head_sha=OTHER, status="completed", conclusion="success")
    played.add_run("pr.yml@refs/heads/dvc-lock", head_sha=COMMIT, status="completed", conclusion="success")
    newest = played.add_run(f"{GATE}@refs/heads/dvc-lock", head_sha=COMMIT, status="in_progress")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        newest.update(status="completed", conclusion="success")

    assert judged(forge, COMMIT, say).id == newest["id"]
    assert said == [f"waiting for {newest['html_url']}"]


def test_run_that_does_not_end_is_named(at: tuple[Forge, Played], monkeypatch: pytest.MonkeyPatch) -> None:
    forge, played = at
    monkeypatch.setattr(waiting, "LONGEST", 0.05)
    run = played.add_run(f"{GATE}@refs/heads/dvc-lock", head_sha=COMMIT, status="in_progress")
    with pytest.raises(UnavailableError, match=f"r/{run['id']} has not ended"):
        judged(forge, COMMIT, lambda _: None)


def test_commit_without_a_run_is_told_how_to_get_one(at: tuple[Forge, Played]) -> None:
    with pytest.raises(UnavailableError, match=r"gate\.yml never ran at aaaaaaaaaaaa; start it"):
        judged(at[0], COMMIT, lambda _: None)


@pytest.mark.parametrize("text", ["main", "", "$(touch pwned)", "A" * 40, f"{COMMIT}\n"])
def test_what_is_no_commit_is_refused(at: tuple[Forge, Played], text: str) -> None:
    with pytest.raises(ConfigError, match="is no commit"):
        judged(at[0], text, lambda _: None)
    assert at[1].asked == []
