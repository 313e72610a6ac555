"""How a server starts, and how it stops."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from pipeline.gates.load_server import free_port
from serving import bundle
from tests.servers import running, start

pytestmark = pytest.mark.alone

ROW = json.dumps({"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}).encode()
JSON = {"content-type": "application/json"}


def refusal(path: Path, port: int | None = None, **settings: object) -> tuple[int, str]:
    """The exit code and the words of a server that does not start."""
    with TemporaryDirectory() as folder:
        process = start(path, port or free_port(), Path(folder), **settings)
        code = process.wait(30)
        return code, (Path(folder) / "stderr").read_text()


def test_a_ready_server_says_what_it_serves_where_in_one_line(toy):
    with running(toy, notice="not fit for production: no release yet") as server:
        deadline = time.monotonic() + 10
        while not server.errors and time.monotonic() < deadline:
            time.sleep(0.01)
        server.stop()
        served = f"toy {bundle.version(toy)[:12]} at {server.url}"
        assert server.errors == f"flightline: serving {served} (not fit for production: no release yet)\n"


def test_a_bad_bundle_is_refused_in_one_line(toy, tmp_path):
    broken = shutil.copytree(toy, tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"")
    code, words = refusal(broken)
    assert (code, words.count("\n")) == (65, 1)
    assert "model.onnx does not match its hash" in words


def test_another_bundle_than_the_expected_one_is_refused(toy):
    code, words = refusal(toy, bundle_version="0" * 64)
    assert code == 65
    assert "was to be served" in words


def test_a_bad_setting_is_refused_in_one_line(toy):
    code, words = refusal(toy, max_rows="many")
    assert (code, words.count("\n")) == (64, 1)
    assert "FLIGHTLINE_MAX_ROWS is 'many'" in words


def test_a_taken_port_is_refused_in_one_line(server, toy):
    code, words = refusal(toy, server.port)
    assert (code, words.count("\n")) == (69, 1)
    assert "FLIGHTLINE_PORT" in words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly(toy, number):
    with running(toy) as server:
        assert server.stop(number) == 0
        assert "Traceback" not in server.errors


def test_a_thousand_requests_are_a_thousand_rows_in_the_log(toy):
    with running(toy) as server, ThreadPoolExecutor(8) as pool, httpx.Client() as client:
        answers = list(pool.map(lambda _: client.post(server.url + "/predict", content=ROW, headers=JSON), range(1000)))
        server.stop()
        lines = [json.loads(line) for line in server.log.splitlines()]
    assert len(lines) == 1000
    assert {line["id"] for line in lines} == {answer.json()["predictions"][0]["id"] for answer in answers}


def test_a_draining_server_is_not_ready_but_answers_until_it_goes(toy):
    with running(toy, ready_wait=1.5) as server:
        server.process.send_signal(signal.SIGTERM)
        answer = httpx.get(server.url + "/readyz")
        while answer.status_code == 200:
            answer = httpx.get(server.url + "/readyz")
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert httpx.get(server.url + "/livez").status_code == 200
        assert httpx.post(server.url + "/predict", content=ROW, headers=JSON).headers["connection"] == "close"
        assert server.process.wait(20) == 0


def test_a_request_in_flight_is_answered_before_the_server_goes(toy):
    with running(toy) as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(ROW))
        while "flightline_requests_in_flight 1" not in httpx.get(server.url + "/metrics").text:
            pass
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        client.sendall(ROW)
        assert client.recv(10_000).startswith(b"HTTP/1.1 200")
        assert server.process.wait(20) == 0
        assert server.log.count(b"\n") == 1


def test_a_request_that_never_ends_does_not_hold_the_server_beyond_the_drain_time(toy):
    with running(toy, drain_seconds=0.5) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{")
        while "flightline_requests_in_flight 1" not in httpx.get(server.url + "/metrics").text:
            pass
        server.process.send_signal(signal.SIGTERM)
        assert client.recv(10_000).startswith(b"HTTP/1.1 408")
        assert server.process.wait(20) == 0


def test_no_request_is_lost_while_the_server_drains(toy):
    with running(toy, ready_wait=2.0) as server, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def ask() -> list[int]:
            with httpx.Client() as client:
                codes = []
                while not stop.is_set():
                    codes.append(client.post(server.url + "/predict", content=ROW, headers=JSON).status_code)
                return codes

        asking = [pool.submit(ask) for _ in range(4)]
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        stop.set()
        codes = [code for one in asking for code in one.result()]
        assert server.process.wait(20) == 0
        assert set(codes) == {200}
        assert server.log.count(b"\n") == len(codes)


@pytest.mark.slow
def test_it_runs_from_the_serving_requirements_alone(toy, tmp_path):
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", root / "requirements" / "serve.txt"]
    subprocess.run(install, check=True)
    shutil.copytree(root / "serving", tmp_path / "alone" / "serving")
    with running(toy, python=str(python), root=tmp_path / "alone") as server:
        assert httpx.post(server.url + "/predict", content=ROW, headers=JSON).status_code == 200
        assert httpx.get(server.url + "/docs").status_code == 200


def test_a_host_by_name_is_served(toy):
    with running(toy, host="localhost") as server:
        assert httpx.get(f"{server.url}/livez").status_code == 200


def test_a_host_that_is_no_address_is_refused_in_one_line(toy, tmp_path):
    process = start(toy, free_port(), tmp_path, host="nowhere.invalid")
    assert process.wait(timeout=30) == 69
    (line,) = (tmp_path / "stderr").read_text().splitlines()
    assert "nowhere.invalid" in line
