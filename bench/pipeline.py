"""`make run` in a fresh clone and again, and a no-op `dvc repro`.

The cold run fills empty caches. uv keeps packages unpacked, so their size there is what they take, not what came over
the network.
"""

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import wrk
from bench.figures import Figure
from bench.wrk import BenchError
from pipeline.gates.load_server import HOST, free_port, is_ready

COLD, WARM, NO_OP = 300.0, 10.0, 2.0
PATIENCE, STOP_SECONDS = 900.0, 30.0
_OURS = {"VIRTUAL_ENV", "MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "UV_NO_CACHE", "PIP_NO_CACHE_DIR"}


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Clone this commit to an empty folder with empty caches, then run it there. Raises BenchError."""
    with TemporaryDirectory(prefix="flightline-bench-", ignore_cleanup_errors=True) as folder:
        clone, cache = Path(folder) / "clone", Path(folder) / "cache"
        _call(["git", "clone", "--quiet", ".", str(clone)], Path.cwd(), {})
        fresh = {"PIP_CACHE_DIR": str(cache / "pip"), "UV_CACHE_DIR": str(cache / "uv")}
        progress("make run in a fresh clone with empty caches: downloads, trains, gates")
        cold = _to_first_answer(clone, fresh)
        downloads = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
        progress("make run again")
        warm = _to_first_answer(clone, fresh)
        progress("dvc repro with nothing to do")
        no_ops = tuple(_call([".venv/bin/dvc", "repro"], clone, fresh) for _ in range(5))
    return [
        Figure("make run, bare machine", (cold,), "s", COLD, "<="),
        Figure("packages in the cache after it", (downloads / (1 << 20),), "MiB"),
        Figure("make run, nothing changed", (warm,), "s", WARM, "<="),
        Figure("dvc repro, nothing changed", no_ops, "s", NO_OP, "<="),
    ]


def _to_first_answer(clone: Path, environment: dict[str, str]) -> float:
    """Seconds from `make run` to a scored row; it is stopped then, as by Ctrl-C."""
    port, started = free_port(), time.monotonic()
    process = subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env={**_outside(), **environment, "PORT": str(port), "HOST": HOST},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() - started > PATIENCE:
                raise BenchError("`make run` did not come to serve; run it by hand to see why")
            time.sleep(0.02)
        _ask(port, wrk.example(clone / "build/bundle"))
        return time.monotonic() - started
    finally:
        _stop(process)


def _ask(port: int, row: Mapping[str, Any]) -> None:
    """Raise BenchError unless the server scores a row."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("POST", "/predict", json.dumps(row), {"content-type": "application/json"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise BenchError(f"`make run` serves, but answers a row with {status}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _call(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env={**_outside(), **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"`{' '.join(command)}` failed: {done.stderr.strip().splitlines()[-1:]}")
    return time.monotonic() - started


def _outside() -> dict[str, str]:
    """The environment without this checkout's own virtual environment, and without what make says to an inner make."""
    here = str(Path.cwd())
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if not one.startswith(here))
    return {**{name: value for name, value in os.environ.items() if name not in _OURS}, "PATH": path}
