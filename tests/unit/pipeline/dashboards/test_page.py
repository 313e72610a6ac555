from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.config import ConfigError, read_settings
from pipeline.dashboards import page
from pipeline.dashboards.answers import Span
from pipeline.dashboards.boards import BOARDS
from pipeline.dashboards.page import View
from pipeline.errors import UnavailableError
from pipeline.prometheus import Alert
from tests.checkouts import PROJECT

HOSTILE = "<script>alert(1)</script>"


def view(*alerts: Alert) -> View:
    return View("Flightline", "http://127.0.0.1:9090", Span(3600, 7200.0), alerts, ())


def test_alerts_come_first_with_their_runbooks() -> None:
    alert = Alert(
        "firing",
        {"alertname": "FlightlineSlow", "severity": "critical"},
        {"summary": "slow", "runbook_url": "https://github.com/example/flightline/blob/main/docs/runbooks/slow.md"},
    )
    text = page.text(view(alert))
    assert "1 alert firing" in text
    assert 'href="https://github.com/example/flightline/blob/main/docs/runbooks/slow.md">slow.md</a>' in text
    assert "No alerts firing" in page.text(view())


def test_what_prometheus_says_is_shown_and_never_run() -> None:
    alert = Alert("firing", {"alertname": HOSTILE}, {"summary": HOSTILE, "runbook_url": "javascript:alert(1)"})
    text = page.text(view(alert))
    assert HOSTILE not in text
    assert "javascript:" not in text
    assert "&lt;script&gt;" in text


def test_an_environment_that_is_not_in_the_settings_is_named() -> None:
    settings = read_settings(PROJECT)
    assert page.known(settings, "") == ""
    assert page.known(settings, "staging") == "staging"
    with pytest.raises(ConfigError, match=r"--env canada.*staging or production"):
        page.known(settings, "canada")


def test_a_prometheus_that_is_away_is_one_sentence_and_leaves_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import cli

    monkeypatch.chdir(PROJECT)
    out = tmp_path / "page.html"
    out.write_text("old")
    words = ["dashboard", "--prometheus", "http://127.0.0.1:9", "--out", str(out)]
    with pytest.raises(UnavailableError, match=r"no Prometheus answers at http://127.0.0.1:9"):
        CliRunner().invoke(cli.app, words, standalone_mode=False, catch_exceptions=False)
    assert out.read_text() == "old"


def test_pictures_have_names_of_their_own() -> None:
    """They are ids on the page."""
    names = [f"{board.name}-{panel.title}" for board in BOARDS for panel in board.panels]
    assert len(set(names)) == len(names)
