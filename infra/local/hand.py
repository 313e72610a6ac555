"""What people do on the local forge: push a branch, open a pull request, review it, merge it; and where they look."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from infra.local import fork, gitea, members
from infra.local.components import ClusterError, direct
from infra.local.gitea import NAME, OWNER, Folders, Person
from pipeline.forge import Client, Forge, ForgeError, Pull, Run

API = f"{gitea.ADDRESS}/api/v1"
LINES = 25
_ERROR = "##[error]"
SECONDS = 30.0
# A person's look at a page every second for an hour may meet a forge that restarts now and then.
PATIENCE = 600.0
_NOT_YET = (405, 409)
_ABSENT = 404
# A run that is cancelled made way for a newer one: of those that wait a forge keeps one.
FAILED = frozenset({"failure", "timed_out"})


@dataclass(frozen=True)
class Hand:
    """Somebody with a clone and a token of their own; `credentials` are git's, in its environment alone."""

    name: str
    root: Path
    forge: Forge
    credentials: dict[str, str] = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def of(cls, folders: Folders, name: str, root: Path) -> "Hand":
        """One of the local forge's users, with a fresh clone at `root`. Raises ClusterError."""
        known = members.read(folders)
        if known is None:
            raise ClusterError("there is no local forge; start one with `flightline forge up`")
        return cls.as_person(known.person(name), known.tokens[name], root)

    @classmethod
    def as_person(cls, person: Person, token: str, root: Path) -> "Hand":
        """Anybody whom the local forge knows. Raises ClusterError."""
        forge = Forge(Client(API, token, patience=PATIENCE), f"{OWNER}/{NAME}")
        credentials = {**_author(person.name), **fork.authorized(person)}
        root.parent.mkdir(parents=True, exist_ok=True)
        fork.git(root.parent, "clone", "-q", gitea.REPOSITORY, str(root), **credentials)
        return cls(person.name, root, forge, credentials, person.password)

    def git(self, *words: str) -> str:
        """A git command in the clone. Raises ClusterError."""
        return fork.git(self.root, *words, **self.credentials)

    def begin(self, branch: str) -> None:
        """A branch of main as it is now."""
        self.git("fetch", "-q", "origin")
        self.git("checkout", "-q", "-f", "-B", branch, "origin/main")
        self.git("clean", "-q", "-fd")

    def push(self, branch: str, message: str) -> str:
        """Commit everything, push it to a branch; the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")

    def run(self, *words: str, **environment: str) -> str:
        """One of the project's commands, as this clone has it. Raises ClusterError."""
        scripts = Path(sys.executable).parent
        own = {"PYTHONPATH": str(self.root), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        settings = {**os.environ, **direct(os.environ), **own, **environment}
        done = subprocess.run(words, cwd=self.root, env=settings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(
                f"`{' '.join(words)}` failed in {self.root}: {(done.stderr or done.stdout)[-600:].strip()}"
            )
        return done.stdout

    def approve(self, number: int) -> None:
        """A review that says yes."""
        path = f"/repos/{self.forge.repository}/pulls/{number}/reviews"
        self.forge.client.put("POST", path, {"event": "APPROVED", "body": "Read, and good."})

    def merge(self, pull: Pull) -> str:
        """The button; empty when it is done, else why it cannot be pressed yet. Raises ForgeError."""
        path = f"/repos/{self.forge.repository}/pulls/{pull.number}/merge"
        asked = {"Do": "merge", "head_commit_id": pull.head_sha, "delete_branch_after_merge": True}
        try:
            self.forge.client.create(path, asked, lambda: self.forge.pull(pull.number).merged or None)
        except ForgeError as error:
            if error.status not in _NOT_YET:
                raise
            return str(error)
        return ""

    def file(self, path: str, ref: str = "main") -> str:
        """A file of a branch as it is now, "" where there is none."""
        try:
            return self.forge.client.text(f"/repos/{self.forge.repository}/raw/{path}?ref={ref}")
        except ForgeError as error:
            if error.status != _ABSENT:
                raise
            return ""

    def released(self, environment: str) -> dict[str, Any]:
        """What main says of an environment; {} where nothing was released."""
        return yaml.safe_load(self.file(f"k8s/releases/{environment}/release.yaml")) or {}

    def held(self, environment: str) -> set[str]:
        """The identities that main holds in an environment."""
        lines = yaml.safe_load(self.file(f"k8s/releases/{environment}/held.yaml")) or []
        return {one["identity"] for one in lines if not one.get("permitted")}

    def head(self) -> str:
        """The commit that main is at."""
        return str(self.forge.client.get(f"/repos/{self.forge.repository}/branches/main")["commit"]["id"])

    def commits(self, since: str) -> list[str]:
        """The commits that main got after `since`, newest first."""
        self.git("fetch", "-q", "origin")
        return self.git("rev-list", f"{since}..origin/main").split()

    def statuses(self, sha: str) -> dict[str, str]:
        """What is said of a commit: context -> state."""
        said = self.forge.client.get(f"/repos/{self.forge.repository}/commits/{sha}/status")
        return {one["context"]: one["status"] for one in said["statuses"] or ()}

    def newest_run(self) -> int:
        """The newest run's id, 0 where there is none."""
        return next((one.id for one in self.forge.runs()), 0)

    def runs(self, since: int, workflows: Iterable[str] = ()) -> list[Run]:
        """The runs after one, newest first; of these workflows, where some are named."""
        found, wanted = [], set(workflows)
        for one in self.forge.runs():
            if one.id <= since:
                break
            if not wanted or one.workflow in wanted:
                found.append(one)
        return found

    def press(self, run: Run, button: str) -> None:
        """A button on a run's page, `approve` or `cancel`: the API has none. Raises ClusterError."""
        session = requests.Session()
        session.trust_env = False
        session.post(
            f"{gitea.ADDRESS}/user/login", {"user_name": self.name, "password": self.password}, timeout=SECONDS
        )
        answer = session.post(f"{run.url}/{button}", timeout=SECONDS, allow_redirects=False)
        if answer.status_code != requests.codes.ok:
            raise ClusterError(f"{button} of {run.url} answered {answer.status_code}: {answer.text[:200]}")

    def again(self, run: Run) -> None:
        """Run it once more, as it was."""
        self.forge.client.put("POST", f"{self._actions}/runs/{run.id}/rerun", None)

    def jobs(self, run: Run) -> list[dict[str, Any]]:
        """A run's jobs, as the forge has them."""
        found = self.forge.client.get(f"{self._actions}/runs/{run.id}/jobs").get("jobs") or ()
        return [{**one, "conclusion": one.get("conclusion") or ""} for one in found]  # left out until there is one

    def said(self, run: Run) -> str:
        """Everything that a run's jobs printed."""
        return "\n".join(self._text(one["id"]) for one in self.jobs(run))

    def log(self, run: Run) -> str:
        """What a run's jobs that failed, or run, said last."""
        jobs = self.jobs(run)
        telling = [one for one in jobs if one["conclusion"] in FAILED or one["status"] == "in_progress"]
        return "\n".join(f"  job {one['name']}:\n{_end(self._text(one['id']))}" for one in telling)

    @property
    def _actions(self) -> str:
        return f"/repos/{self.forge.repository}/actions"

    def _text(self, job: int) -> str:
        try:
            return self.forge.client.text(f"{self._actions}/jobs/{job}/logs")
        except ForgeError as error:
            return f"(no log: {error.status})"


def _end(text: str) -> str:
    """What came right before each step that failed; a matrix has one log, whose end may be another's. Else its end."""
    lines = text.splitlines()
    failed = [at for at, line in enumerate(lines) if _ERROR in line]
    shown = [lines[max(0, at - LINES) : at + 1] for at in failed[:2]] or [lines[-LINES:]]
    return "\n    ...\n".join("\n".join(f"    {line}" for line in part) for part in shown)


def _author(name: str) -> dict[str, str]:
    return {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name.capitalize()), ("EMAIL", gitea.email(name)))
    }
