"""The local forge by itself: what it promises to the workflows, on the local cluster. `make demo` is what it is for.

It ends with the forge down, whatever was on it before.
"""

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml

from infra.local import fork, gitea, job, members, rollouts, runner, standins, store
from infra.local.accounts import portable
from infra.local.components import PROJECT, ClusterError
from infra.local.forge import READER
from infra.local.gitea import ADMIN, Folders, Person
from infra.local.hand import API, Hand
from infra.local.members import BOT, CLUSTER, DEVELOPER, REVIEWER, Credentials
from pipeline.forge import Client as HttpClient
from pipeline.forge import Forge as Client
from pipeline.forge import ForgeError
from pipeline.tools import cache_folder
from tests.e2e import strangers
from tests.e2e.conftest import Cluster, flightline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# Its merge or push starts none of the project's own workflows: what they do is the demo's to show.
QUIET = "[skip ci]"
# A forge that was up already may have seen this before.
BRANCH = f"rehearsal-{os.getpid()}"
TOPIC = f"topic-{os.getpid()}"
REPOSITORY = f"repos/{gitea.OWNER}/{gitea.NAME}"


@dataclass(frozen=True)
class Forge:
    """The forge that is up, and a clone of main."""

    folders: Folders
    credentials: Credentials
    clone: Path

    def person(self, name: str) -> Person:
        return self.credentials.person(name)

    def token(self, name: str) -> Person:
        """Somebody by token, whose scopes bound what may be done."""
        return Person(name, self.credentials.tokens[name])

    def commit(self, branch: str, message: str, file: str, text: str) -> str:
        """On top of main as it is now."""
        fork.git(self.clone, "fetch", "-q", "origin")
        fork.git(self.clone, "checkout", "-q", "-B", branch, "origin/main")
        path = self.clone / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        fork.commit(self.clone, message)
        return fork.git(self.clone, "rev-parse", "HEAD")

    def push(self, person: Person, branch: str) -> None:
        fork.git(self.clone, "push", "-q", "origin", f"HEAD:refs/heads/{branch}", **fork.authorized(person))

    def runs(self, branch: str) -> list[dict[str, Any]]:
        found = self.person(ADMIN).find(f"{REPOSITORY}/actions/runs?branch={branch}")
        return list(found["workflow_runs"])

    def ended(self, run: int, seconds: float) -> dict[str, Any]:
        """A run, once it has ended."""

        def over() -> dict[str, Any] | None:
            found: dict[str, Any] = self.person(ADMIN).find(f"{REPOSITORY}/actions/runs/{run}")
            return found if found["status"] == "completed" else None

        found: dict[str, Any] = until("it has ended", over, seconds)
        return found

    def logs(self, run: int) -> str:
        jobs = self.person(ADMIN).find(f"{REPOSITORY}/actions/runs/{run}/jobs")["jobs"]
        paths = (f"{gitea.ADDRESS}/api/v1/{REPOSITORY}/actions/jobs/{job['id']}/logs" for job in jobs)
        admin = self.person(ADMIN)
        return "".join(requests.get(path, auth=(admin.name, admin.password), timeout=10).text for path in paths)


@pytest.fixture(scope="module")
def forge(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Forge:
    flightline("forge", "up", "--uncommitted")
    folders = Folders.of(cluster.state)
    credentials = members.read(folders)
    assert credentials
    clone = tmp_path_factory.mktemp("forge") / "clone"
    fork.git(PROJECT, "clone", "-q", gitea.REPOSITORY, str(clone))
    return Forge(folders, credentials, clone)


def until(what: str, holds: Callable[[], Any], seconds: float = 60) -> Any:
    """What it gave, once it was true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)
    return found


def commands() -> list[str]:
    """What runs on this machine."""
    return [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]


def test_main_is_this_project_with_settings_of_its_own(forge: Forge) -> None:
    head = fork.git(PROJECT, "rev-parse", "HEAD")
    assert fork.git(forge.clone, "merge-base", head, "origin/main") == head
    assert f'repository = "{gitea.REPOSITORY}"' in (forge.clone / "pyproject.toml").read_text()
    fork.flightline(forge.clone, "settings", "check")
    assert (forge.clone / fork.KEY).read_text() == forge.credentials.signing.public


def test_up_again_changes_nothing(forge: Forge) -> None:
    before = forge.folders.credentials.read_text(), runner.running(forge.folders)
    flightline("forge", "up")
    assert (forge.folders.credentials.read_text(), runner.running(forge.folders)) == before
    assert forge.folders.credentials.stat().st_mode & 0o077 == 0


def test_server_is_nobody(forge: Forge) -> None:
    servers = [one for one in psutil.process_iter(["name", "username"]) if one.info["name"] == "gitea"]
    assert {one.info["username"] for one in servers} == {"nobody"}


WORKFLOW = """
name: rehearsal
on:
  push: {{branches: [{branch}]}}
  workflow_dispatch: {{}}
permissions: {{}}
jobs:
  first:
    runs-on: ubuntu-latest
    permissions: {{contents: read}}
    strategy: {{matrix: {{at: [1, 2, 3, 4]}}}}
    steps:
      - uses: {checkout}
        with: {{fetch-depth: 0, persist-credentials: false}}
      - run: git log -1 --format='said %s' && mkdir -p out/in && echo kept > out/in/file && env
      - uses: {upload}
        with: {{name: "evidence-${{{{ matrix.at }}}}", path: out, if-no-files-found: error}}
  second:
    needs: first
    runs-on: ubuntu-latest
    permissions: {{actions: read}}
    steps:
      - uses: {download}
        with:
          name: evidence-4
          path: got
          run-id: "${{{{ github.run_id }}}}"
          github-token: "${{{{ github.token }}}}"
      - run: cat got/in/file && {{ setsid sleep 1000 >/dev/null 2>&1 & }}
"""


def _rehearsal() -> str:
    names = {
        "checkout": "actions/checkout",
        "upload": "actions/upload-artifact",
        "download": "actions/download-artifact",
    }
    pinned = standins.used(PROJECT)
    return WORKFLOW.format(branch=BRANCH, **{key: f"{one}@{next(iter(pinned[one]))}" for key, one in names.items()})


def test_push_starts_a_run_within_seconds_and_its_actions_are_found(forge: Forge) -> None:
    forge.commit(BRANCH, "Rehearse", ".github/workflows/rehearsal.yml", _rehearsal())
    forge.push(forge.person(DEVELOPER), BRANCH)
    started = until("a run is there", lambda: forge.runs(BRANCH), 10)
    # The jobs of the first push to main may still have all places.
    ended = forge.ended(started[0]["id"], 300)
    logs = forge.logs(started[0]["id"])
    assert ended["conclusion"] == "success", logs[-3000:]
    assert "said Rehearse" in logs
    assert "kept" in logs


def test_jobs_see_nothing_of_who_started_the_forge(forge: Forge) -> None:
    (run,) = forge.runs(BRANCH)
    assert f"HOME={forge.folders.runner}/home" in forge.logs(run["id"])
    assert "VIRTUAL_ENV=" not in forge.logs(run["id"])


STRANGE = """
name: strange
on: pull_request
permissions: {}
jobs:
  only:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo "uid $(id -u) in $HOME, of $(ls "$FORGE" 2>/dev/null | wc -l) files"
          touch "$HOME/own" "$UV_CACHE_DIR/own" "$FLIGHTLINE_CACHE/own" && echo "own places"
          touch "$MAIN/home/planted" "$CACHE/planted" /usr/local/planted || echo "no others"
          setsid sleep 2000 >/dev/null 2>&1 & ps -eo uid= | sort | uniq -c
        env: {}
"""


def test_job_of_a_fork_is_a_strangers(forge: Forge, cluster: Cluster, tmp_path: Path) -> None:
    """No account, no file of who started the forge, a home and caches of its own, which go with it."""
    stranger, branch = strangers.arrive(cluster.state, tmp_path), f"strange-{os.getpid()}"
    stranger.begin(branch)
    places = {"FORGE": forge.folders.root, "MAIN": forge.folders.runner, "CACHE": cache_folder()}
    workflow = STRANGE.replace("env: {}", f"env: {json.dumps({name: str(one) for name, one in places.items()})}")
    for path in (stranger.root / ".github/workflows").glob("*.yml"):
        path.unlink()
    (stranger.root / ".github/workflows/strange.yml").write_text(workflow)
    fork.git(stranger.root, "add", "-A")
    stranger.git("commit", "-q", "-m", "Strange")
    stranger.git("push", "-q", "fork", f"HEAD:refs/heads/{branch}")
    asked = {"head": f"{strangers.NAME_OF}:{branch}", "base": "main", "title": "Strange", "body": ""}
    sha = stranger.forge.client.put("POST", f"/{REPOSITORY}/pulls", asked)["head"]["sha"]
    reviewer = Hand.of(forge.folders, REVIEWER, tmp_path / REVIEWER)
    run = until("it waits", lambda: next((one for one in reviewer.forge.runs(head_sha=sha)), None), 20)
    reviewer.press(run, "approve")
    ended, logs = forge.ended(run.id, 300), forge.logs(run.id)
    assert ended["conclusion"] == "success", logs[-3000:]
    assert re.search(rf"uid {job.STRANGER} in \S+, of [01] files", logs), "its own folder alone"
    assert "own places" in logs
    assert "no others" in logs
    assert re.findall(r"^\S+ +\d+ +(\d+)$", logs, re.M) == [str(job.STRANGER)], "it sees no process but its own"
    until("it is gone", lambda: not list((forge.folders.runner / job.FOLDER).iterdir()), 30)
    assert "sleep 2000" not in commands()
    assert not [one for one in (forge.folders.runner / "home", cache_folder()) if (one / "planted").exists()]


@pytest.mark.parametrize("name", [DEVELOPER, REVIEWER, CLUSTER, ADMIN])
def test_main_is_pushed_to_by_nobody(forge: Forge, name: str) -> None:
    forge.commit("direct", f"Directly {QUIET}", "NOTES.md", name)
    with pytest.raises(ClusterError, match=r"protected branch|denied|403|unauthori[sz]ed"):
        forge.push(forge.person(name), "main")


def test_bot_pushes_to_main_in_bypass_mode_alone(forge: Forge) -> None:
    forge.commit("bot", f"By the bot {QUIET}", "NOTES.md", "bot")
    forge.push(forge.token(BOT), "main")
    flightline("forge", "up", "--mode", "pull-request")
    forge.commit("bot", f"By the bot again {QUIET}", "NOTES.md", "bot, again")
    with pytest.raises(ClusterError, match="protected branch"):
        forge.push(forge.token(BOT), "main")
    flightline("forge", "up")
    forge.push(forge.token(BOT), "main")


def test_merge_waits_for_checks_and_for_the_code_owner(forge: Forge) -> None:
    commit = forge.commit(TOPIC, f"A change {QUIET}", "NOTES.md", "a change")
    forge.push(forge.token(DEVELOPER), TOPIC)
    asked = {"head": TOPIC, "base": "main", "title": f"A change {QUIET}"}
    number = forge.token(DEVELOPER).call("POST", f"{REPOSITORY}/pulls", asked)["number"]
    approve = ("POST", f"{REPOSITORY}/pulls/{number}/reviews", {"event": "APPROVED", "body": "Good."})
    assert "status checks" in merging(forge.token(DEVELOPER), number)
    for context in ("pr / gate-summary (pull_request)", "flightline/gates"):
        forge.token(BOT).call("POST", f"{REPOSITORY}/statuses/{commit}", {"context": context, "state": "success"})
    assert "approvals" in merging(forge.token(DEVELOPER), number)
    forge.token(BOT).call(*approve)
    assert "official review requests" in merging(forge.token(DEVELOPER), number)
    forge.token(REVIEWER).call(*approve)
    assert "not allowed to merge" in merging(forge.token(CLUSTER), number)
    assert merging(forge.token(REVIEWER), number) == ""


def merging(person: Person, number: int) -> str:
    """What the forge says to the button: "" once it is merged. While it looks at the branch anew, it is asked again."""
    asked = {"Do": "merge", "MergeTitleField": f"Merge {QUIET}"}

    def said() -> tuple[str] | None:
        try:
            person.call("POST", f"{REPOSITORY}/pulls/{number}/merge", asked)
        except ClusterError as error:
            return None if "try again later" in str(error) else (str(error),)
        return ("",)

    return str(until("it was looked at", said)[0])


def test_token_of_the_cluster_starts_workflows_and_writes_nothing(forge: Forge) -> None:
    token, before = forge.token(CLUSTER), len(forge.runs(BRANCH))
    token.call("POST", f"{REPOSITORY}/actions/workflows/rehearsal.yml/dispatches", {"ref": BRANCH, "inputs": {}})
    until("it was started", lambda: len(forge.runs(BRANCH)) > before, 10)
    head = fork.git(forge.clone, "rev-parse", "origin/main")
    forbidden = [
        ("POST", f"{REPOSITORY}/statuses/{head}", {"context": "flightline/gates", "state": "success"}),
        ("POST", f"{REPOSITORY}/issues", {"title": "An issue"}),
        ("POST", f"{REPOSITORY}/branches", {"new_branch_name": "mine", "old_branch_name": "main"}),
        ("PUT", f"{REPOSITORY}/actions/secrets/MINE", {"data": "x"}),
        ("DELETE", f"{REPOSITORY}/branch_protections/main", None),
        ("GET", "user", None),
    ]
    for call in forbidden:
        with pytest.raises(ClusterError, match=r"answered 40[134] "):
            token.call(*call)


# What a token may do that lacks one scope, and what of the client's calls it then may not.
WITHOUT: dict[str, tuple[tuple[str, ...], Callable[[Client], Any]]] = {
    "write:repository": (("read:repository", "write:issue"), lambda one: one.status("a" * 40, "x/y", "success", "")),
    "write:issue": (("read:issue", "read:user"), lambda one: one.comment(1, "<!-- x -->", "said")),
    "read:issue": (("write:repository", "read:user"), lambda one: one.open_issue("<!-- x -->", "title", "body")),
    "read:user": (("write:repository", "write:issue"), lambda one: one.login),
}


@pytest.mark.parametrize("scope", WITHOUT)
def test_token_without_a_scope_is_told_which(forge: Forge, scope: str) -> None:
    scopes, call = WITHOUT[scope]
    asked = {"name": f"without-{scope}-{os.getpid()}", "scopes": list(scopes)}
    token = forge.person(BOT).call("POST", f"users/{BOT}/tokens", asked)["sha1"]
    with pytest.raises(ForgeError, match=f'"{scope}" on Gitea'):
        call(Client(HttpClient(API, token), f"{gitea.OWNER}/{gitea.NAME}"))


def test_cluster_is_told_where_to_and_with_whose_token(forge: Forge, cluster: Cluster) -> None:
    """Also after another `cluster up`, which starts what does not run and takes nothing away."""
    flightline("cluster", "up")
    shown = cluster.kubectl("--namespace", rollouts.NAMESPACE, "get", "secret", rollouts.SECRET, "--output=json")
    expected = yaml.safe_load(rollouts.notification_secret(gitea.REPOSITORY_API, forge.credentials.tokens[CLUSTER]))
    found = {name: base64.b64decode(value).decode() for name, value in json.loads(shown)["data"].items()}
    assert found == expected["stringData"]


def test_workflows_read_the_cluster_and_change_nothing(cluster: Cluster, forge: Forge, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(portable(cluster.kubectl, cluster.state, READER))

    def may(*words: str) -> bool:
        command = [
            cluster.state.tool("kubectl"),
            f"--kubeconfig={path}",
            "auth",
            "can-i",
            "-n",
            "flightline-staging",
            *words,
        ]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    read = ("pods", "events", "replicasets.apps", "rollouts.argoproj.io", "analysisruns.argoproj.io")
    assert all(may(verb, kind) for kind in read for verb in ("get", "list"))
    assert not any(may(verb, kind) for kind in read for verb in ("create", "patch", "delete"))
    assert not may("get", "secrets")


def test_argo_cd_is_told_of_a_push(forge: Forge, cluster: Cluster) -> None:
    """By the webhook: its own look at main comes every six seconds."""
    forge.commit("bot", f"For Argo CD {QUIET}", "NOTES.md", "seen?")
    forge.push(forge.token(BOT), "main")
    head = fork.git(forge.clone, "rev-parse", "HEAD")
    revision = (
        "--namespace",
        "argocd",
        "get",
        "application",
        "flightline-staging",
        "--output=jsonpath={.status.sync.revision}",
    )
    until("Argo CD has seen it", lambda: cluster.kubectl(*revision) == head, 20)
    (hook,) = forge.person(ADMIN).find(f"{REPOSITORY}/hooks")
    assert hook["active"]


def test_trusted_data_is_read_by_all_and_written_with_the_password(forge: Forge, tmp_path: Path) -> None:
    def dvc(*words: str) -> subprocess.CompletedProcess[str]:
        command = [Path(PROJECT / ".venv/bin/dvc"), *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    def fresh(folder: str) -> None:
        subprocess.run(["rm", "-rf", str(tmp_path / ".dvc/cache"), str(tmp_path / folder)], check=True)

    dvc("init", "--no-scm")
    dvc("remote", "add", "--default", "trusted", store.ADDRESS)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "one").write_text(f"{time.time_ns()}")
    dvc("add", "rows")
    assert dvc("push").returncode != 0
    for name, value in (("auth", "basic"), ("user", store.USER), ("password", forge.credentials.store)):
        dvc("remote", "modify", "--local", "trusted", name, value)
    assert dvc("push").returncode == 0
    (tmp_path / ".dvc/config.local").unlink()
    fresh("rows")
    pulled = dvc("pull")
    assert pulled.returncode == 0, pulled.stderr
    assert (tmp_path / "rows" / "one").is_file()


def test_down_leaves_nothing(forge: Forge, cluster: Cluster) -> None:
    flightline("forge", "down")
    root, lines = str(forge.folders.root), commands()
    assert not [line for line in lines if root in line or str(gitea.INSIDE) in line]
    assert "sleep 1000" not in lines, "the job left it behind"
    assert not forge.folders.root.exists()
    assert not cluster.kubectl("--namespace", "argocd", "get", "applications", "--output=name")
