"""Serves the newest observation to Prometheus, and its page to people; can look by itself every so often.

Only what was written is served: a look that fails leaves the last one, and is counted.
"""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import UnavailableError, explain
from pipeline.monitoring import metrics, report
from pipeline.monitoring.observation import PATH, read_observation

_FAILURES = "flightline_observation_failures_total"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Looks:
    """Looks at the log, one after another, and how many failed; `tell` is told why."""

    look: Callable[[], object]
    tell: Callable[[str], None]
    failures: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def every(self, seconds: float) -> None:
        """Look now and then every so many seconds, until `stop` is set."""
        while not self.stop.is_set():
            self.once()
            self.stop.wait(seconds)

    def once(self) -> None:
        """One look. Whatever goes wrong is counted: the next one may do better."""
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - the store, git, DVC and the bundle each have their own
            self.failures += 1
            self.tell(explain(error).message)


@dataclass(frozen=True)
class Answer:
    """What a path is answered with."""

    status: HTTPStatus
    kind: str
    body: bytes


def answer(root: Path, path: str, looks: Looks, env: str) -> Answer:
    """`/metrics`, `/healthz`, and the page at `/`."""
    if path == "/metrics":
        return Answer(HTTPStatus.OK, _TEXT, _metrics(root, looks, env).encode())
    if path == "/healthz":
        return Answer(HTTPStatus.OK, "text/plain", b"ok\n")
    page = root / "build" / report.NAME
    if path == "/" and page.is_file():
        return Answer(HTTPStatus.OK, "text/html; charset=utf-8", page.read_bytes())
    return Answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, or / once there was a look\n")


def _metrics(root: Path, looks: Looks, env: str) -> str:
    failed = (
        f"# HELP {_FAILURES} Looks at the log that failed since this process began.\n"
        f'# TYPE {_FAILURES} counter\n{_FAILURES}{{env="{env}"}} {looks.failures}\n'
    )
    tried = (root / metrics.TRIED).read_text() if (root / metrics.TRIED).is_file() else ""
    if not (root / PATH).is_file():
        return tried + failed
    return metrics.text(read_observation(root / PATH), env) + tried + failed


def server(root: Path, host: str, port: int, looks: Looks, env: str) -> ThreadingHTTPServer:
    """An HTTP server that is bound and not yet serving. Raises UnavailableError where it cannot listen."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = answer(root, urlsplit(self.path).path, looks, env)
            self.send_response(given.status)
            self.send_header("Content-Type", given.kind)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, *_: object) -> None:
            """A scrape every few seconds is no news."""

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise UnavailableError(f"{host}:{port}: {error.strerror}; set another PORT") from error


def serve(root: Path, host: str, port: int, looks: Looks, env: str, every: float | None) -> None:
    """Serve until SIGTERM or Ctrl-C; with `every` also look, in a thread of its own."""
    with server(root, host, port, looks, env) as bound:
        # Where this is a container's first process, nothing else would end it.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=bound.shutdown).start())
        if every is not None:
            threading.Thread(target=looks.every, args=(every,), daemon=True).start()
        try:
            bound.serve_forever()
        finally:
            looks.stop.set()
