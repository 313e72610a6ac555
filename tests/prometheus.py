"""As much of Prometheus as the graphs ask of one: series in a range, of a stable version and of a canary that errs."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STABLE, CANARY = "58597b74f9", "64fb6d65ff"
HASH = "rollouts_pod_template_hash"


def series(query: str, start: float, end: float, step: float, released: float) -> list[dict[str, Any]]:
    """What a query gives: requests by pods, or one series about those that the query names."""
    times = [start + at * step for at in range(int((end - start) / step) + 1)]
    canary = [at for at in times if at >= released]
    if query.startswith("sum by (rollouts_pod_template_hash)"):
        return [one({HASH: STABLE}, times, 40.0), one({HASH: CANARY}, canary, 10.0)]
    if CANARY in query and STABLE in query:
        return [one({}, canary, 0.4)]
    return [one({}, canary, 0.2)] if CANARY in query else [one({}, times, 0.01)]


def one(labels: dict[str, str], times: list[float], value: float) -> dict[str, Any]:
    return {"metric": labels, "values": [[at, str(value) if place else "NaN"] for place, at in enumerate(times)]}


@contextmanager
def playing(released: float) -> Iterator[str]:
    """The address of a server whose canary takes traffic from this moment on."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            span = (float(asked["start"]), max(float(asked["end"]), released + 60), float(asked["step"]))
            result = series(asked["query"], *span, released)
            data = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
