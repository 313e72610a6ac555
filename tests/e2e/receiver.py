"""Receives notifications, a line per POST: `python -m tests.e2e.receiver PORT OUT` runs until it is terminated."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


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
