from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from pipeline.config import ConfigError
from pipeline.monitoring.play import story as stories
from pipeline.monitoring.play.plan import Span, span_of
from pipeline.monitoring.play.stage import key
from tests import plays
from tests.checkouts import PROJECT, Checkout

END = date(2013, 3, 31)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    document = yaml.safe_load((PROJECT / "params.yaml").read_text())
    window = {"data": {"end": str(END)}, "retrain": {"window_key": "data.end"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**document, **window}))
    return tmp_path


def test_what_is_played_follows_the_window_of_params_yaml(root: Path) -> None:
    assert span_of(root, None, None) == Span(first=END + timedelta(days=1), last=date(2013, 8, 31), late=7)


def test_a_later_first_day_moves_the_window_to_the_day_before(root: Path) -> None:
    found = span_of(root, date(2013, 10, 1), date(2013, 12, 30))
    assert (found.first, found.last, found.ends) == (date(2013, 10, 1), date(2013, 12, 30), date(2013, 9, 30))
    assert found.mornings == 91


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (END, None, r"--from 2013-03-31: production has the data to 2013-03-31 \(data\.end"),
        (None, END, "--to 2013-03-31: it is before 2013-04-01"),
    ],
)
def test_days_that_cannot_be_played_are_named_with_the_fix(
    root: Path, first: date | None, last: date | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        span_of(root, first, last)


def test_a_window_key_that_names_no_day_is_told(root: Path) -> None:
    document = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**document, "retrain": {"window_key": "data.until"}}))
    with pytest.raises(ConfigError, match=r"no 'data\.until', which `retrain\.window_key` names"):
        span_of(root, None, None)


def test_days_are_remembered_and_a_line_cut_short_is_not_one(tmp_path: Path) -> None:
    days = plays.mornings()[:3]
    stories.remember(tmp_path, days)
    assert stories.remembered(tmp_path) == list(days)
    path = tmp_path / stories.DAYS
    path.write_text(path.read_text()[:-40])
    assert stories.remembered(tmp_path) == list(days[:2])


def test_a_play_is_another_one_when_a_source_changes_and_not_when_a_page_does(tmp_path: Path) -> None:
    made = Checkout(tmp_path)
    made.run("git", "init", "-q")
    for name in ("params.yaml", "model/new.py", "docs/page.md", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one")
    before = key(tmp_path, "a span")
    (tmp_path / "docs/page.md").write_text("two")
    assert key(tmp_path, "a span") == before
    assert key(tmp_path, "another span") != before
    (tmp_path / "model/new.py").write_text("two")
    assert key(tmp_path, "a span") != before
