"""A forge that answers badly now and then: a proxy on loopback before the real one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from infra.local import gitea
from tests.forges import Fault

_OF_ONE_HOP = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
SECONDS = 60


@dataclass
class Faulty:
    """`faults` are answered in turn, each to the next request of its method; `asked` are all that came."""

    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def fault(self, method: str) -> Fault | None:
        """What goes wrong with this request."""
        found = next((one for one in self.faults if one.method in ("", method)), None)
        if found is not None:
            self.faults.remove(found)
        return found

    def count(self, method: str, end: str) -> int:
        """How often something was asked for."""
        return sum(one == method and path.partition("?")[0].endswith(end) for one, path in self.asked)


@contextmanager
def before_the_forge(*faults: Fault) -> Iterator[tuple[str, Faulty]]:
    """The address of the API with these faults, and what came of them."""
    faulty = Faulty(list(faults))
    server = _Server(("127.0.0.1", 0), _Handler)
    server.faulty = faulty
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v1", faulty
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    faulty: Faulty


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self) -> None:
        """Any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.faulty.asked.append((self.command, self.path))
        fault = self.server.faulty.fault(self.command)
        if fault is None or fault.carried_out:
            answer = self._forwarded(body)
        if fault is None:
            self._say(answer.status_code, answer.content, dict(answer.headers))
            return
        time.sleep(fault.seconds)
        self._say(fault.status, fault.body.encode(), {"Content-Type": "application/json", **fault.headers})

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815 - their names upstream

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _forwarded(self, body: bytes) -> requests.Response:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", *_OF_ONE_HOP}}
        session = requests.Session()
        session.trust_env = False
        return session.request(self.command, gitea.ADDRESS + self.path, data=body, headers=headers, timeout=SECONDS)

    def _say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        with suppress(OSError):  # who asked may not have waited for it
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _OF_ONE_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
