"""Real servers: the product's in processes of their own, and whatever else answers JSON in a thread of this one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.gates.load_server import free_port

START_SECONDS = 30.0
STOP_SECONDS = 30.0


@dataclass
class Running:
    """A server that answers at `url`. After `stop`, `log` is its standard output and `errors` its standard error."""

    url: str
    process: "subprocess.Popen[bytes]"
    folder: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal to this server alone and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def log(self) -> bytes:
        return (self.folder / "stdout").read_bytes()

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text()


@contextmanager
def running(
    bundle: Path, *, python: str = sys.executable, root: Path | None = None, **settings: object
) -> Iterator[Running]:
    """Run `python -m serving` on a bundle and a free port; settings are FLIGHTLINE_ variables without the prefix."""
    port = free_port()
    with TemporaryDirectory() as folder:
        process = start(bundle, port, Path(folder), python=python, root=root, **settings)
        server = Running(f"http://127.0.0.1:{port}", process, Path(folder))
        try:
            wait_until_ready(server)
            yield server
        finally:
            kill(process)


def start(
    bundle: Path, port: int, folder: Path, *, python: str = sys.executable, root: Path | None = None, **settings: object
) -> "subprocess.Popen[bytes]":
    """Start a server without waiting for it; its output goes to files in `folder`."""
    named = {f"FLIGHTLINE_{name.upper()}": str(value) for name, value in settings.items()}
    with (folder / "stdout").open("wb") as output, (folder / "stderr").open("wb") as errors:
        return subprocess.Popen(
            [python, "-m", "serving"],
            env={**os.environ, "FLIGHTLINE_BUNDLE": str(bundle), "FLIGHTLINE_PORT": str(port), **named},
            cwd=root or Path(__file__).parents[1],
            stdout=output,
            stderr=errors,
        )


def wait_until_ready(server: Running) -> None:
    """Return once /readyz answers 200; raise AssertionError with what the server said where it never does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/readyz", timeout=1) as answer:  # noqa: S310 (loopback)
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise AssertionError(f"the server at {server.url} did not get ready: {server.errors}")


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a server that a test left running."""
    if process.poll() is None:
        process.kill()
        process.wait(STOP_SECONDS)


Reply = Callable[[BaseHTTPRequestHandler], tuple[int, Any]]


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    """The address on loopback of what answers GET and PATCH with a status and JSON."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status, document = reply(self)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = answer  # noqa: N815 - their names upstream

        def log_message(self, *words: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
