"""Receives notifications, a line per POST: `python -m tests.e2e.receiver PORT OUT` runs until it is terminated.

It stands for the forge: what is posted starts a workflow there, and `told` gives the inputs of each.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def told(out: Path) -> list[dict[str, str]]:
    """The inputs of every workflow that was started, in order, with the file of the `workflow`."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return [{**line["body"]["inputs"], "workflow": line["path"].split("/")[-2]} for line in lines]


class Receiver(BaseHTTPRequestHandler):
    """Appends what was posted to the file of the second argument."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        with Path(sys.argv[2]).open("a") as out:
            out.write(json.dumps({"at": time.time(), "path": self.path, "body": json.loads(body or "null")}) + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the file says it all."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
