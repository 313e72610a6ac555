"""A small fork with a remote of its own, for tests of delivery: real git, real kustomize, a real bundle and image."""

import json
import multiprocessing
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

from pipeline import builders, image
from pipeline.config import read_settings
from pipeline.context import Context
from pipeline.delivery.candidate import BASE_LABEL
from pipeline.delivery.git import Repository
from pipeline.delivery.history import FILES, Timeline, folder, timeline
from pipeline.delivery.models import Expects
from pipeline.delivery.promote import promote
from pipeline.delivery.push import How, Outcome
from pipeline.delivery.release import Expect, Wanted, release
from pipeline.dvcfiles import dvc_hash, md5
from serving import bundle
from serving.signature import Signature
from tests import bundles, verdicts
from tests.images import write_code

PROJECT = Path(__file__).resolve().parents[1]
BASE = f"sha256:{'b' * 64}"
REGISTRY = "registry.example.com/flightline"
PUSH = How(push=True)
BRANCH = How()

_LABELS = {"app.kubernetes.io/component": "traffic"}
_CONTAINERS = [{"name": "server", "image": "flightline-server"}]
_IDENTITY = {"user.name": "Test", "user.email": "test@example.com", "commit.gpgsign": "false", "gc.auto": "0"}


def say(_: str) -> None:
    """Progress that nobody reads."""


def expect(_: Context, env: str, candidate: Path, released: Path | None) -> Expects:
    """Expectations of toy bundles, which have no rows to be measured on."""
    if released is None:
        return Expects(released=None, ks=0, max_ks=1, rows=0)
    bundle.check_files(released)
    ks = 0.0 if bundle.version(candidate) == bundle.version(released) else 0.0625
    return Expects(released=bundle.version(released), ks=ks, max_ks=ks + 0.1, rows=1000 if env == "staging" else 500)


@dataclass(frozen=True)
class Fork:
    """A clone at `root` of the bare repository `remote`; main is pushed there."""

    root: Path
    remote: Path

    @property
    def context(self) -> Context:
        return Context(self.root)

    @property
    def repository(self) -> Repository:
        return Repository.of(self.context)

    def git(self, *words: str) -> str:
        """A git command in the clone; its complaint is in the error where it fails."""
        done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str] | None = None) -> str:
        """Commit these files and everything else that changed to main, and push it."""
        for name, text in (files or {}).items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def pull(self) -> None:
        """Bring the clone to the remote's main."""
        self.git("pull", "-q", "--ff-only", "origin", "main")

    def clone(self, root: Path) -> "Fork":
        """Another clone, with this one's build folder."""
        subprocess.run(["git", "clone", "-q", str(self.remote), str(root)], check=True)
        configure(root)
        subprocess.run(["cp", "-r", str(self.root / "build"), str(root / "build")], check=True)
        return Fork(root, self.remote)

    def train(self, bias: float, signature: Signature = bundles.SIGNATURE) -> str:
        """Make a bundle that differs by `bias`, let it pass the gates, commit its lock. Returns its version."""
        version = self.make(bias, signature)
        self._lock(self.root / "build/bundle")
        self.commit(f"train {bias}")
        return version

    def make(self, bias: float, signature: Signature = bundles.SIGNATURE) -> str:
        """The bundle and a verdict that passes, as before where it was trained before. Returns its version."""
        made = self.root / "build/bundle"
        for path in made.iterdir() if made.is_dir() else ():
            path.unlink()
        weights = [0.01, 0.001, 0.2, -0.1, *[0.0] * len(signature.inputs)][: len(signature.inputs)]
        metrics = {"loss": 0.5 - bias / 100, "estimator": "toy", "rows": {"train": 5}}
        graph = bundles.graph(signature, weights, bias)
        version = bundles.write(made, signature=signature, model=graph, metrics=metrics)
        self.judge(version)
        return version

    def judge(self, version: str, **changes: object) -> None:
        """A verdict on that bundle that passes, or says what `changes` say."""
        candidate = verdicts.CANDIDATE.model_copy(update={"version": version})
        verdict = verdicts.verdict(candidate=candidate, **changes)
        (self.root / "build/verdict.json").write_text(verdict.model_dump_json())

    def _lock(self, made: Path) -> None:
        """dvc.lock as DVC writes it, and the bundle in the trusted remote."""
        store, entries = self.remote.parent / "trusted/files/md5", []
        for path in sorted(made.iterdir()):
            name = md5(path.read_bytes())
            entries.append({"md5": name, "relpath": path.name})
            put(store, name, path.read_bytes())
        put(store, dvc_hash(made), json.dumps(entries, sort_keys=True).encode())
        size = sum(path.stat().st_size for path in made.iterdir())
        out = {"path": "build/bundle", "hash": "md5", "md5": dvc_hash(made), "size": size, "nfiles": len(entries)}
        lock = {"schema": "2.0", "stages": {"bundle": {"cmd": "flightline bundle", "outs": [out]}}}
        (self.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))

    def image(self) -> str:
        """The image of the bundle on the code of these sources, in a layout, by digest."""
        layout = self.root / "build/image"
        labels = {builders.INPUTS_LABEL: builders.inputs(self.root, builders.Base("", BASE)), BASE_LABEL: BASE}
        code = write_code(layout, Labels=labels)
        made = image.append(f"oci:{layout}@{code.digest}", self.root / "build/bundle", f"oci:{layout}")
        return made.reference

    def release(self, how: How = PUSH, reference: str = "") -> Outcome:
        """`flightline release` of what is here."""
        return release(self.context, Wanted(reference or self.image()), how, say, expect)

    def released(self, bias: float) -> Outcome:
        """Train and release to staging, and bring the clone up to date."""
        self.train(bias)
        found = self.release()
        assert found.outcome == "pushed", found.text
        self.pull()
        return found

    def promote(self, how: How = BRANCH, expect: Expect = expect) -> Outcome:
        """`flightline promote`."""
        return promote(self.context, "", how, say, expect)

    def promoted(self) -> Outcome:
        """Promote, and merge the branch as a forge does."""
        found = self.promote()
        assert found.branch is not None, found.text
        self.merge(found.branch)
        return found

    def merge(self, branch: str) -> str:
        """A merge commit on main, with main as the first parent."""
        self.git("fetch", "-q", "origin")
        self.pull()
        self.git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", f"origin/{branch}")
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def timeline(self, env: str = "staging") -> Timeline:
        """What the remote's main says."""
        return timeline(self.repository, self.repository.fetch(), env)

    def files(self, env: str = "staging", commit: str = "") -> dict[str, bytes]:
        """A release's three files on the remote's main, or at a commit."""
        there = self.repository.files(commit or self.repository.fetch(), folder(env))
        return {name: there[name] for name in FILES if name in there}

    def subjects(self) -> list[str]:
        """Subjects of the commits on the remote's main, newest first."""
        return self.git("log", "--format=%s", self.repository.fetch()).splitlines()


def fork(where: Path, environments: tuple[str, ...] = ("staging", "production")) -> Fork:
    """A fork whose main has its sources and no release yet."""
    remote, root = where / "remote.git", where / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    subprocess.run(["git", "remote", "add", "origin", str(remote)], cwd=root, check=True)
    configure(root)
    made = Fork(root, remote)
    made.commit("the fork", sources(environments))
    return made


def begun(folder: Path) -> Fork:
    """A clone of a remote whose main has one file."""
    remote, root = folder / "remote.git", folder / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    subprocess.run(["git", "remote", "add", "origin", str(remote)], cwd=root, check=True)
    configure(root)
    made = Fork(root, remote)
    made.commit("first", {"README.md": "hello\n"})
    return made


def copied(folder: Path, to: Path) -> Fork:
    """A copy of the fork that was made in a folder, with a remote of its own."""
    subprocess.run(["cp", "-r", str(folder), str(to)], check=True)
    found = Fork(to / "clone", to / "remote.git")
    found.git("remote", "set-url", "origin", str(found.remote))
    return found


def configure(root: Path) -> None:
    for name, value in _IDENTITY.items():
        subprocess.run(["git", "config", name, value], cwd=root, check=True)


def put(store: Path, name: str, content: bytes) -> None:
    """A file in a DVC remote."""
    path = store / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def sources(environments: tuple[str, ...]) -> dict[str, str]:
    """The few files that delivery reads."""
    settings = read_settings(PROJECT).model_copy(update={"registry": REGISTRY, "environments": environments})
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.model_dump(exclude={"signing"}).items()]
    overlays = {f"k8s/overlays/{env}/kustomization.yaml": overlay(env) for env in environments}
    return {
        "pyproject.toml": "\n".join(["[tool.flightline]", *lines, ""]),
        ".gitignore": "/build/\n",
        ".dvc/.gitignore": "*\n!config\n",
        ".dvc/config": "[core]\n    analytics = false\n['remote \"trusted\"']\n    url = ../../trusted\n",
        "Dockerfile": "FROM scratch\n",
        "serving/__init__.py": "",
        "k8s/base/kustomization.yaml": dump({"resources": ["rollout.yaml"]}),
        "k8s/base/rollout.yaml": dump(rollout()),
        "k8s/base/traffic/kustomization.yaml": dump({"resources": ["job.yaml"]}),
        "k8s/base/traffic/job.yaml": dump(job()),
        **overlays,
        **{f"k8s/releases/{env}/.gitkeep": "" for env in environments},
    }


def overlay(env: str, **extra: object) -> str:
    resources = ["../../base", *(["../../base/traffic"] if env == "staging" else [])]
    return dump({"namespace": f"flightline-{env}", "resources": resources, **extra})


def rollout() -> dict[str, object]:
    template = {"spec": {"containers": _CONTAINERS}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "flightline"},
        "spec": {"template": template},
    }


def job() -> dict[str, object]:
    metadata = {"name": "flightline-traffic", "labels": _LABELS}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"template": {"spec": {"containers": _CONTAINERS}}},
    }


def dump(document: object) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


def start_release(made: Fork, reference: str, **environment: str) -> BaseProcess:
    """A process of its own that releases what is in the fork; `outcome_of` says what came of it.

    It is forked, since importing all that it needs would take longer than what is tested.
    """
    process = multiprocessing.get_context("fork").Process(target=_release, args=(made, reference, environment))
    process.start()
    return process


def outcome_of(made: Fork, process: BaseProcess) -> str:
    """How the release ended, once its process has."""
    process.join(120)
    assert process.exitcode == 0
    return str(json.loads((made.root / "build/outcome.json").read_text())["outcome"])


def _release(made: Fork, reference: str, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    (made.root / "build/outcome.json").write_text(made.release(PUSH, reference).model_dump_json())
