"""Requests per second against peers, interleaved; the time to ready; memory under load."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import estimator, wrk
from bench.figures import Figure, ratios
from bench.wrk import Target
from pipeline.gates import load_server
from pipeline.gates.load_server import Server

MANY = 64
PATIENCE = 180.0
PYTHON, MLSERVER = Path(".venv-bench/bin/python"), Path(".venv-bench-mlserver/bin/python")
MEGABYTE = 1 << 20
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Peers:
    """The peers' interpreters: MLServer needs older packages than the others."""

    python: Path
    mlserver: Path


def measure(bundle: Path, peers: Peers, rounds: int, seconds: float, progress: Progress) -> list[Figure]:
    """Every figure of a served bundle. Raises BenchError."""
    wrk.check()
    return [
        *throughput(bundle, peers, rounds, seconds, progress),
        readiness(bundle, progress),
        *memory(bundle, progress),
    ]


def throughput(bundle: Path, peers: Peers, rounds: int, seconds: float, progress: Progress) -> list[Figure]:
    """All servers are up at once; one at a time is loaded, in turns, after a warm-up."""
    with ExitStack() as stack:
        targets = _targets(bundle, peers, stack, progress)
        rates = _in_turns(targets, rounds, seconds, progress)
    ours = rates["flightline"]
    return [
        ratios("one row, against FastAPI + ONNX Runtime", ours, rates["fastapi"], 3),
        ratios("one row, against MLServer + scikit-learn", ours, rates["mlserver"], 50),
        ratios("one row, against BentoML + scikit-learn", ours, rates["bentoml sklearn"]),
        ratios("one row, against BentoML + ONNX Runtime", ours, rates["bentoml"]),
        ratios("one row, against a constant answer", ours, rates["constant"], 0.35),
        ratios("64 rows, against FastAPI + ONNX Runtime", rates["flightline 64"], rates["fastapi 64"], 2.5),
        ratios("one row, with the prediction log against without", ours, rates["no log"], 0.9),
        ratios("64 rows, with the prediction log against without", rates["flightline 64"], rates["no log 64"], 0.9),
        *(Figure(f"requests: {name}", tuple(found), "/s") for name, found in rates.items()),
    ]


def readiness(bundle: Path, progress: Progress, times: int = 7) -> Figure:
    """Seconds from the start of a process to its first 200 from /readyz."""
    progress("time to ready")
    return Figure("ready after", tuple(_ready(bundle) for _ in range(times)), "s", 0.7, "<=")


def memory(bundle: Path, progress: Progress, requests: int = 200_000, parts: int = 4) -> list[Figure]:
    """Resident memory over `requests` requests, in equal parts; the first one fills caches and log buffers."""
    seen: list[float] = []
    with load_server.serve(bundle) as server:
        target = Target(f"{server.url}/predict", wrk.example(bundle))
        per_second = wrk.rate(target, 2)
        for part in range(parts):
            progress(f"memory: {requests:,} requests, part {part + 1} of {parts}")
            wrk.rate(target, max(1, round(requests / parts / per_second)))
            seen.append(server.memory_bytes() / MEGABYTE)
    growth = (seen[-1] - seen[0]) / seen[0]
    return [
        Figure("memory under load", tuple(seen), "MiB", 120, "<="),
        Figure("memory growth after the first 50,000 requests", (growth * 100,), "%", 2, "<="),
    ]


def _ready(bundle: Path) -> float:
    with load_server.serve(bundle) as server:
        return server.ready_seconds


def _targets(bundle: Path, peers: Peers, stack: ExitStack, progress: Progress) -> Mapping[str, Target]:
    row = wrk.example(bundle)
    folder = stack.enter_context(estimator.dumped(bundle))
    urls = {}
    for name, starting in _starters(bundle, peers, folder).items():
        progress(f"starting {name}")
        urls[name] = stack.enter_context(starting).url
    return {
        "flightline": Target(f"{urls['flightline']}/predict", row),
        "no log": Target(f"{urls['no log']}/predict", row),
        "fastapi": Target(f"{urls['fastapi']}/predict", row),
        "bentoml": Target(f"{urls['bentoml']}/predict", {"row": row}),
        "bentoml sklearn": Target(f"{urls['bentoml sklearn']}/predict", {"rows": [estimator.numbers(bundle)]}),
        "mlserver": Target(f"{urls['mlserver']}/v2/models/flights/infer", estimator.inference(bundle)),
        "constant": Target(f"{urls['constant']}/predict", row),
        "flightline 64": Target(f"{urls['flightline']}/predict", [row] * MANY),
        "no log 64": Target(f"{urls['no log']}/predict", [row] * MANY),
        "fastapi 64": Target(f"{urls['fastapi']}/predict_many", [row] * MANY),
    }


def _starters(bundle: Path, peers: Peers, folder: Path) -> dict[str, AbstractContextManager[Server]]:
    """Servers by name, each started when it is entered; `folder` has the estimator."""
    uvicorn = ["uvicorn", "bench.peers.fastapi_app:app", "--loop", "uvloop", "--http", "httptools"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    return {
        "flightline": load_server.serve(bundle),
        "no log": _peer(bundle, [sys.executable, "-m", "serving"], "/readyz", log_share=0),
        "constant": _peer(bundle, [sys.executable, "-m", "bench.peers.constant"], "/"),
        "fastapi": _peer(bundle, [str(peers.python), "-m", *uvicorn, *quiet, "--port"], "/readyz", port_last=True),
        "bentoml": _bentoml(bundle, peers, "bench.peers.bentoml_service:Predictor"),
        "bentoml sklearn": _bentoml(bundle, peers, "bench.peers.bentoml_sklearn:Predictor", estimator=folder),
        "mlserver": _mlserver(peers, folder),
    }


def _bentoml(bundle: Path, peers: Peers, service: str, **settings: Path) -> AbstractContextManager[Server]:
    command = [str(peers.python), "-m", "bentoml", "serve", service, "--port"]
    return _peer(bundle, command, "/readyz", port_last=True, **settings)


@contextmanager
def _mlserver(peers: Peers, folder: Path) -> Iterator[Server]:
    """MLServer with its defaults, one worker process among them; only the ports are ours."""
    estimator.for_mlserver(folder)
    ports = {name: load_server.free_port() for name in ("HTTP", "GRPC", "METRICS")}
    environment = {f"MLSERVER_{name}_PORT": str(port) for name, port in ports.items()}
    command = [str(peers.mlserver.with_name("mlserver")), "start", str(folder)]
    ready = "/v2/health/ready"
    with load_server.run(command, ports["HTTP"], environment, ready=ready, patience=PATIENCE) as server:
        yield server


def _in_turns(
    targets: Mapping[str, Target], rounds: int, seconds: float, progress: Progress
) -> Mapping[str, list[float]]:
    """Rates by name, one per round; the order is reversed every other round."""
    rates: dict[str, list[float]] = {name: [] for name in targets}
    for target in targets.values():
        wrk.rate(target, 1)
    for number in range(rounds):
        progress(f"requests per second: round {number + 1} of {rounds}")
        for name in targets if number % 2 == 0 else reversed(list(targets)):
            rates[name].append(wrk.rate(targets[name], seconds))
    return rates


@contextmanager
def _peer(
    bundle: Path, command: list[str], ready: str, *, port_last: bool = False, **settings: Path | int
) -> Iterator[Server]:
    port = load_server.free_port()
    environment = {
        "FLIGHTLINE_BUNDLE": str(bundle.resolve()),
        "FLIGHTLINE_PORT": str(port),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(Path("build/bentoml").resolve()),
        "PYTHONPATH": str(Path.cwd()),
        **{f"FLIGHTLINE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    complete = [*command, str(port)] if port_last else command
    with load_server.run(complete, port, environment, ready=ready, patience=PATIENCE) as server:
        yield server
