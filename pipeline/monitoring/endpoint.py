"""A small HTTP server for programs inside a cluster: a POST with a token, answered when its work is done and kept.

What cannot be done now is answered 503 with Retry-After, on which well-behaved clients keep what they have for later.
So is a wrong token: 401 would make the OpenTelemetry Collector throw away what it was about to hand over.
"""

import json
import signal
import sys
import zlib
from collections.abc import Callable, Mapping
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from threading import Lock, Thread
from typing import Any

from pipeline.config import ConfigError, Frozen
from pipeline.errors import UnavailableError, explain
from pipeline.text import plain

MOST_BYTES = 64 << 20
RETRY_SECONDS = 5
IDLE_SECONDS = 60.0
ALIVE = "/livez"

Work = Callable[[bytes], Mapping[str, Any]]


class Answer(Frozen):
    """Status and JSON body of a response, and what kind of JSON it is."""

    status: HTTPStatus
    body: dict[str, Any]
    media: str = "application/json"


class RefusedError(Exception):
    """A request that is wrong however often it is made; the message says what is wrong, `details` more of it."""

    def __init__(self, status: HTTPStatus, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status, self.details = status, details


class Endpoint(ThreadingHTTPServer):
    """Listens from the moment it is made; `serve_forever` answers, and `shutdown` ends that.

    `routes` say what to do with what is posted to a path. Work is done one request at a time. Without a `token` it
    listens on loopback alone. Raises ConfigError, and UnavailableError where it cannot listen.

    `most_bytes` may be posted at once; whoever lacks the token is told `stranger`.
    """

    daemon_threads = True
    most_bytes = MOST_BYTES
    stranger = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, host: str, port: int, routes: Mapping[str, Work], token: str = "") -> None:
        if not token and not _is_loopback(host):
            raise ConfigError(f"host: {host!r} can be reached from outside, which needs a token; set one, or 127.0.0.1")
        self.routes, self.token, self._turn = routes, token, Lock()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UnavailableError(f"{host}:{port}: {error.strerror}; name another port") from error

    def run(self) -> None:
        """Answer until SIGTERM or SIGINT, and finish the work that is under way; what waits is for another time."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: Thread(target=self.shutdown).start())
        self.serve_forever()
        with self._turn:
            return

    def do(self, path: str, authorization: str, body: Callable[[], bytes]) -> Answer:
        """What is answered to a POST. `body` reads it, which a stranger's is spared."""
        if self.token and not compare_digest(authorization.encode(), f"Bearer {self.token}".encode()):
            return self.refused(self.stranger, "the token is not the one set here")
        if path not in self.routes:
            return self.refused(HTTPStatus.NOT_FOUND, f"there is {', '.join(self.routes)}")
        try:
            given = body()  # before it is anyone's turn: who sends slowly holds up nobody else
            with self._turn:
                return Answer(status=HTTPStatus.OK, body=dict(self.routes[path](given)))
        except RefusedError as error:
            return self.refused(error.status, str(error), **error.details)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the caller what it sent
            return self.refused(HTTPStatus.SERVICE_UNAVAILABLE, plain(explain(error).message))

    def refused(self, status: HTTPStatus, message: str, **details: Any) -> Answer:
        """What whoever is refused is told."""
        return Answer(status=status, body={"message": message, **details})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: Endpoint

    def do_GET(self) -> None:
        """Alive, and nothing else."""
        alive = self.path == ALIVE
        self._send(Answer(status=HTTPStatus.OK if alive else HTTPStatus.NOT_FOUND, body={}))

    def do_POST(self) -> None:
        """Work."""
        answer = self.server.do(self.path, self.headers.get("Authorization", ""), self._body)
        if answer.status != HTTPStatus.OK:
            # What was not read of the body must not be taken for the next request.
            self.close_connection = True
            sys.stderr.write(f"{answer.status.value} {plain(self.path)}: {answer.body['message']}\n")
        self._send(answer)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length: not given")
        most = self.server.most_bytes
        if int(length) > most:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body: {length} bytes, at most {most}")
        raw = self.rfile.read(int(length))
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding not in ("identity", "gzip"):
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding: {plain(encoding)!r}; send gzip")
        return inflated(raw, most) if encoding == "gzip" else raw

    def _send(self, answer: Answer) -> None:
        body = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(body)))
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", str(RETRY_SECONDS))
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet about what goes well."""


def inflated(raw: bytes, most: int = MOST_BYTES) -> bytes:
    """What was gzipped, up to `most` bytes of it. Raises RefusedError where it is more, or no gzip."""
    decoder = zlib.decompressobj(wbits=31)
    try:
        found = decoder.decompress(raw, most)
    except zlib.error as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"body: not gzip: {error}") from error
    if decoder.unconsumed_tail:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body: inflates to more than {most} bytes")
    if not decoder.eof:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "body: the gzip stream ends early")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
