"""The exporter serves what was written, and survives a look that fails."""

import http.client
import threading
from pathlib import Path

import pytest

from pipeline.frames import write_text
from pipeline.monitoring import exporter
from pipeline.monitoring.exporter import Looks
from pipeline.monitoring.observation import PATH
from tests.observations import observation


def looks() -> Looks:
    return Looks(lambda: None, pytest.fail)


def body(root: Path, path: str, given: Looks | None = None) -> str:
    return exporter.answer(root, path, given or looks(), "staging").body.decode()


def test_the_newest_observation_is_served_with_its_environment(tmp_path: Path) -> None:
    write_text(tmp_path / PATH, observation().model_dump_json())
    assert 'flightline_decay_alarm{env="staging",' in body(tmp_path, "/metrics")


def test_before_the_first_look_there_are_only_the_exporters_own_figures(tmp_path: Path) -> None:
    text = body(tmp_path, "/metrics")
    assert "flightline_decay_alarm" not in text
    assert 'flightline_observation_failures_total{env="staging"} 0' in text


def test_a_look_that_fails_is_counted_and_leaves_the_last_one(tmp_path: Path) -> None:
    write_text(tmp_path / PATH, observation().model_dump_json())

    def away() -> None:
        raise OSError("the store is away")

    told: list[str] = []
    given = Looks(away, told.append)
    given.once()
    text = body(tmp_path, "/metrics", given)
    assert 'flightline_observation_failures_total{env="staging"} 1' in text
    assert "flightline_decay_alarm" in text
    assert told == ["the store is away"]


def test_looks_are_repeated_until_they_are_stopped() -> None:
    seen = []
    given = Looks(lambda: seen.append(1) or (len(seen) == 3 and given.stop.set()), pytest.fail)
    given.every(0.001)
    assert len(seen) == 3


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/healthz", 200), ("/", 404), ("/etc/passwd", 404)])
def test_over_http(tmp_path: Path, path: str, status: int) -> None:
    with exporter.server(tmp_path, "127.0.0.1", 0, looks(), "production") as bound:
        thread = threading.Thread(target=bound.serve_forever)
        thread.start()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", bound.server_port, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == status
            connection.close()
        finally:
            bound.shutdown()
            thread.join()


def test_the_page_is_served_once_there_is_one(tmp_path: Path) -> None:
    write_text(tmp_path / "build/observation.html", "<p>here</p>")
    assert body(tmp_path, "/") == "<p>here</p>"
