"""Real Prometheus and Alertmanager on loopback, what they scrape and whom they call, for as long as a test lasts."""

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.gates.load_server import free_port
from tests.servers import kill

needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="Debian's package prometheus is not here")
needs_alertmanager = pytest.mark.skipif(
    not shutil.which("prometheus-alertmanager"), reason="Debian's package prometheus-alertmanager is not here"
)
START_SECONDS = 60.0


@contextmanager
def prometheus(
    folder: Path,
    targets: Mapping[str, Mapping[str, str]],
    groups: Sequence[Mapping[str, Any]] = (),
    alertmanager: str = "",
) -> Iterator[str]:
    """The address of a server that scrapes each address:port, with its labels, and evaluates rules every second."""
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": list(groups)}))
    told = [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}] if alertmanager else []
    jobs = [{"targets": [address], "labels": dict(labels)} for address, labels in targets.items()]
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": told},
        "scrape_configs": [{"job_name": "test", "honor_labels": True, "static_configs": jobs}],
    }
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(document))
    with _process(folder, "prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'tsdb'}") as address:
        yield address


@contextmanager
def alertmanager(folder: Path, configuration: str) -> Iterator[str]:
    """The address of an Alertmanager of this configuration, alone."""
    path = folder / "alertmanager.yaml"
    path.write_text(configuration)
    words = (f"--config.file={path}", f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address=")
    with _process(folder, "prometheus-alertmanager", *words) as address:
        yield address


@contextmanager
def _process(folder: Path, program: str, *words: str) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen([program, *words, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        until(lambda: _ready(f"http://{address}/-/ready"), f"{program} is ready")
        yield f"http://{address}"
    finally:
        kill(process)


def until(holds: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """What `holds` gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return found


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:  # noqa: S310 (loopback)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def exporting(text: Callable[[], str]) -> Iterator[str]:
    """The address:port of what answers every request with metrics."""

    def reply(asked: BaseHTTPRequestHandler) -> None:
        data = text().encode()
        asked.send_response(200)
        asked.send_header("Content-Type", "text/plain; version=0.0.4")
        asked.send_header("Content-Length", str(len(data)))
        asked.end_headers()
        asked.wfile.write(data)

    with _listening(reply) as address:
        yield address


@dataclass
class Inbox:
    """What was posted to `address`, by path, in order."""

    address: str = ""
    posted: list[tuple[str, Any]] = field(default_factory=list)

    def of(self, path: str) -> list[Any]:
        """The bodies posted there."""
        return [body for where, body in self.posted if where == path]


@contextmanager
def receiving() -> Iterator[Inbox]:
    """Whoever is notified."""
    inbox = Inbox()

    def reply(asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("content-length", 0)))
        inbox.posted.append((asked.path, json.loads(body)))
        asked.send_response(200)
        asked.send_header("Content-Length", "0")
        asked.end_headers()

    with _listening(reply) as address:
        inbox.address = f"http://{address}"
        yield inbox


@contextmanager
def _listening(reply: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply(self)

        do_POST = do_GET  # noqa: N815 - their names upstream

        def log_message(self, *words: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
