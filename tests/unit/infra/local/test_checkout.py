"""The stand-in for actions/checkout, run as the runner runs it, against a repository in a folder."""

import base64
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.standins import FOLDER

SCRIPT = FOLDER / "actions" / "checkout" / "checkout.sh"
REPOSITORY = "flightline/flightline"
ME = {
    name: value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in ((f"GIT_{role}_NAME", "Test"), (f"GIT_{role}_EMAIL", "test@example.com"))
}


def git(folder: Path, *words: str) -> str:
    environment = {**os.environ, **ME}
    return subprocess.run(
        ["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@dataclass(frozen=True)
class Forge:
    """A repository of three commits on main and a branch that forked off the second; the commits by name."""

    root: Path
    commits: dict[str, str]

    def checkout(self, event: str = "push", commit: str = "third", **given: str) -> subprocess.CompletedProcess[str]:
        workspace, scratch = self.root / "workspace", self.root / "scratch"
        workspace.mkdir(), scratch.mkdir()
        on_branch = {"GITHUB_BASE_REF": "main", "GITHUB_REF": "refs/pull/1/head"}
        environment = {
            **os.environ,
            "GITHUB_SERVER_URL": f"file://{self.root}",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(scratch),
            "GITHUB_EVENT_NAME": event,
            "GITHUB_SHA": self.commits[commit],
            **(on_branch if event == "pull_request" else {"GITHUB_REF": "refs/heads/main"}),
            **{"REPOSITORY": REPOSITORY, "REF": "", "TOKEN": "s3cret", "FOLDER": ".", "DEPTH": "1", "PERSIST": "false"},
            **given,
        }
        return subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)

    def git(self, *words: str) -> str:
        return git(self.root / "workspace", *words)


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    path = tmp_path / REPOSITORY
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
    commits = {}

    def commit(name: str, file: str) -> None:
        (path / file).write_text(name)
        git(path, "add", "-A")
        git(path, "commit", "-q", "-m", name)
        commits[name] = git(path, "rev-parse", "HEAD")

    commit("first", "a")
    commit("second", "a")
    git(path, "checkout", "-q", "-b", "topic/one")
    commit("change", "b")
    git(path, "checkout", "-q", "main")
    commit("third", "c")
    return Forge(tmp_path, commits)


def test_push_is_checked_out_on_its_branch(forge: Forge) -> None:
    assert forge.checkout().returncode == 0
    assert forge.git("rev-parse", "HEAD") == forge.commits["third"]
    assert forge.git("symbolic-ref", "--short", "HEAD") == "main"
    assert forge.git("rev-list", "--count", "HEAD") == "1"


def test_newer_push_does_not_change_what_an_older_one_is_checked_out_as(forge: Forge) -> None:
    forge.checkout(commit="second", DEPTH="0")
    assert forge.git("rev-parse", "HEAD") == forge.commits["second"]
    assert forge.git("rev-list", "--count", "HEAD") == "2"


def test_pull_request_is_checked_out_as_its_merge(forge: Forge) -> None:
    assert forge.checkout("pull_request", "change", DEPTH="0").returncode == 0
    parents = forge.git("show", "-s", "--format=%P", "HEAD").split()
    assert parents == [forge.commits["third"], forge.commits["change"]]
    assert sorted(path.name for path in (forge.root / "workspace").iterdir() if path.is_file()) == ["a", "b", "c"]
    assert forge.git("rev-parse", "origin/main") == forge.commits["third"]


def test_pull_request_that_conflicts_is_refused(forge: Forge) -> None:
    path = forge.root / REPOSITORY
    (path / "b").write_text("otherwise")
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "conflict")
    refused = forge.checkout("pull_request", "change")
    assert refused.returncode == 1
    assert "conflicts with main" in refused.stdout


@pytest.mark.parametrize(
    ("ref", "commit", "branch"),
    [("topic/one", "change", "topic/one"), ("refs/heads/topic/one", "change", "topic/one"), ("second", "second", "")],
)
def test_ref_is_a_branch_or_a_commit(forge: Forge, ref: str, commit: str, branch: str) -> None:
    assert forge.checkout("pull_request", "change", REF=forge.commits.get(ref, ref)).returncode == 0
    assert forge.git("rev-parse", "HEAD") == forge.commits[commit]
    assert forge.git("branch", "--show-current") == branch


def test_whole_history_brings_every_branch(forge: Forge) -> None:
    forge.checkout(DEPTH="0")
    assert forge.git("rev-parse", "origin/topic/one") == forge.commits["change"]
    assert forge.git("rev-list", "--count", "HEAD") == "3"


def test_token_is_left_behind_only_where_asked_for(forge: Forge) -> None:
    forge.checkout()
    assert "extraheader" not in (forge.root / "workspace/.git/config").read_text()


def test_token_that_is_left_is_what_git_sends(forge: Forge) -> None:
    forge.checkout(PERSIST="true")
    sent = forge.git("config", f"http.file://{forge.root}/.extraheader").rpartition(" ")[2]
    assert base64.b64decode(sent) == b"x-access-token:s3cret"


def test_checkout_goes_into_the_folder_that_is_asked_for(forge: Forge) -> None:
    forge.checkout(FOLDER="here")
    assert git(forge.root / "workspace/here", "rev-parse", "HEAD") == forge.commits["third"]


def test_branch_whose_name_ends_like_the_ref_of_a_commit_changes_nothing(forge: Forge) -> None:
    commit = forge.commits["second"]
    git(forge.root / REPOSITORY, "branch", f"a/refs/heads/{commit}", "topic/one")
    assert forge.checkout(REF=commit).returncode == 0
    assert forge.git("rev-parse", "HEAD") == commit
