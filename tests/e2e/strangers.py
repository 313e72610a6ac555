"""Somebody whom nobody knows, with a fork: honest, or out to have main deliver what they made."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from infra.local import gitea, job, members, runner, store
from infra.local.components import State
from infra.local.demo import replace
from infra.local.gitea import ADMIN, NAME, OWNER, Folders, Person
from infra.local.hand import Hand
from infra.local.telling import SHORT, Demo
from pipeline.forge import Pull
from tests.e2e.edits import Edit, regularised

NAME_OF = "stranger"
GATE = ".github/workflows/gate.yml"
SCRIPT = Path(__file__).with_name("meddle.sh")
_JUDGE = "        run: flightline gate\n"
_UPLOAD = "      - if: ${{ !cancelled()"
_STEP = """\
      - name: Collect, and more
        if: ${{{{ !cancelled() }}}}
        env: {{{env}}}
        run: bash .github/meddle.sh
"""
# What no workflow that is checked before a merge would be let have.
DOORS = (
    "SECRET: '${{ secrets.COSIGN_PASSWORD }}${{ secrets.FLIGHTLINE_APP_KEY }}${{ secrets.FLIGHTLINE_DVC_CONFIG }}'",
    "TOKEN: '${{ github.token }}'",
)


def arrive(state: State, folder: Path) -> Hand:
    """A user with a fork, a token of their own, and a clone in a folder."""
    known = members.read(Folders.of(state))
    assert known
    administrator, password = known.person(ADMIN), "a-strangers-own-password"
    person = {"username": NAME_OF, "email": gitea.email(NAME_OF), "password": password, "must_change_password": False}
    administrator.call("POST", "admin/users", person, there=True)
    outside = Person(NAME_OF, password)
    scopes = ["write:repository", "write:issue", "read:user"]
    token = outside.call("POST", f"users/{NAME_OF}/tokens", {"name": f"own-{time.time_ns()}", "scopes": scopes})["sha1"]
    outside.call("POST", f"repos/{OWNER}/{NAME}/forks", {}, there=True)
    hand = Hand.as_person(outside, token, folder / NAME_OF)
    hand.git("remote", "add", "fork", f"{gitea.ADDRESS}/{NAME_OF}/{NAME}.git")
    return hand


def propose(story: Demo, stranger: Hand, branch: str, edit: Edit) -> Pull:
    """A pull request from a fork; a maintainer lets its workflows run, as the first of a stranger's must be."""
    story.mark()
    stranger.begin(branch)
    edit(stranger.root)
    stranger.git("add", "-A")
    stranger.git("commit", "-q", "-m", f"From outside: {branch}")
    story.pushed = time.time()
    stranger.git("push", "-q", "--force", "fork", f"HEAD:refs/heads/{branch}")
    asked = {"head": f"{NAME_OF}:{branch}", "base": "main", "title": f"From outside: {branch}", "body": ""}
    made = stranger.forge.client.put("POST", f"/repos/{OWNER}/{NAME}/pulls", asked)
    pull = story.reviewer.forge.pull(made["number"])
    story.until("its runs are there", lambda: len(story.reviewer.runs(story.seen, ("gate.yml", "pr.yml"))) == 2, SHORT)
    for run in story.reviewer.runs(story.seen, ("gate.yml", "pr.yml")):
        if run.status != "completed":
            story.reviewer.press(run, "approve")
    story.timeline.event(f"pull request #{pull.number} of a fork", pull.url)
    return pull


def run_anew(story: Demo, pull: Pull) -> None:
    """Run `pr` once more: Gitea 1.26 starts every job of an approved run at once, also those that need another one."""
    story.reviewer.again(story.settled("pr.yml", pull.head_sha))


@dataclass(frozen=True)
class Meddling:
    """What a fork's branch plants, and where on this machine: `mark` is in every byte of it."""

    folders: Folders
    mark: str

    @property
    def main(self) -> dict[str, str]:
        """Where main's jobs keep what is theirs."""
        jobs = runner.jobs_environment(self.folders, os.environ)
        return {
            "MAIN_HOME": jobs["HOME"],
            "MAIN_CACHE": jobs["FLIGHTLINE_CACHE"],
            "MAIN_UV": jobs["UV_CACHE_DIR"],
        }

    def clumsy(self, root: Path) -> None:
        """Train something useless, forge the verdict that says so, and try every door."""
        regularised("0.000001")(root)
        self._plant(root, DOORS)

    def careful(self, root: Path) -> None:
        """The same, and the run ends well; nothing in its workflow that a check of workflows would find."""
        regularised("0.000001")(root)
        self._plant(root, ())
        replace(root / GATE, _JUDGE, _JUDGE.replace("gate\n", "gate || true\n"))

    def _plant(self, root: Path, doors: tuple[str, ...]) -> None:
        """Add a script, and the step that runs it between the evidence and its upload."""
        (root / ".github/meddle.sh").write_text(SCRIPT.read_text())
        api = f"{gitea.ADDRESS}/api/v1/repos/{OWNER}/{NAME}"
        places = {"MARK": self.mark, "FORGE": str(self.folders.root), "STORE": store.ADDRESS, "HERE": api, **self.main}
        env = ", ".join((*(f"{name}: '{value}'" for name, value in places.items()), *doors))
        path = root / GATE
        text = path.read_text()
        upload = text.index(_UPLOAD, text.index("flightline evidence"))
        path.write_text(text[:upload] + _STEP.format(env=env) + text[upload:])

    def traces(self) -> list[str]:
        """Files with the mark, in the trusted store or wherever main's jobs look for something."""
        places = [self.folders.store, self.folders.runner / "work", self.folders.runner / "tmp", *self.main.values()]
        # Of what fell on the machine's own ground a job of main would find that of this name.
        fallen = [Path(folder, "planted") for folder in ("/tmp", "/var/tmp", "/dev/shm")]  # noqa: S108
        there = [str(one) for one in (*places, *fallen) if Path(one).exists()]
        command = ["grep", "--recursive", "--files-with-matches", "--binary", "--fixed-strings", self.mark, *there]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # The forge keeps what was pushed to it, and a stranger's job its checkout while it runs: main's read neither.
        theirs = (self.folders.server, self.folders.runner / job.FOLDER)
        return [one for one in done.stdout.split() if not any(Path(one).is_relative_to(folder) for folder in theirs)]


def counted(said: str, what: str) -> int:
    """A number that the script printed."""
    found = re.search(rf"{re.escape(what)}: (\d+)", said)
    assert found, f"the script did not say {what!r}"
    return int(found[1])
