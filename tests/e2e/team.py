"""What people do in the story, each by the commands that a person types in a fork of the project."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from infra.local import fork as forks
from infra.local import gitserver
from infra.local.components import State
from infra.local.fork import REGISTRY
from infra.local.timeline import Timeline
from tests.checkouts import PROJECT, Checkout, checkout
from tests.e2e import faults

REPOSITORY = "http://127.0.0.1:3000/flightline.git"
SERVER = Path("serving/__main__.py")
ROLLOUT_FILE = Path("k8s/base/rollout.yaml")
# In a session of its own, which the scheduler takes for one group; what is measured meanwhile must not wait for it.
IDLY = ("setsid", "--wait", "sh", "-c", '{ echo 19 > /proc/self/autogroup; } 2>/dev/null; exec nice -n 19 "$@"', "idly")


@dataclass
class Team:
    """`fork` is where they work; `images` and `codes` are what they built, by name, `ahead` what is being built."""

    state: State
    fork: Checkout
    folder: Path
    timeline: Timeline
    images: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    ahead: dict[str, "Future[str]"] = field(default_factory=dict)

    def flightline(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The fork's own command line, as its user types it."""
        return self.fork.run("flightline", *words, check=check, KUBECONFIG=str(self.state.kubeconfig))

    def train(self, **sections: Mapping[str, Any]) -> None:
        """Change sections of params.yaml, reproduce, gate, share the bundle, commit its lock."""
        self.fork.edit_params(
            lambda params: params.update({name: {**params[name], **sections[name]} for name in sections})
        )
        self.fork.run("dvc", "repro", OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
        self.fork.run("dvc", "push", "-r", "trusted")
        self.commit("Train")
        self.flightline("gate")
        self.timeline.event("trained and gated")

    def append(self, code: str) -> str:
        """The reference of build/bundle on a code image, which is built where it is new."""
        if code not in self.codes:
            self.codes[code] = self.ahead[code].result() if code in self.ahead else _build(self.fork, code)
            self.timeline.event(f"code image {code} built")
        made = self.flightline("image", "append", self.codes[code], "build/bundle", REGISTRY, "--json").stdout
        return f"{REGISTRY}@{json.loads(made)['digest']}"

    def build_ahead(self, *names: str) -> None:
        """Build the code images of changes that are pushed later, in a checkout of their own and beside all else."""
        clone, builder = self.clone("ahead"), ThreadPoolExecutor(1)
        self.ahead = {f"code-{name}": builder.submit(_build_changed, clone, name) for name in names}
        builder.shutdown(wait=False)

    def release(self, image: str) -> str:
        """Release an image to staging; the identity that main then has."""
        outcome = json.loads(self.flightline("release", "--image", self.images[image], "--push", "--json").stdout)
        assert outcome["outcome"] == "pushed", outcome
        self._moved(f"{image} released to staging: {outcome['identity'][:12]}")
        return str(outcome["identity"])

    def promote(self) -> str:
        """Merge the branch that brings staging's release to production; its identity there."""
        outcome = json.loads(self.flightline("promote", "--json").stdout)
        assert outcome["outcome"] == "prepared", outcome
        return self.merge(outcome["branch"], "production")

    def revert_aborted(self, environment: str, identity: str) -> None:
        """Merge the branch that reverts what was aborted, and holds it."""
        words = (
            "rollback",
            "--env",
            environment,
            "--aborted",
            identity,
            "--reason",
            "its canary was aborted",
            "--json",
        )
        outcome = json.loads(self.flightline(*words).stdout)
        assert outcome["outcome"] == "prepared", outcome
        self.merge(outcome["branch"], environment)

    def rollback(self, environment: str, to: str) -> None:
        """Go back to a release by name, by a merged branch."""
        words = ("rollback", "--env", environment, "--to", to, "--reason", "the story wants it", "--json")
        self.merge(json.loads(self.flightline(*words).stdout)["branch"], environment)

    def revert_newest(self, environment: str) -> str:
        """`git revert` of the newest commit on main that released to an environment; what is released after it."""
        path = f"k8s/releases/{environment}"
        newest, *parents = self.git("log", "-1", "--first-parent", "--format=%H %P", "--", path).split()
        mainline = ("-m", "1") if len(parents) > 1 else ()
        self.git("revert", "--no-edit", *mainline, newest)
        self.push("git revert")
        return str(self.released(environment)["identity"])

    def merge(self, branch: str, environment: str) -> str:
        """What a reviewer's click does; the identity that is released after it."""
        self.git("fetch", "-q", "origin")
        self.git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", f"origin/{branch}")
        self.push(f"{branch} merged")
        return str(self.released(environment)["identity"])

    def change(self, name: str) -> None:
        """Push a change of the serving code, one of `faults`."""
        _change(self.fork, name)
        self.commit(f"Serve {name}")

    def undo(self, name: str) -> None:
        """Push its removal."""
        changed = self.git("log", "-1", "--format=%H", f"--grep=^Serve {name}$")
        self.git("checkout", "-q", f"{changed}^", "--", str(SERVER))
        self.commit(f"No longer serve {name}")

    def set_request(self, cpu: str) -> None:
        """Push a change of the manifests that needs no new image."""
        self.edit(ROLLOUT_FILE, r"cpu: \d+m", f"cpu: {cpu}")

    def edit(self, file: Path, pattern: str, by: str) -> None:
        """Push a file in which the first match of a pattern is replaced."""
        path = self.fork.root / file
        text, count = re.subn(pattern, by, path.read_text(), count=1)
        assert count == 1, f"{file} has no {pattern}"
        path.write_text(text)
        self.commit(f"{file.name}: {by}")

    def note(self, text: str) -> None:
        """Push a commit that has nothing to do with any release."""
        with (self.fork.root / "NOTES.md").open("a") as out:
            out.write(f"{text}\n")
        self.commit(text)

    def commit(self, message: str) -> None:
        """Commit everything on top of what main is, and push."""
        self.fork.commit(message)
        self.push(message)

    def push(self, what: str) -> None:
        """Push main, and note when."""
        self.git("push", "-q", "origin", "main")
        self.timeline.event(f"main: {what}")

    def follow(self) -> None:
        """Take over what others pushed."""
        self.git("pull", "-q", "--ff-only", "origin", "main")

    def _moved(self, what: str) -> None:
        self.timeline.event(what)
        self.follow()

    @property
    def pushed(self) -> float:
        """When main last moved on the git server, Unix seconds."""
        return (gitserver.folder(self.state) / "flightline.git/refs/heads/main").stat().st_mtime

    def git(self, *words: str) -> str:
        """A git command in the fork."""
        return self.fork.run("git", *words).stdout.strip()

    def head(self) -> str:
        """main on the git server."""
        return self.git("ls-remote", "origin", "refs/heads/main").split()[0]

    def released(self, environment: str) -> dict[str, Any]:
        """What main says of an environment; {} where nothing was released."""
        self.git("fetch", "-q", "origin")
        shown = self.fork.run("git", "show", f"origin/main:{_file(environment, 'release')}", check=False)
        return {} if shown.returncode else dict(yaml.safe_load(shown.stdout))

    def held(self, environment: str) -> set[str]:
        """The identities that main holds in an environment."""
        shown = self.fork.run("git", "show", f"origin/main:{_file(environment, 'held')}", check=False)
        return set() if shown.returncode else {one["identity"] for one in yaml.safe_load(shown.stdout)}

    def history(self, environment: str) -> list[str]:
        """Every identity that main ever released to an environment, the first one first."""
        path = _file(environment, "release")
        commits = self.git("log", "--reverse", "--first-parent", "--format=%H", "--", path).split()
        return [yaml.safe_load(self.git("show", f"{commit}:{path}"))["identity"] for commit in commits]

    def clone(self, name: str) -> Checkout:
        """Another checkout of what the fork has now, with the bundle, as a run of CI would have."""
        root = self.fork.root.with_name(name)
        self.fork.run("cp", "-a", str(self.fork.root), str(root))
        return Checkout(root)

    def lose(self, image: str) -> None:
        """Delete an image from the registry."""
        digest = image.partition("@")[2]
        gone = requests.delete(f"http://127.0.0.1:5000/v2/flightline/manifests/{digest}", timeout=10)
        assert gone.status_code == requests.codes.accepted, gone.text
        self.timeline.event("the registry lost an image")


def _build(where: Checkout, code: str, *before: str) -> str:
    """The code image of a checkout, by digest; `before` are words before the command that builds it."""
    where.run(*before, "flightline", "image", "build", f"{REGISTRY}:{code}", "--base", "local", "--builder", "buildah")
    digest = json.loads(where.run("flightline", "image", "inspect", f"{REGISTRY}:{code}", "--json").stdout)["digest"]
    return f"{REGISTRY}@{digest}"


def _build_changed(clone: Checkout, name: str) -> str:
    _change(clone, name)
    clone.commit(f"Serve {name}")
    code = _build(clone, f"code-{name}", *IDLY)
    clone.run("git", "reset", "-q", "--hard", "HEAD^")
    return code


def _change(where: Checkout, name: str) -> None:
    path = where.root / SERVER
    path.write_text(faults.written(path.read_text(), getattr(faults, name.upper())))


def _file(environment: str, name: str) -> str:
    return f"k8s/releases/{environment}/{name}.yaml"


def fork(root: Path, state: State) -> Checkout:
    """This project as a team would fork it: its own settings, a test cluster's patience, its own git server."""
    made = checkout(root)
    # What the project itself trained need not be trained again: the same inputs give the same bundle.
    if (cache := PROJECT / ".dvc" / "cache").is_dir():
        shutil.copytree(cache, root / ".dvc" / "cache")
    forks.settle(root, REPOSITORY, REGISTRY)
    made.commit("Our own settings, and a test cluster's patience")
    gitserver.create(gitserver.folder(state), "flightline", ("http://127.0.0.1:8080/api/webhook",))
    made.run("git", "remote", "add", "origin", REPOSITORY)
    made.run("git", "push", "-q", "-u", "origin", "main")
    return made
