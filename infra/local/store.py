"""The trusted DVC remote of the local forge, over HTTP: everybody may read, who has the password may write.

What a file is called says what is in it, so a wrong one is refused and none is ever changed.
`python -m infra.local.store FORGE PORT` serves the forge's store.
"""

import base64
import hashlib
import hmac
import re
import shutil
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from infra.local import gitserver, members
from infra.local.components import PROJECT, Component, State, listens
from infra.local.gitea import Folders

COMPONENT = "dvc-store"
PORT = 3002
ADDRESS = f"http://127.0.0.1:{PORT}"
USER = "main"
PIECE = 1 << 20
# A folder's list has `.dir` after its hash.
_NAME = re.compile(r"/(?P<path>files/md5/(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{30})(?:\.dir)?)")


def components(state: State) -> tuple[Component, ...]:
    """The server; nothing but `flightline forge up` starts it."""
    command = (sys.executable, "-m", "infra.local.store", str(Folders.of(state).root), str(PORT))
    return (Component(COMPONENT, command, {"PYTHONPATH": str(PROJECT)}, listens(PORT)),)


class Server(ThreadingHTTPServer):
    """Serves a folder, on loopback unless told; port 0 takes a free one. Without a password nobody may write."""

    daemon_threads = True

    def __init__(self, folder: Path, password: str, port: int, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.allowed = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode() if password else ""
        super().__init__((host, port), _Handler)


def main() -> None:
    """Serve until killed."""
    folders, port = Folders(Path(sys.argv[1])), int(sys.argv[2])
    credentials = members.read(folders)
    folders.store.mkdir(parents=True, exist_ok=True)
    with Server(folders.store, credentials.store if credentials else "", port) as server:
        server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "flightline"

    def do_HEAD(self) -> None:
        """Whether a file is there, and its size."""
        self._give(body=False)

    def do_GET(self) -> None:
        """A file."""
        self._give(body=True)

    def do_PUT(self) -> None:
        """A new file."""
        # The body is read whatever becomes of it: a client that is still sending does not hear an answer.
        with tempfile.NamedTemporaryFile(dir=self.server.folder) as scratch:
            code, text = self._taken(Path(scratch.name), self._receive(scratch))
        self._answer(code, text)

    def do_POST(self) -> None:
        """The same: DVC's default for an HTTP remote."""
        self.do_PUT()

    def log_message(self, format: str, *values: Any) -> None:
        """One line per request."""
        sys.stdout.write(f"{format % values}\n")
        sys.stdout.flush()

    def _taken(self, scratch: Path, digest: str) -> tuple[int, str]:
        """What to answer, once a file was received."""
        found = _NAME.fullmatch(self.path)
        if not self.server.allowed or not hmac.compare_digest(
            self.headers.get("Authorization", "").encode(), self.server.allowed.encode()
        ):
            return 403, "only jobs on main write here; they have the password"
        if found is None:
            return 400, "there are only files/md5/XX/YYYY"
        if digest != found["first"] + found["rest"]:
            return 400, f"what was sent has the hash {digest}"
        path = self.server.folder / found["path"]
        if path.is_file():
            return 200, "it is there"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f".{path.name}.{scratch.name}")
        shutil.copyfile(scratch, whole)
        whole.replace(path)
        return 201, "kept"

    def _receive(self, file: IO[bytes]) -> str:
        """Write the body to a file; its MD5, which is DVC's name for it."""
        digest = hashlib.md5(usedforsecurity=False)
        for piece in gitserver.body(self.headers, self.rfile):
            digest.update(piece)
            file.write(piece)
        file.flush()
        return digest.hexdigest()

    def _give(self, *, body: bool) -> None:
        found = _NAME.fullmatch(self.path)
        path = self.server.folder / found["path"] if found else None
        if path is None or not path.is_file():
            self._answer(404, "not here", body=body)
            return
        with path.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if body:
                shutil.copyfileobj(file, self.wfile, PIECE)

    def _answer(self, code: int, text: str, *, body: bool = True) -> None:
        content = f"{text}\n".encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


if __name__ == "__main__":
    main()
