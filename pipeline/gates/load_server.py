"""Start a server as a process of its own, wait until it is ready, and stop it whatever happens."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from pipeline.gates import load_image
from pipeline.gates.load_image import Unpacked

HOST = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 3.0
_LOWEST_PORT = 15_000


class ServerError(Exception):
    """A server that did not start, or died. The message is the last line it wrote to standard error."""


@dataclass(frozen=True)
class Server:
    """A running server. `ready_seconds` is from the start of its process to the first ready answer."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float
    errors: Path

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def memory_bytes(self) -> int:
        """Resident memory of its largest process: the worker, where a supervisor stands above it."""
        parent = psutil.Process(self.process.pid)
        return max(int(one.memory_info().rss) for one in (parent, *parent.children(recursive=True)))

    def check(self) -> None:
        """Raise ServerError if it has died."""
        if self.process.poll() is not None:
            raise ServerError(_last_words(self.process, self.errors))


@contextmanager
def serve(served: Path | Unpacked) -> Iterator[Server]:
    """Serve one bundle by `python -m serving`, or an image by its own command, on a free port; its log goes nowhere.

    Raises ServerError where it does not become ready, ImageError where the machine cannot run an image.
    """
    port = free_port()
    listen = {"FLIGHTLINE_HOST": HOST, "FLIGHTLINE_PORT": str(port)}
    if isinstance(served, Unpacked):
        words, environment = load_image.command(served), load_image.environment(served, listen)
    else:
        words = [sys.executable, "-m", "serving"]
        environment = {**_inherited(), "FLIGHTLINE_BUNDLE": str(served), **listen}
    with run(words, port, environment, whole=True) as server:
        yield server


@contextmanager
def run(
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str],
    *,
    ready: str = "/readyz",
    patience: float = START_SECONDS,
    whole: bool = False,
    log: Path | None = None,
) -> Iterator[Server]:
    """Run `command` until the block ends, entering it once GET `ready` on `port` answers 200.

    `environment` is added to this process's, or is the `whole` of it. What it prints is added to the file `log`, or
    goes nowhere. Raises ServerError where getting ready takes more than `patience` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        errors = Path(folder) / "stderr"
        given = environment if whole else {**_inherited(), **environment}
        with (
            errors.open("wb") as sink,
            (log or Path(os.devnull)).open("ab") as output,
            _process(command, given, (output, sink)) as process,
        ):
            yield Server(process, port, _wait(process, port, ready, errors, patience), errors)


def free_port() -> int:
    """A loopback port that nothing listens on at this moment, out of the range that clients' own ends are taken from.

    A port of that range may be lent to some connection between now and the server's start.
    """
    while True:
        port = random.randrange(_LOWEST_PORT, _first_ephemeral())  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def _first_ephemeral() -> int:
    """Where the range of clients' ports begins: Linux says, elsewhere it is IANA's 49152."""
    with suppress(OSError, ValueError):
        return max(int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]), _LOWEST_PORT + 1000)
    return 49_152


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], sinks: tuple[IO[bytes], IO[bytes]]
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own, so that workers it may have started end with it."""
    output, errors = sinks
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def _inherited() -> dict[str, str]:
    """The environment without the settings of a server somebody may be running beside it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLINE_")}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, ready: str, errors: Path, patience: float) -> float:
    """Seconds from now until the server is ready."""
    started = time.monotonic()
    while time.monotonic() - started < patience:
        if process.poll() is not None:
            raise ServerError(_last_words(process, errors))
        if is_ready(port, ready):
            return time.monotonic() - started
        time.sleep(0.005)
    raise ServerError(f"not ready after {patience:.0f} s; {_last_words(process, errors)}")


def is_ready(port: int, path: str = "/readyz") -> bool:
    """Whether GET `path` on a loopback port answers 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_words(process: subprocess.Popen[bytes], errors: Path) -> str:
    lines = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"it wrote nothing and has exit code {process.poll()}"
