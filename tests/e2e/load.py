"""Users' traffic from a process of its own: a connection per request, every failure counted, a line per request.

`python -m tests.e2e.load SPEC OUT` runs until it is terminated. SPEC is JSON: {"targets": {name: url}, "rate": requests
per second and target, "rows": [rows], "batch": rows per request, "workers": threads per target, "hold": path}.
"""

import http.client
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

TIMEOUT = 10.0
# A refused connection reached nobody, so it is made again, as routers and clients do; `refused` counts it.
ATTEMPTS, BETWEEN = 4, 0.1
LONGEST = 3600.0


def main() -> None:
    """Run the load that the first argument specifies; write to the second."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # A load whose owner died must end by itself.
    last = threading.Timer(LONGEST, stop.set)
    last.daemon = True
    last.start()
    with Path(sys.argv[2]).open("a", buffering=1) as out:
        threads = [
            threading.Thread(target=_work, args=(spec, name, worker, stop, out), daemon=True)
            for name in spec["targets"]
            for worker in range(spec["workers"])
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(TIMEOUT + 1)


def _work(spec: dict[str, Any], name: str, worker: int, stop: threading.Event, out: IO[str]) -> None:
    address, pause = urlsplit(spec["targets"][name]), spec["workers"] / spec["rate"]
    bodies, due = _bodies(spec["rows"], spec["batch"], worker), time.monotonic() + pause * worker / spec["workers"]
    while not stop.wait(max(0.0, due - time.monotonic())):
        due += pause
        if (Path(spec["hold"]) / name).exists():
            continue
        out.write(json.dumps({"target": name, **_ask(address.netloc, next(bodies))}) + "\n")


def _bodies(rows: list[dict[str, Any]], batch: int, worker: int) -> Iterator[bytes]:
    """Requests of `batch` rows, another part of the rows for each worker, over and over."""
    own = itertools.cycle(rows[worker:] + rows[:worker])
    while True:
        yield json.dumps([next(own) for _ in range(batch)]).encode()


def _ask(netloc: str, body: bytes) -> dict[str, Any]:
    """One request on a connection of its own: when it was sent (Unix seconds), its status (0: none), milliseconds."""
    sent, start = time.time(), time.monotonic()
    connection, refused = http.client.HTTPConnection(netloc, timeout=TIMEOUT), 0
    try:
        refused = _connect(connection)
        connection.request("POST", "/predict", body, {"content-type": "application/json", "connection": "close"})
        answer = connection.getresponse()
        said = answer.read()
        status, error = (
            answer.status,
            "" if answer.status == http.HTTPStatus.OK else said[:200].decode(errors="replace"),
        )
        version = json.loads(said).get("version", "") if not error else ""
    except (OSError, http.client.HTTPException, ValueError, KeyError) as fault:
        status, error, version = 0, f"{type(fault).__name__}: {fault}", ""
    finally:
        connection.close()
    elapsed = (time.monotonic() - start) * 1000
    seen = {"status": status, "ms": round(elapsed, 1), "refused": refused, "version": version[:12], "error": error}
    return {"at": round(sent, 3), **seen}


def _connect(connection: http.client.HTTPConnection) -> int:
    """Connect; how often that was refused before. Raises ConnectionRefusedError where it always is."""
    for refused in range(ATTEMPTS):
        try:
            connection.connect()
        except ConnectionRefusedError:
            if refused + 1 == ATTEMPTS:
                raise
            time.sleep(BETWEEN)
        else:
            return refused
    raise AssertionError


if __name__ == "__main__":
    main()
