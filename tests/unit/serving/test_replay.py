"""Staging's own traffic, against the real server."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from pipeline.gates.load_server import free_port
from serving import bundle, replay, settings
from serving.requests import Codec
from serving.settings import SettingsError
from serving.signature import Input
from tests import bundles, servers

REFERENCE: dict[str, Any] = {
    "features": {
        "temp": {"type": "number", "nulls": 0, "edges": [-60.0, 30.0, 50.0, 140.0], "counts": [10, 80, 10]},
        "seats": {"type": "integer", "nulls": 50, "edges": [1.0, 100.0, 900.0], "counts": [25, 25]},
        "origin": {"type": "category", "counts": {"EWR": 90, "JFK": 10, "SFO": 500}},
        "dest": {"type": "category", "counts": {"ATL": 50, "XXX": 50}},
    }
}


def drawn(count: int, reference: dict[str, Any] = REFERENCE, seed: int = 1) -> list[dict[str, Any]]:
    return list(islice(replay.rows(bundles.SIGNATURE, reference, seed), count))


def shares(values: list[Any]) -> dict[Any, float]:
    return {one: values.count(one) / len(values) for one in set(values)}


def test_rows_are_accepted_by_the_server_that_the_signature_describes() -> None:
    body = msgspec.json.encode(drawn(2000))
    assert len(Codec(bundles.SIGNATURE, 10_000).decode(body)) == 2000


def test_columns_are_distributed_as_the_reference_says() -> None:
    rows = drawn(4000)
    assert sum(30 <= row["temp"] <= 50 for row in rows) / 4000 == pytest.approx(0.8, abs=0.03)
    assert shares([row["seats"] is None for row in rows])[True] == pytest.approx(0.5, abs=0.03)
    assert shares([row["dest"] for row in rows])["XXX"] == pytest.approx(0.5, abs=0.03)


def test_category_that_the_server_would_refuse_is_never_sent() -> None:
    assert shares([row["origin"] for row in drawn(4000)]).keys() == {"EWR", "JFK"}


def test_null_is_never_sent_where_the_column_is_not_nullable() -> None:
    reference = {"features": {"temp": {"nulls": 50, "edges": [0.0, 1.0], "counts": [50]}}}
    assert all(row["temp"] is not None for row in drawn(200, reference))


def test_values_beyond_the_limits_of_the_signature_are_kept_to_them() -> None:
    temperatures = [row["temp"] for row in drawn(4000)]
    assert (min(temperatures), max(temperatures)) == (-40, 130)


def test_same_seed_gives_the_same_rows() -> None:
    assert drawn(50) == drawn(50)
    assert drawn(50) != drawn(50, seed=2)


def test_column_that_the_reference_does_not_describe_is_its_own_example() -> None:
    assert drawn(1, {}) == [{one.name: one.example for one in bundles.SIGNATURE.inputs}]


def test_whole_number_stays_within_limits_that_are_none() -> None:
    signature = bundles.SIGNATURE
    odd = msgspec.structs.replace(signature, inputs=(Input("n", "integer", "n", minimum=0.5, maximum=2.5),))
    rows = replay.rows(odd, {"features": {"n": {"edges": [0.0, 3.0], "counts": [1]}}})
    assert {row["n"] for row in islice(rows, 200)} == {1, 2}


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A toy bundle whose reference says how its columns are distributed."""
    path = tmp_path / "described"
    bundles.write(path)
    (path / "reference.json").write_bytes(msgspec.json.encode(REFERENCE))
    bundle.seal(path)
    return path


def start(path: Path, url: str, seconds: float, rate: float = 200) -> "subprocess.Popen[str]":
    chosen = {"BUNDLE": path, "REPLAY_URL": url, "REPLAY_SECONDS": seconds, "REPLAY_RATE": rate}
    return subprocess.Popen(
        [sys.executable, "-m", "serving.replay"],
        env={**os.environ, **{f"FLIGHTLINE_{name}": str(value) for name, value in chosen.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_server_answers_every_row_and_the_summary_says_so(described: Path) -> None:
    with servers.running(described) as server:
        sender = start(described, server.url, 1.5)
        said, errors = sender.communicate(timeout=60)
        server.stop()
        answered = len(server.log.splitlines())
    assert (sender.returncode, errors) == (0, "")
    assert answered > 20
    assert said.startswith(f"replay: {answered} requests in ")
    assert said.endswith(f": {answered} 200\n")


class Counting(BaseHTTPRequestHandler):
    """Answers every row and counts requests by connection."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[int]] = Counter()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen[self.client_address[1]] += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        """Nothing."""


def test_connections_are_made_anew_every_few_requests() -> None:
    """Whoever balances connections deals each new one anew, so that a canary gets its share."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    chosen = replay.Settings(replay_url=url, replay_seconds=1, replay_rate=400)
    answers, _ = replay.send(replay.Told(bundles.SIGNATURE, REFERENCE), chosen, threading.Event())
    server.shutdown()
    server.server_close()
    assert answers == {200: sum(Counting.seen.values())}
    assert max(Counting.seen.values()) == replay.REQUESTS_PER_CONNECTION


def test_signal_stops_it_before_its_time(described: Path) -> None:
    with servers.running(described) as server:
        sender = start(described, server.url, 3600)
        while b"replay-0-3" not in server.log:
            assert sender.poll() is None
        sender.send_signal(signal.SIGTERM)
        said, _ = sender.communicate(timeout=60)
    assert sender.returncode == 0
    assert said.startswith("replay: ")


def test_exit_1_only_where_nobody_ever_answered(described: Path) -> None:
    sender = start(described, f"http://127.0.0.1:{free_port()}", 0.5)
    said, _ = sender.communicate(timeout=60)
    assert sender.returncode == replay.NO_ANSWER
    assert "ConnectionRefusedError" in said


def test_refusals_are_counted_by_status(described: Path, tmp_path: Path) -> None:
    other = msgspec.structs.replace(bundles.SIGNATURE, inputs=bundles.SIGNATURE.inputs[:2])
    bundles.write(tmp_path / "other", signature=other)
    with servers.running(tmp_path / "other") as server:
        sender = start(described, server.url, 0.5)
        said, _ = sender.communicate(timeout=60)
    assert sender.returncode == 0
    assert said.rstrip().endswith(" 422")


@pytest.mark.parametrize("url", ["https://somewhere", "http://somewhere/predict", "somewhere"])
def test_address_that_cannot_be_used_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingsError, match=f"FLIGHTLINE_REPLAY_URL is '{url}'"):
        settings.read_as(replay.Settings, {"FLIGHTLINE_REPLAY_URL": url})


def test_bundle_that_was_changed_is_refused(described: Path) -> None:
    (described / "reference.json").write_text("{}")
    sender = start(described, "http://127.0.0.1:1", 1)
    _, errors = sender.communicate(timeout=60)
    assert sender.returncode == replay.BAD_BUNDLE
    assert "reference.json does not match its hash" in errors
