import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from infra.local import gitserver

MEBIBYTE = 1 << 20


class Receiver(HTTPServer):
    """Keeps every event that it is posted, with its headers."""

    def __init__(self) -> None:
        self.got: Queue[tuple[dict[str, str], Any]] = Queue()
        super().__init__(("127.0.0.1", 0), _Receive)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api/webhook"

    def event(self) -> Any:
        return self.got.get(timeout=20)[1]


class _Receive(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.put((dict(self.headers), json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[gitserver.Server]:
    (tmp_path / "served").mkdir()
    with gitserver.Server(tmp_path / "served", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def repository(server: gitserver.Server, receiver: Receiver) -> Path:
    return gitserver.create(server.repositories, "flightline", [receiver.url])


@pytest.fixture
def clone(repository: Path, server: gitserver.Server, tmp_path: Path) -> Path:
    return cloned(server, tmp_path / "clone")


def cloned(server: gitserver.Server, into: Path) -> Path:
    git(into.parent, "clone", "--quiet", gitserver.address("flightline", server.server_port), into.name)
    for key, value in (("user.name", "A"), ("user.email", "a@example.com")):
        git(into, "config", key, value)
    return into


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr)
    return done.stdout.strip()


def commit(clone: Path, message: str, **files: str | None) -> str:
    """Commit these files (None removes one) and give the commit."""
    for name, text in files.items():
        if text is None:
            git(clone, "rm", "--quiet", name)
        else:
            (clone / name).write_text(text)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", f"--message={message}")
    return git(clone, "rev-parse", "HEAD")


def push(clone: Path, *options: str) -> None:
    git(clone, *options, "push", "--quiet", "origin", "HEAD:main")


def test_what_one_pushes_another_clones(clone: Path, server: gitserver.Server, tmp_path: Path) -> None:
    made = commit(clone, "first", a="1")
    push(clone)
    other = cloned(server, tmp_path / "other")
    assert (git(other, "rev-parse", "HEAD"), git(other, "branch", "--show-current")) == (made, "main")


def test_push_event_names_branch_commits_and_files(clone: Path, receiver: Receiver, server: gitserver.Server) -> None:
    first = commit(clone, "first", kept="1", gone="1")
    push(clone)
    receiver.event()
    second = commit(clone, "second", kept="2", gone=None, new="1")
    third = commit(clone, "third", new="2")
    push(clone)
    event = receiver.event()
    assert (event["ref"], event["before"], event["after"]) == ("refs/heads/main", first, third)
    assert [(one["id"], one["added"], one["modified"], one["removed"]) for one in event["commits"]] == [
        (second, ["new"], ["kept"], ["gone"]),
        (third, [], ["new"], []),
    ]
    assert event["head_commit"]["message"] == "third"
    assert event["repository"]["html_url"] == f"http://127.0.0.1:{server.server_port}/flightline"
    assert event["repository"]["default_branch"] == "main"


def test_event_carries_the_headers_that_forges_send(clone: Path, receiver: Receiver) -> None:
    commit(clone, "first", a="1")
    push(clone)
    headers, _ = receiver.got.get(timeout=20)
    assert (headers["X-Github-Event"], headers["Content-Type"]) == ("push", "application/json")


def test_merge_lists_what_it_brought_to_the_branch(clone: Path, receiver: Receiver) -> None:
    commit(clone, "first", a="1")
    push(clone)
    receiver.event()
    git(clone, "switch", "--quiet", "--create", "side")
    commit(clone, "side", b="1")
    git(clone, "switch", "--quiet", "main")
    git(clone, "merge", "--quiet", "--no-ff", "--message=merge", "side")
    push(clone)
    assert receiver.event()["commits"][-1]["added"] == ["b"]


def test_new_branch_and_file_with_a_strange_name(clone: Path, receiver: Receiver) -> None:
    commit(clone, "first", **{"früh und spät": "1"})
    git(clone, "push", "--quiet", "origin", "HEAD:topic")
    event = receiver.event()
    assert (event["ref"], event["created"], event["before"]) == ("refs/heads/topic", True, gitserver.NOTHING)
    assert event["commits"][0]["added"] == ["früh und spät"]


def test_main_only_moves_forward(clone: Path, server: gitserver.Server, receiver: Receiver, tmp_path: Path) -> None:
    commit(clone, "first", a="1")
    push(clone)
    receiver.event()
    git(clone, "commit", "--quiet", "--amend", "--message=rewritten")
    with pytest.raises(subprocess.SubprocessError, match="non-fast-forward"):
        git(clone, "push", "--quiet", "--force", "origin", "HEAD:main")
    with pytest.raises(Empty):
        receiver.got.get(timeout=0.5)


def test_of_two_pushes_from_one_base_the_second_is_refused(
    clone: Path, server: gitserver.Server, tmp_path: Path
) -> None:
    commit(clone, "first", a="1")
    push(clone)
    other = cloned(server, tmp_path / "other")
    commit(clone, "mine", a="2")
    commit(other, "theirs", a="3")
    push(clone)
    with pytest.raises(subprocess.SubprocessError, match="fetch first"):
        push(other)


@pytest.mark.parametrize("largest", ["1", str(64 * MEBIBYTE)], ids=["in chunks", "with its length"])
def test_large_push_arrives_whole(
    clone: Path, repository: Path, server: gitserver.Server, tmp_path: Path, largest: str
) -> None:
    data = b"".join(i.to_bytes(4, "big") for i in range(MEBIBYTE))
    (clone / "large").write_bytes(data)
    made = commit(clone, "large")
    push(clone, "-c", f"http.postBuffer={largest}")
    assert git(repository, "rev-parse", "main") == made
    assert (cloned(server, tmp_path / "other") / "large").read_bytes() == data


def test_fetch_whose_request_is_compressed(clone: Path, server: gitserver.Server, tmp_path: Path) -> None:
    # Git compresses a request beyond 1024 bytes: many haves make it so.
    for number in range(40):
        commit(clone, f"commit {number}", a=str(number))
    push(clone)
    other = cloned(server, tmp_path / "other")
    made = commit(clone, "one more", a="more")
    for number in range(30):
        commit(other, f"unknown {number}", b=str(number))
    push(clone)
    git(other, "fetch", "--quiet")
    assert git(other, "rev-parse", "origin/main") == made


def test_webhooks_change_while_it_runs(clone: Path, repository: Path, receiver: Receiver) -> None:
    gitserver.set_webhooks(repository, [])
    commit(clone, "unheard", a="1")
    push(clone)
    gitserver.set_webhooks(repository, [receiver.url])
    heard = commit(clone, "heard", a="2")
    push(clone)
    assert receiver.event()["after"] == heard


def test_push_succeeds_where_nobody_listens(clone: Path, repository: Path, receiver: Receiver) -> None:
    gitserver.set_webhooks(repository, ["http://127.0.0.1:9/nobody", receiver.url])
    made = commit(clone, "first", a="1")
    push(clone)
    assert receiver.event()["after"] == made


@pytest.mark.parametrize(
    "path",
    ["/other.git/info/refs", "/../served/flightline.git/HEAD", "/flightline.git/../../x", "/flightline.git", "/"],
)
def test_nothing_else_is_served(repository: Path, server: gitserver.Server, path: str) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", path)
    assert connection.getresponse().status == 404


def test_repository_that_is_there_is_kept(clone: Path, repository: Path, server: gitserver.Server) -> None:
    made = commit(clone, "first", a="1")
    push(clone)
    gitserver.create(server.repositories, "flightline")
    assert git(repository, "rev-parse", "main") == made


def test_reads_no_configuration_of_the_machine(
    repository: Path, server: gitserver.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[http]\n\tuploadpack = false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    cloned(server, tmp_path / "clone")
