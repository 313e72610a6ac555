"""The load gate for real: bundles are served by `python -m serving` and loaded by Locust, briefly."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import helper, numpy_helper

from pipeline.config import LoadGate
from pipeline.gates import load
from pipeline.slo import Slo
from pipeline.verdict import Check, Decision, GateResult
from tests import bundles

pytestmark = pytest.mark.alone

# so wide that only what a test is about can break it
SLO = Slo(p95_seconds=5, error_ratio=0.01, throughput_per_second=1, memory_bytes=1 << 30)
LIMITS = LoadGate(users=4, rounds=3, max_rounds=12, round_seconds=0.3, max_slowdown=1.0, stress_users=(1, 2))
ROWS = [{one.name: one.example for one in bundles.SIGNATURE.inputs}]


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("load") / "toy"
    bundles.write(path)
    return path


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    bundles.write(tmp_path / "twin")
    return tmp_path / "twin"


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    bundles.write(tmp_path / "slow", model=heavy())
    return tmp_path / "slow"


def heavy(width: int = 512, products: int = 150) -> onnx.ModelProto:
    """The toy model with a chain of matrix products beside it that adds nothing to the score but time."""
    model = bundles.graph(bundles.SIGNATURE, [0.01, 0.001, 0.2, -0.1])
    margin = model.graph.node[-1]
    chain = [helper.make_node("MatMul", ["filled", "widen"], ["wide0"])]
    chain += [helper.make_node("MatMul", [f"wide{i}", "square"], [f"wide{i + 1}"]) for i in range(products)]
    chain += [
        helper.make_node("MatMul", [f"wide{products}", "narrow"], ["nothing"]),
        helper.make_node("Add", ["margin", "nothing"], ["sum"]),
    ]
    shapes = {"widen": (len(ROWS[0]), width), "square": (width, width), "narrow": (width, 1)}
    zeros = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    model.graph.initializer.extend(zeros)
    margin.input[0] = "sum"
    last = model.graph.node.pop()
    model.graph.node.extend([*chain, last])
    return model


def gate(candidate: Path, production: Path | None, rows: list[dict[str, Any]] = ROWS) -> GateResult:
    return load.judge(load.measure(candidate, production, rows, LIMITS), SLO, LIMITS)


def check(result: GateResult, name: str) -> Check:
    return next(one for one in result.checks if one.name == name)


def test_two_bundles_of_the_same_model_are_equally_fast(toy: Path, twin: Path):
    said: list[str] = []
    found = load.measure(toy, twin, ROWS, LIMITS, said.append)
    result = load.judge(found, SLO, LIMITS)
    assert result.decision is Decision.PASS, result.reason
    assert found.production is not None
    assert len(found.candidate.rounds) == len(found.production.rounds) >= LIMITS.rounds
    assert found.candidate.memory_bytes > 20 << 20
    assert [step.users for step in found.stress] == [1, 2]
    assert "starting the production's server" in said


def test_locust_stays_out_of_the_process_that_asks():
    """In a process of its own: other tests' clients bring gevent too."""
    code = "import sys; import pipeline.gate, pipeline.gates.load; print({'locust', 'gevent'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_slower_model_is_refused_though_it_meets_the_slo(slow: Path, toy: Path):
    result = gate(slow, toy)
    assert [one.name for one in result.checks if one.decision is Decision.FAIL] == ["slower"], result.reason
    assert "production's" in result.reason


def test_bundle_with_a_flipped_byte_is_refused_in_the_servers_words(toy: Path, twin: Path):
    model = twin / "model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    result = gate(twin, toy)
    assert result.decision is Decision.FAIL
    assert "model.onnx does not match its hash" in check(result, "candidate serves").reason


def test_production_that_cannot_be_served_leaves_the_comparison_open(toy: Path, twin: Path):
    (twin / "golden.json").unlink()
    result = gate(toy, twin)
    assert result.decision is Decision.INCONCLUSIVE
    assert "golden.json is missing" in result.reason


def test_rows_the_candidate_refuses_count_as_errors(toy: Path):
    result = gate(toy, None, rows=[{**ROWS[0], "origin": "nowhere"}])
    assert check(result, "errors").decision is Decision.FAIL
    assert "422" in check(result, "errors").reason


def test_interrupted_run_leaves_no_server_behind(toy: Path):
    class InterruptError(Exception):
        pass

    def interrupt(text: str) -> None:
        if text.startswith("round"):
            raise InterruptError

    with pytest.raises(InterruptError):
        load.measure(toy, None, ROWS, LIMITS, interrupt)
    assert not servers_of(toy)


def servers_of(bundle: Path) -> list[psutil.Process]:
    """Every server of `bundle`, whoever its parent is by now."""
    return [one for one in psutil.process_iter() if _bundle_of(one) == str(bundle)]


def _bundle_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("FLIGHTLINE_BUNDLE")
    except psutil.Error:
        return None
