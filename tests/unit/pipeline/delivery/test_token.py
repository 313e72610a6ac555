"""The token for git, against git's own server behind a door: sent in a header, and found nowhere else."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import gitserver
from pipeline.delivery import token
from pipeline.delivery.git import Repository
from pipeline.delivery.push import Change, How, deliver
from pipeline.errors import GitError
from tests.deliveries import configure, say

TOKEN = "-".join(["a", "token", "for", "tests", "alone"])
ENCODED = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
OTHER = base64.b64encode(b"x-access-token:another").decode()


class Door(gitserver.Server):
    """Lets in who has the token, and keeps the headers it was shown and every command line that holds a secret."""

    def __init__(self, repositories: Path) -> None:
        super().__init__(repositories, 0)
        self.RequestHandlerClass = _Asking
        self.shown: list[list[str]] = []
        self.seen: list[str] = []
        self.refusal = 401


class _Asking(gitserver._Handler):
    server: Door

    def _serve(self) -> None:
        shown = self.headers.get_all("Authorization") or []
        self.server.shown.append(shown)
        self.server.seen += [line for line in command_lines() if TOKEN in line or ENCODED in line]
        if shown == [f"Basic {ENCODED}"]:
            super()._serve()
            return
        self.close_connection = True
        self.send_response(self.server.refusal)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        # Git shows what a server says in plain text.
        body = f"not with {' '.join(shown)}\n".encode()
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    (tmp_path / "served").mkdir()
    gitserver.create(tmp_path / "served", "flightline")
    with Door(tmp_path / "served") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def clone(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose main is in the remote, and whose owner's own git configuration takes no part."""
    for name in (*token.TOKENS, token.SERVER, "GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    root = tmp_path / "clone"
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    configure(root)
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    git(root, "push", "-q", str(door.repositories / "flightline.git"), "main")
    git(root, "remote", "add", "origin", gitserver.address("flightline", door.server_port))
    return root


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def of(clone: Path) -> Repository:
    return Repository(clone, "main", "flightline")


def release(repository: Repository) -> str:
    change = Change("staging", "1" * 64, "2" * 64, {"held.yaml": b"[]\n"}, "ours\n\nIdentity: 1\n", "branch")
    return deliver(repository, "staging", lambda _: change, How(push=True), say).outcome


def test_remote_that_asks_is_fetched_and_pushed_with_the_token(
    clone: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTLINE_TOKEN", TOKEN)
    assert release(of(clone)) == "pushed"
    assert of(clone).tip("main") != git(clone, "rev-parse", "HEAD").strip()
    assert door.shown
    assert all(shown == [f"Basic {ENCODED}"] for shown in door.shown)


def test_token_is_in_no_argument_and_in_no_file(clone: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks at every process while git talks to it: also at those that git starts."""
    monkeypatch.setenv("FLIGHTLINE_TOKEN", TOKEN)
    release(of(clone))
    assert door.seen == []
    files = [path.read_bytes() for path in (clone / ".git").rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in content for content in files for secret in (TOKEN, ENCODED))


def test_server_would_have_seen_a_token_in_an_argument(clone: Path, door: Door) -> None:
    header = f"http.extraHeader=Authorization: Basic {ENCODED}"
    subprocess.run(["git", "-c", header, "ls-remote", "origin"], cwd=clone, capture_output=True, check=True)
    assert door.seen


def test_token_is_not_told_by_a_server_that_repeats_it(
    clone: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, door.refusal = f"{TOKEN}-wrong", 403
    monkeypatch.setenv("FLIGHTLINE_TOKEN", wrong)
    with pytest.raises(GitError, match=r"not with Basic \*\*\*") as caught:
        of(clone).fetch()
    assert not any(secret in str(caught.value) for secret in (wrong, base64.b64encode(wrong.encode()).decode()))


def test_nobody_is_asked_for_another_token_than_the_one_that_was_refused(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a helper keeps is somebody's own: it must not stand in for the bot."""
    git(clone, "config", "credential.helper", f"!touch {tmp_path}/asked #")
    with pytest.raises(GitError):
        of(clone).fetch()
    assert (tmp_path / "asked").exists()
    (tmp_path / "asked").unlink()
    monkeypatch.setenv("FLIGHTLINE_TOKEN", f"{TOKEN}-wrong")
    with pytest.raises(GitError):
        of(clone).fetch()
    assert not (tmp_path / "asked").exists()


def test_header_that_a_checkout_left_in_its_configuration_is_not_sent_beside_ours(
    clone: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub refuses a request with two."""
    address = f"http://127.0.0.1:{door.server_port}/"
    git(clone, "config", f"http.{address}.extraHeader", f"Authorization: Basic {OTHER}")
    monkeypatch.setenv("FLIGHTLINE_TOKEN", TOKEN)
    of(clone).fetch()
    assert all(shown == [f"Basic {ENCODED}"] for shown in door.shown)


def test_clone_without_its_files_fetches_them_with_the_token_as_they_are_read(
    clone: Path, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial checkout (`filter: blob:none`) asks the remote in the middle of what looks like a local command."""
    (clone / "file").write_text("content\n")
    git(clone, "add", "file")
    git(clone, "commit", "-q", "-m", "second")
    git(clone, "push", "-q", str(door.repositories / "flightline.git"), "main")
    git(door.repositories / "flightline.git", "config", "uploadpack.allowFilter", "true")
    header = f"http.extraHeader=Authorization: Basic {ENCODED}"
    address = gitserver.address("flightline", door.server_port)
    git(tmp_path, "-c", header, "clone", "-q", "--no-checkout", "--filter=blob:none", address, "partial")
    monkeypatch.setenv("FLIGHTLINE_TOKEN", TOKEN)
    before = len(door.shown)
    assert of(tmp_path / "partial").blobs(["HEAD:file"]) == [b"content\n"]
    assert len(door.shown) > before


def test_settings_that_are_in_the_environment_already_stay(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COUNT", "1"), ("KEY_0", "user.name"), ("VALUE_0", "Somebody")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    monkeypatch.setenv("FLIGHTLINE_TOKEN", TOKEN)
    repository = of(clone)
    assert repository.person().startswith("Somebody ")
    assert repository.fetch()


def test_forge_s_own_token_is_for_the_forge_alone(clone: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's GITHUB_TOKEN is not shown to whatever server the remote happens to be."""
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with pytest.raises(GitError):
        of(clone).fetch()
    assert door.shown == [[]]
    monkeypatch.setenv("GITHUB_SERVER_URL", f"http://127.0.0.1:{door.server_port}")
    assert of(clone).fetch()


@pytest.mark.parametrize("address", ["../remote.git", "git@example.com:a/b.git", "ssh://git@example.com/a/b.git"])
def test_other_ways_to_a_remote_take_no_header(address: str) -> None:
    found = token.access({"FLIGHTLINE_TOKEN": TOKEN}, lambda: [address])
    assert found.environment == {}
    assert found.hidden(f"{TOKEN} {ENCODED}") == "*** ***"


def test_without_a_token_nothing_is_asked_and_nothing_set() -> None:
    def never() -> list[str]:
        raise AssertionError

    assert token.access({"FLIGHTLINE_TOKEN": ""}, never) == token.Access({})


def test_own_token_goes_before_the_forge_s() -> None:
    both = {"FLIGHTLINE_TOKEN": TOKEN, "GITHUB_TOKEN": "another"}
    values = token.access(both, lambda: ["https://github.com/a/b.git"]).environment.values()
    assert f"Authorization: Basic {ENCODED}" in values
    assert OTHER not in "".join(values)
