import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import demo, page, telling
from infra.local.components import PROJECT, ClusterError, State
from infra.local.hand import Hand
from infra.local.telling import Demo, headline
from infra.local.timeline import Timeline
from pipeline.config import read_params
from pipeline.review.comment import MARKER
from tests import forges
from tests.forges import Played


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Demo, Played]]:
    """A demo without a cluster: both people look at a forge that is played."""
    monkeypatch.setattr(telling, "_EVERY", 0.01)
    monkeypatch.setattr(telling, "GRACE", 0.05)
    with forges.played() as (forge, played, _):
        hand = Hand("reviewer", tmp_path, forge, {}, "")
        yield Demo(State(tmp_path), tmp_path, Timeline(), hand, hand), played


# What people change.


def copied(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text((PROJECT / name).read_text())
    return tmp_path / name


@pytest.mark.flights
def test_more_data_is_one_line_of_params(tmp_path: Path) -> None:
    path = copied(tmp_path, "params.yaml")
    path.write_text(re.sub(r'end: "[\d-]+"', 'end: "2013-03-31"', path.read_text(), count=1))
    before = path.read_text().splitlines()
    demo.more_data(tmp_path)
    after = (tmp_path / "params.yaml").read_text().splitlines()
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    assert read_params(tmp_path).data["end"] == "2013-05-31"


def test_bad_change_is_one_that_lint_lets_through(tmp_path: Path) -> None:
    path = copied(tmp_path, "serving/scoring.py")
    demo.misread_humidity(tmp_path)
    for words in (["check"], ["format", "--check"]):
        subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", str(PROJECT / "pyproject.toml"), str(path)], check=True
        )
    with pytest.raises(ClusterError, match="0 times what the demo would replace"):
        demo.misread_humidity(tmp_path)


# What is waited for.


def test_wait_ends_with_what_was_found(told: tuple[Demo, Played]) -> None:
    story, _ = told
    assert story.until("something", lambda: "it", 1, url="http://forge/x") == "it"
    assert story.timeline.events[0]["url"] == "http://forge/x"


def test_wait_that_is_over_says_what_runs_and_what_it_printed(told: tuple[Demo, Played]) -> None:
    story, played = told
    run = played.add_run("gate.yml", status="in_progress", conclusion=None)
    played.add_job(run["id"], "gate", "", "first line\nlast line")
    with pytest.raises(ClusterError, match="not within 0 s: the report") as caught:
        story.until("the report", lambda: None, 0.1)
    assert "gate.yml (push): in_progress" in str(caught.value)
    assert "last line" in str(caught.value)


def test_wait_ends_early_when_a_workflow_that_it_needs_failed(told: tuple[Demo, Played]) -> None:
    story, played = told
    run = played.add_run("gate.yml", conclusion="failure")
    played.add_job(run["id"], "gate", "failure", "error: no data")
    played.add_job(run["id"], "other", "success", "all is well")
    with pytest.raises(ClusterError, match="a workflow failed: the report") as caught:
        story.until("the report", lambda: None, 30, ("gate.yml",))
    assert "error: no data" in str(caught.value)
    assert "all is well" not in str(caught.value)


def test_log_of_a_matrix_is_shown_where_it_failed(told: tuple[Demo, Played]) -> None:
    story, played = told
    run = played.add_run("pr.yml", conclusion="failure")
    log = ["early"] * 100 + ["E  assert 1 == 2", "##[error]Process completed with exit code 2."] + ["late"] * 100
    played.add_job(run["id"], "checks", "failure", "\n".join(log))
    shown = story.explain()
    assert "assert 1 == 2" in shown
    assert "late" not in shown


def test_failure_of_earlier_runs_other_workflows_and_cancelled_ones_does_not_matter(told: tuple[Demo, Played]) -> None:
    story, played = told
    played.add_run("gate.yml", conclusion="failure")
    story.mark()
    played.add_run("gate.yml", conclusion="cancelled")
    played.add_run("security.yml", conclusion="failure")
    with pytest.raises(ClusterError, match="not within"):
        story.until("the report", lambda: None, 0.1, ("gate.yml",))


def test_report_is_the_comment_with_the_marker(told: tuple[Demo, Played]) -> None:
    story, played = told
    played.add_pull("topic")
    played.add_comment(1, "talk", author="people")
    played.add_comment(1, f"{MARKER}\n## Passes\n\nmore")
    found = story.reported(story.reviewer.forge.pull(1))
    assert headline(found.body) == "Passes"
    assert [one["name"] for one in story.timeline.figures] == ["push -> report"]
    assert story.timeline.events[-1]["url"] == found.url


def test_pull_request_that_opens_by_itself_is_known_by_its_first_line(told: tuple[Demo, Played]) -> None:
    story, played = told
    line = "<!-- flightline:{kind} env={env} identity={identity} since=- -->"
    wanted, other = "a" * 64, "b" * 64
    played.add_pull("1", body=line.format(kind="promote", env="production", identity=other))
    played.add_pull("2", body=line.format(kind="rollback", env="production", identity=wanted))
    played.add_pull("3", body=line.format(kind="promote", env="production", identity=wanted))
    played.add_pull("4", body="somebody's own")
    played.add_pull("5", body=line.format(kind="promote", env="production", identity=other))
    assert story.opened("promote", "production", wanted).number == 3


# What is left of it.


def test_page_links_to_what_happened_and_needs_no_traffic(tmp_path: Path) -> None:
    timeline = Timeline("From a push <to> production")
    with timeline.chapter("1 & only"):
        timeline.event("a pull <request>", "http://forge/?a=1&b=2")
        timeline.figure("push -> report", 12.0, 180.0)
    timeline.write(tmp_path)
    shown = page.render(tmp_path).read_text()
    assert '<a href="http://forge/?a=1&amp;b=2">a pull &lt;request&gt;</a>' in shown
    assert "From a push &lt;to&gt; production" in shown
    assert "<svg" not in shown
    assert json.loads((tmp_path / "timeline.json").read_text())["chapters"][0]["passed"]


def test_figure_beyond_its_limit_is_missed() -> None:
    timeline = Timeline()
    timeline.figure("push -> report", 12.0, 180.0)
    timeline.figure("merge -> staging's canary", 151.0, 150.0)
    assert timeline.missed() == {"merge -> staging's canary": 151.0}
    assert timeline.missed(2) == {}


def test_chapter_that_fails_says_by_what_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    timeline = Timeline()
    with pytest.raises(ClusterError), timeline.chapter("a fork with a note"):
        raise ClusterError("a workflow failed: pr.yml")
    assert "ClusterError: a workflow failed: pr.yml" in capsys.readouterr().out
    assert (timeline.chapters[0]["passed"], "pr.yml" in timeline.chapters[0]["error"]) == (False, True)
