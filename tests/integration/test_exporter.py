"""`flightline exporter`, as a pod runs it: a look that fails is counted and said, and it ends when it is told to."""

import signal
import socket
import subprocess
from datetime import date
from pathlib import Path

import pytest
import requests

from pipeline.delivery.git import Here
from pipeline.gates.load_server import free_port
from pipeline.monitoring.retrain import ledger
from tests.integration.test_labels import FLIGHTLINE, Folder
from tests.monitors import until
from tests.retrainings import attempt


def test_a_look_that_fails_is_counted_and_said_and_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """There is no bundle here, and the remote that main is asked of is away."""
    here, port = Folder(tmp_path), free_port()
    for words in (("init", "--quiet"), ("remote", "add", "origin", str(tmp_path / "nowhere.git"))):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    with subprocess.Popen(
        [FLIGHTLINE, "exporter", "--every", "3600", "--env", "staging"],
        cwd=tmp_path,
        env=here.environment(PORT=str(port)),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until(lambda: _failures(port) == 1, "the look has failed", 300)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        _, main, tried, look = process.stderr.read().splitlines()
    assert main.startswith("exporter: going on with the main that is here: ")
    assert tried.startswith("exporter: attempts to retrain cannot be read: ")
    assert look.startswith("exporter: a look failed: ")
    assert "build/bundle" in look


def test_what_was_tried_is_told_whatever_becomes_of_the_look(tmp_path: Path) -> None:
    """Without a remote attempts are in a folder."""
    here, port = Folder(tmp_path), free_port()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for made in (attempt(outcome="no gain"), attempt(date(2013, 6, 23), outcome="failed")):
        assert ledger.of(Here(tmp_path)).amend(made.key, lambda _, made=made: made, {})
    with subprocess.Popen(
        [FLIGHTLINE, "exporter", "--every", "3600"], cwd=tmp_path, env=here.environment(PORT=str(port))
    ) as process:
        try:
            until(lambda: _failures(port) == 1, "the look has failed", 300)
            text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        finally:
            process.send_signal(signal.SIGTERM)
    for outcome in ("no gain", "failed"):
        assert f'flightline_retraining_attempts{{env="production",outcome="{outcome}"}} 1' in text
    assert 'flightline_retraining_failures_in_a_row{env="production"} 1' in text


@pytest.mark.parametrize("port", ["abc", "0"])
def test_an_address_that_is_none_is_named(tmp_path: Path, port: str) -> None:
    assert f"PORT is {port!r}; it must be a number from 1 to 65535" in _refused(tmp_path, port, 64)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}: Address already in use; set another PORT" in _refused(tmp_path, port, 69)


def _refused(root: Path, port: str, code: int) -> str:
    """What is said to whoever starts it there."""
    environment = Folder(root).environment(PORT=port)
    done = subprocess.run(
        [FLIGHTLINE, "exporter"], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def _failures(port: int) -> int | None:
    """What is counted; None before it answers."""
    try:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except requests.RequestException:
        return None
    (line,) = (one for one in text.splitlines() if one.startswith("flightline_observation_failures_total"))
    return int(line.split()[1])
