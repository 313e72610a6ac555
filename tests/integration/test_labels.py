"""`flightline log` and `flightline labels`, as a person types them."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from pipeline.gates.load_server import free_port
from tests.checkouts import PROJECT
from tests.observed import line, lines

FLIGHTLINE = Path(sys.executable).parent / "flightline"
SAID = "a-token-of-tests"


class Folder:
    """A project's settings, and what is typed there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("params.yaml", "pyproject.toml"):
            (root / name).write_text((PROJECT / name).read_text())

    def run(self, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [FLIGHTLINE, *command], cwd=self.root, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLINE_")}
        return {**kept, "COLUMNS": "200", **more}


@pytest.fixture
def here(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.flights
def test_a_log_and_its_labels_become_days(here: Folder) -> None:
    logs = here.root / "logs"
    logs.mkdir()
    (logs / "a.log").write_bytes(b"\n".join([*lines("abc"), b"listening", line("d")[:-5]]))
    (logs / "b.log.gz").write_bytes(gzip.compress(b"\n".join(lines("cd", "2013-04-02T10:00:00Z"))))
    added = here.run("log", "add", "logs")
    said = "7 lines: 4 predictions kept of 2013-04-01 to 2013-04-02, 1 duplicate, 1 malformed, 1 foreign"
    assert said in added.stdout
    assert "a.log: line 5: " in added.stderr
    assert "0 predictions kept, 5 duplicate" in here.run("log", "add", "logs/a.log", "logs/b.log.gz").stdout
    (here.root / "known.csv").write_text("id,label,known_at\na,1,2013-04-02T06:00:00Z\nb,0,\nd,0,\n")
    assert here.run("labels", "add", "known.csv", "--as-of", "2013-04-04").stdout == "labels: 3 new (2 late)\n"
    assert [one["labelled"] for one in json.loads(here.run("log", "days", "--json").stdout)] == [2, 1]
    assert "2013-04-02" in here.run("log", "days").stdout
    assert (here.root / ".observed/predictions").is_dir()


@pytest.mark.flights
def test_bad_labels_are_named_and_exit_65(here: Folder) -> None:
    (here.root / "a.log").write_bytes(b"\n".join(lines("ab")))
    here.run("log", "add", "a.log")
    (here.root / "known.csv").write_text("id,label\na,1\nb,maybe\n")
    done = here.run("labels", "add", "known.csv", "--as-of", "2013-04-02", "--json", code=65)
    assert json.loads(done.stdout) == {**dict.fromkeys(json.loads(done.stdout), 0), "new": 1, "bad": 1}
    assert "known.csv, line 3: label is 'maybe'; write 0 or 1" in done.stderr
    (here.root / "known.csv").write_text("id,label\na,1\nb,0\n")
    assert "1 new, 1 duplicate" in here.run("labels", "add", "known.csv", "--as-of", "2013-04-02").stdout
    (here.root / "known.csv").write_text("id,label\na,0\n")
    assert "1 corrected" in here.run("labels", "add", "known.csv", "--as-of", "2013-04-02", "--correct").stdout


@pytest.mark.flights
def test_days_beyond_retention_are_removed_and_said(here: Folder) -> None:
    (here.root / "a.log").write_bytes(b"\n".join([line("a"), line("b", "2013-04-02T10:00:00Z")]))
    here.run("log", "add", "a.log")
    first = here.run("log", "expire", "--as-of", "2014-05-07", "--dry-run").stdout
    assert "2013-04-01: 1 files would be removed" in first
    assert "2013-04-01: 1 files removed" in here.run("log", "expire", "--as-of", "2014-05-07").stdout
    assert [one["day"] for one in json.loads(here.run("log", "days", "--json").stdout)] == ["2013-04-02"]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("log", "add", "nowhere"), 64, "nowhere: no file or folder"),
        (("log", "add"), 64, ""),
        (("labels", "add", "nowhere.csv"), 64, "nowhere.csv: no file"),
        (("labels", "add", "x.csv", "--as-of", "April"), 64, "April"),
        (("labels", "serve"), 64, "FLIGHTLINE_LABELS_TOKEN: 0 characters"),
    ],
)
def test_wrong_usage_is_a_sentence(here: Folder, command: tuple[str, ...], code: int, said: str) -> None:
    assert said in here.run(*command, code=code).stderr


def test_labels_are_served_until_it_is_told_to_stop(here: Folder) -> None:
    port = free_port()
    process = subprocess.Popen(
        [FLIGHTLINE, "labels", "serve", "--port", str(port), "--as-of", "2013-04-02"],
        cwd=here.root,
        env=here.environment(FLIGHTLINE_LABELS_TOKEN=SAID),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/labels leads to {here.root}/.observed" in process.stdout.readline()
        known, allowed = [{"id": "a", "label": 1}], {"Authorization": f"Bearer {SAID}"}
        answer = requests.post(f"http://127.0.0.1:{port}/labels", json=known, headers=allowed, timeout=10)
        assert answer.json()["unknown"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "labels: 0 new, 1 unknown\n"
    assert process.returncode == 0
