"""`make run`'s verb: from rows to a served answer, and again."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.gates.load_server import free_port
from pipeline.verdict import Decision, Verdict
from tests.checkouts import Checkout

pytestmark = [pytest.mark.alone, pytest.mark.flights]


def quick(made: Checkout) -> None:
    """Shorter load rounds and no stress: this is about what is done, not how fast it is."""
    load = {"users": 2, "rounds": 3, "max_rounds": 3, "round_seconds": 0.3, "max_slowdown": 5.0, "stress_users": [1]}
    made.edit_params(lambda params: params["gates"].update(load=load))


@contextmanager
def running(made: Checkout, port: int) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`flightline run` until its ready line; yields the process and all it said up to there."""
    process = made.start("flightline", "run", PORT=str(port))
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if f"http://127.0.0.1:{port}" in line:
                break
        else:
            pytest.fail(f"it ended with {process.wait()} before it served:\n{''.join(said)}")
        yield process, said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(port: int, path: str, body: object = None) -> str:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=data, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.read().decode()


def test_run_gates_serves_answers_and_stops_cleanly_and_the_second_run_repeats_nothing(copy: Checkout) -> None:
    quick(copy)
    port = free_port()
    with running(copy, port) as (process, said):
        assert any("gate benchmark" in line for line in said)
        golden = json.loads((copy.root / "build/bundle/golden.json").read_text())
        row = {name: values[1] for name, values in golden["rows"].items()}
        answer = json.loads(ask(port, "/predict", row))
        assert abs(answer["predictions"][0]["score"] - golden["scores"][1]) < 1e-5
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
    verdict = verdict_of(copy)
    assert verdict.decision is Decision.PASS, verdict.reason
    assert verdict.rule == "first release"
    assert (copy.root / "build/report.html").stat().st_size > 10_000
    assert (copy.root / "build/predictions.jsonl").read_text().count("\n") == 1
    with running(copy, port) as (process, said):
        assert any("nothing changed" in line for line in said)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_candidate_that_fails_is_served_with_a_notice(copy: Checkout) -> None:
    quick(copy)
    copy.edit_params(lambda params: params["gates"]["benchmark"].update(margin=0.5))
    port = free_port()
    with running(copy, port) as (_, said):
        assert any("Not fit for production" in line for line in said)
        assert "Not fit for production" in ask(port, "/docs")


def test_port_that_is_taken_is_named_with_the_fix(copy: Checkout) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = copy.run("flightline", "serve", check=False, PORT=str(port))
    assert failed.returncode == 69
    assert str(port) in failed.stderr
    assert "Traceback" not in failed.stderr


def test_second_run_beside_the_first_waits_for_it_and_then_serves(copy: Checkout) -> None:
    quick(copy)
    ports = free_port(), free_port()
    first = copy.start("flightline", "run", PORT=str(ports[0]))
    try:
        assert first.stdout is not None
        first.stdout.readline()
        with running(copy, ports[1]) as (_, said):
            assert any("waiting for another run" in line for line in said)
            assert json.loads(ask(ports[0], "/openapi.json")) == json.loads(ask(ports[1], "/openapi.json"))
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_killed_while_gating_the_next_gate_writes_a_whole_verdict(copy: Checkout) -> None:
    quick(copy)
    process = copy.start("flightline", "gate")
    assert process.stdout is not None
    for line in process.stdout:
        if "gate load" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (copy.root / "build/verdict.json").exists()
    assert copy.run("flightline", "gate").returncode == 0
    assert verdict_of(copy).decision is Decision.PASS


def test_verdict_made_in_two_parts_is_whole_and_its_second_part_runs_nothing_of_the_model(copy: Checkout) -> None:
    """As `deliver` has it: the model's code is run where no key is, the image where they are."""
    quick(copy)
    early = copy.run("flightline", "gate", "load", "--part", check=False)
    assert early.returncode == 65
    assert "run the other gates first" in early.stderr
    copy.run("flightline", "gate", "data", "benchmark", "differential", "--part")
    assert verdict_of(copy).decision is Decision.INCONCLUSIVE
    (copy.root / "model/__init__.py").write_text("raise SystemExit('it was run')\n")
    copy.run("flightline", "gate", "load", "--part")
    assert verdict_of(copy).decision is Decision.PASS


def test_part_of_a_verdict_on_something_else_is_refused(copy: Checkout) -> None:
    quick(copy)
    copy.run("flightline", "gate", "data", "benchmark", "differential", "--part")
    copy.edit_params(lambda params: params["gates"]["benchmark"].update(margin=0.5))
    refused = copy.run("flightline", "gate", "load", "--part", check=False)
    assert refused.returncode == 65
    assert verdict_of(copy).gates[-1].gate == "differential"


def verdict_of(made: Checkout) -> Verdict:
    return Verdict.model_validate_json((made.root / "build/verdict.json").read_text())
