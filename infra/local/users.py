"""Users' traffic from a process of its own: a connection per request, every failure counted, a line per request.

`python -m infra.local.users SPEC OUT` runs until it is terminated. SPEC is JSON: {"targets": {name: url}, "rate":
requests per second and target, "rows": [rows], "batch": rows per request, "workers": threads per target, "hold": path}.
"""

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from infra.local.components import PROJECT

TIMEOUT = 10.0
WORKERS = 4
# A refused connection reached nobody, so it is made again, as routers and clients do; `refused` counts it. Waiting
# twice as long each time outlasts the second or two until a crashed server's address is no longer given.
ATTEMPTS, BETWEEN = 6, 0.1
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


def start(folder: Path, environment: str, address: str, rows: list[dict[str, Any]]) -> "subprocess.Popen[bytes]":
    """Users of an environment, in the cluster's network: FOLDER/traffic.jsonl is written until `end` of them.

    While a file FOLDER/hold/ENVIRONMENT is there, they ask nothing.
    """
    (folder / "hold").mkdir(parents=True, exist_ok=True)
    spec = {
        "targets": {environment: address},
        "rate": 20,
        "workers": WORKERS,
        "batch": 10,
        "rows": rows,
        "hold": str(folder / "hold"),
    }
    path = folder / f"load-{environment}.json"
    path.write_text(json.dumps(spec))
    return inside(sys.executable, "-m", "infra.local.users", str(path), str(folder / "traffic.jsonl"))


def inside(*command: str) -> "subprocess.Popen[bytes]":
    """Start a command in the cluster's network; the caller ends it."""
    program = str(Path(sys.executable).with_name("flightline"))
    return subprocess.Popen([program, "cluster", "exec", "--", *command], cwd=PROJECT, start_new_session=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process group of ours, whatever it does."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def newest_rows(root: Path) -> list[dict[str, Any]]:
    """Every tenth of the last month's rows, as callers would ask for them: mixed, for those of one day are alike."""
    import pandas as pd

    names = [one["name"] for one in json.loads((root / "build/bundle/signature.json").read_text())["inputs"]]
    rows = (
        pd.read_csv(root / "build/rows/rows.csv", usecols=names, low_memory=False)
        .tail(20_000)
        .iloc[::10]
        .sample(frac=1, random_state=1)[names]
    )
    return [dict(one) for one in json.loads(rows.to_json(orient="records"))]


def _work(spec: dict[str, Any], name: str, worker: int, stop: threading.Event, out: IO[str]) -> None:
    address, pause = urlsplit(spec["targets"][name]), spec["workers"] / spec["rate"]
    due = time.monotonic() + pause * worker / spec["workers"]
    bodies = _bodies(spec["rows"], spec["batch"], worker, spec["workers"])
    while not stop.wait(max(0.0, due - time.monotonic())):
        due += pause
        if (Path(spec["hold"]) / name).exists():
            continue
        out.write(json.dumps({"target": name, **_ask(address.netloc, next(bodies))}) + "\n")


def _bodies(rows: list[dict[str, Any]], batch: int, worker: int, workers: int) -> Iterator[bytes]:
    """Requests of `batch` rows, over and over; each worker begins elsewhere, so that none repeats another's rows."""
    begin = worker * len(rows) // workers
    own = itertools.cycle(rows[begin:] + rows[:begin])
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
            time.sleep(BETWEEN * 2**refused)
        else:
            return refused
    raise AssertionError


if __name__ == "__main__":
    main()
