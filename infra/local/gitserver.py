"""A forge's smallest part: git over HTTP on loopback, which tells of each push as GitHub does.

`python -m infra.local.gitserver FOLDER PORT` serves every FOLDER/NAME.git at http://127.0.0.1:PORT/NAME.git with git's
own `http-backend`. After a push it posts a push event per branch to the addresses in the repository's own configuration
(`git config --add flightline.webhook URL`), so that a webhook can be added and taken away while it runs.
"""

import json
import logging
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import urlsplit

from infra.local.components import PROJECT, Component, State, listens

PORT = 3000
BRANCH = "main"
WEBHOOK = "flightline.webhook"
NOTHING = "0" * 40
SECONDS = 5.0
PIECE = 1 << 20
_PATH = re.compile(r"(?!.*\.\.)/(?P<name>[a-z0-9][a-z0-9-]*)\.git(?P<rest>/[A-Za-z0-9/._-]+)")
_LOG = logging.getLogger("gitserver")
_STATUS = re.compile(r"(?P<letter>[A-Z])\d*\t(?P<path>.+)")
_FIELDS = {"A": "added", "D": "removed"}


def folder(state: State) -> Path:
    """Where the bare repositories are."""
    return state.data / "git"


def address(name: str, port: int = PORT) -> str:
    """What to clone."""
    return f"http://127.0.0.1:{port}/{name}.git"


def components(state: State) -> tuple[Component, ...]:
    """The server."""
    command = (sys.executable, "-m", "infra.local.gitserver", str(folder(state)), str(PORT))
    return (Component("git", command, {"PYTHONPATH": str(PROJECT)}, listens(PORT)),)


def install(state: State) -> None:
    """Make the folder of the repositories."""
    folder(state).mkdir(parents=True, exist_ok=True)


def create(repositories: Path, name: str, webhooks: Sequence[str] = ()) -> Path:
    """A bare repository that can be cloned and pushed to, whose main only moves forward; one that is there is kept."""
    path = repositories / f"{name}.git"
    if not path.is_dir():
        _git(repositories, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", path.name)
    for key, value in (("http.receivepack", "true"), ("receive.denyNonFastForwards", "true")):
        _git(path, "config", key, value)
    _git(path, "config", "receive.denyDeletes", "true")
    set_webhooks(path, webhooks)
    return path


def set_webhooks(repository: Path, webhooks: Iterable[str]) -> None:
    """Post push events of a repository to these addresses from now on, and to no others."""
    subprocess.run(["git", "config", "--unset-all", WEBHOOK], cwd=repository, check=False)
    for webhook in webhooks:
        _git(repository, "config", "--add", WEBHOOK, webhook)


def main() -> None:
    """Serve until killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    repositories, port = Path(sys.argv[1]), int(sys.argv[2])
    with Server(repositories, port) as server:
        _LOG.info("serving %s at http://127.0.0.1:%d", repositories, server.server_port)
        server.serve_forever()


class Server(ThreadingHTTPServer):
    """Serves a folder of bare repositories on loopback; port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, repositories: Path, port: int) -> None:
        self.repositories = repositories.resolve()
        self.pushing: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._outgoing: queue.SimpleQueue[tuple[Path, Mapping[str, Any]]] = queue.SimpleQueue()
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self._post, daemon=True).start()

    def announce(self, repository: Path, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Tell of every branch that moved, in the order of the pushes; whoever pushed does not wait for it."""
        clone = address(repository.stem, self.server_port)
        for change in changes(before, after):
            _LOG.info("%s: %s moved from %.12s to %.12s", repository.name, change.ref, change.before, change.after)
            self._outgoing.put((repository, event(repository, clone, change)))

    def _post(self) -> None:
        while True:
            repository, pushed = self._outgoing.get()
            for webhook in _webhooks(repository):
                _LOG.info("%s: told %s of %.12s: %s", repository.name, webhook, pushed["after"], send(webhook, pushed))


@dataclass(frozen=True)
class Change:
    """A branch that moved. A branch that was not there, or is no more, has NOTHING at that end."""

    ref: str
    before: str
    after: str


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """What moved between two readings of a repository's branches, by name."""
    pairs = ((ref, before.get(ref, NOTHING), after.get(ref, NOTHING)) for ref in sorted({*before, *after}))
    return [Change(*one) for one in pairs if one[1] != one[2]]


def event(repository: Path, clone: str, change: Change) -> Mapping[str, Any]:
    """A push event in GitHub's words, as far as Argo CD and people read them."""
    commits = _commits(repository, change)
    return {
        "ref": change.ref,
        "before": change.before,
        "after": change.after,
        "created": change.before == NOTHING,
        "deleted": change.after == NOTHING,
        "forced": False,
        "commits": commits,
        "head_commit": commits[-1] if commits else None,
        "repository": {
            "name": repository.stem,
            "full_name": f"flightline/{repository.stem}",
            "html_url": clone.removesuffix(".git"),
            "clone_url": clone,
            "default_branch": BRANCH,
        },
    }


def send(webhook: str, pushed: Mapping[str, Any]) -> str:
    """Post an event and say how that went; who does not listen is not asked again, as GitHub does."""
    headers = {"Content-Type": "application/json", "X-GitHub-Event": "push", "User-Agent": "flightline"}
    request = urllib.request.Request(webhook, json.dumps(pushed).encode(), headers)  # noqa: S310 - the owner's address
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return str(answer.status)
    except OSError as error:
        return f"failed: {error}"


def _commits(repository: Path, change: Change) -> list[dict[str, Any]]:
    """The commits that came, oldest first, each with what it added, changed and removed against its first parent."""
    if change.after == NOTHING:
        return []
    span = change.after if change.before == NOTHING else f"{change.before}..{change.after}"
    options = ("--reverse", "--no-renames", "--diff-merges=first-parent", "--name-status", "--format=%x00%H%n%an%n%s")
    log = _git(repository, "-c", "core.quotePath=false", "log", *options, span)
    return [_commit(one.strip().splitlines()) for one in log.split("\0")[1:]]


def _commit(lines: Sequence[str]) -> dict[str, Any]:
    commit: dict[str, Any] = {"id": lines[0], "author": {"name": lines[1]}, "message": lines[2]}
    files: dict[str, list[str]] = {"added": [], "modified": [], "removed": []}
    for found in filter(None, map(_STATUS.fullmatch, lines[3:])):
        files[_FIELDS.get(found["letter"], "modified")].append(found["path"])
    return {**commit, **files}


class _Handler(BaseHTTPRequestHandler):
    """Hands each request to git's own CGI program and its answer back."""

    server: Server
    # Git sends a large push in chunks, which HTTP 1.0 does not have.
    protocol_version = "HTTP/1.1"
    server_version = "flightline"

    def do_GET(self) -> None:
        """A list of branches, or a file."""
        self._serve()

    def do_POST(self) -> None:
        """A fetch or a push."""
        self._serve()

    def log_message(self, format: str, *values: Any) -> None:
        """One line per request."""
        _LOG.info("%s", format % values)

    def _serve(self) -> None:
        self.close_connection = True
        parts = urlsplit(self.path)
        found = _PATH.fullmatch(parts.path)
        repository = self.server.repositories / f"{found['name']}.git" if found else None
        if found is None or repository is None or not repository.is_dir():
            self.send_error(404, "no such repository")
            return
        with TemporaryFile() as sent, ExitStack() as stack:
            for piece in body(self.headers, self.rfile):
                sent.write(piece)
            size = sent.tell()
            # Git reads the file itself, from where its position is.
            sent.seek(0)
            if found["rest"] == "/git-receive-pack":
                # One push at a time: what moved is read before and after it.
                stack.enter_context(self.server.pushing[repository.name])
                before = _branches(repository)
                stack.callback(lambda: self.server.announce(repository, before, _branches(repository)))
            self._answer(parts.path, parts.query, sent, size)

    def _answer(self, path: str, query: str, body: IO[bytes], size: int) -> None:
        """Run git and pass on what it says."""
        command = ["git", "http-backend"]
        environment = self._environment(path, query, size)
        with subprocess.Popen(command, env=environment, stdin=body, stdout=subprocess.PIPE) as git:
            if git.stdout is not None:
                self._pass_on(git.stdout)

    def _pass_on(self, output: IO[bytes]) -> None:
        """Git's headers, then its data until it ends: the connection's end tells the length."""
        headers = dict(_headers(output))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        shutil.copyfileobj(output, self.wfile)

    def _environment(self, path: str, query: str, size: int) -> Mapping[str, str]:
        """The request as CGI puts it. No configuration of this machine takes part."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self.server.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": self.client_address[0],
            # Git refuses a push from nobody.
            "REMOTE_USER": "local",
        }


def body(headers: Message, stream: BufferedIOBase) -> Iterator[bytes]:
    """A request's body, in whichever of the two ways its length is told."""
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        yield from _chunks(stream)
    elif length := int(headers.get("Content-Length") or 0):
        yield from _exactly(stream, length)


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    """The data of a body sent in chunks; trailers are read and dropped."""
    while size := int(stream.readline().split(b";")[0], 16):
        yield from _exactly(stream, size)
        stream.readline()
    while stream.readline().strip():
        pass


def _exactly(stream: BufferedIOBase, length: int) -> Iterator[bytes]:
    """So many bytes, in pieces. Raises ConnectionError where the sender stops before."""
    while length:
        piece = stream.read(min(length, PIECE))
        if not piece:
            raise ConnectionError("the sender stopped in the middle of a request")
        length -= len(piece)
        yield piece


def _headers(output: IO[bytes]) -> Iterator[tuple[str, str]]:
    while line := output.readline().decode().strip():
        name, _, value = line.partition(":")
        yield name, value.strip()


def _branches(repository: Path) -> Mapping[str, str]:
    """Each branch's full name and commit."""
    listed = _git(repository, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads")
    return dict(line.split() for line in listed.splitlines())


def _webhooks(repository: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "config", "--get-all", WEBHOOK], cwd=repository, capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
