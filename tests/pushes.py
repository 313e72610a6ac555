"""A small fork whose bundle depends on something: dvc.yaml, params.yaml, sources, and a lock that answers for them."""

import json
import multiprocessing
import subprocess
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

from pipeline.delivery.git import Here
from pipeline.delivery.lock import commit_lock
from pipeline.delivery.plan import Plan, plan
from pipeline.delivery.push import How, Outcome
from pipeline.dvcfiles import dvc_hash, md5
from tests import deliveries
from tests.deliveries import PUSH, Fork, configure, dump, say

STAGE = {"cmd": "flightline bundle", "deps": ["model"], "params": ["estimator"], "outs": ["build/bundle"]}


@dataclass(frozen=True)
class Learning(Fork):
    """A fork that may be merged to without training, as people do."""

    def plan(self, base: str = "") -> Plan:
        """`flightline plan`."""
        return plan(Here(self.root), base)

    def edit(self, c: float) -> str:
        """Somebody merges another parameter, and no lock."""
        return self.commit(f"C = {c}", {"params.yaml": params(c)})

    def repro(self, bias: float) -> str:
        """What `dvc repro` leaves in the work tree: a bundle, a lock that answers. Returns the version."""
        version = self.make(bias)
        self._lock(self.root / "build/bundle")
        return version

    def commit_lock(self, how: How = PUSH) -> Outcome:
        """`flightline commit-lock`."""
        return commit_lock(Here(self.root), how, say)

    def clone(self, root: Path) -> "Learning":
        """Another clone, with this one's build folder."""
        subprocess.run(["git", "clone", "-q", str(self.remote), str(root)], check=True)
        configure(root)
        subprocess.run(["cp", "-r", str(self.root / "build"), str(root / "build")], check=True)
        return Learning(root, self.remote)

    def _lock(self, made: Path) -> None:
        super()._lock(made)
        path = self.root / "dvc.lock"
        document = yaml.safe_load(path.read_text())
        estimator = yaml.safe_load((self.root / "params.yaml").read_text())["estimator"]
        dep = {"path": "model", "hash": "md5", "md5": dvc_hash(self.root / "model")}
        stage = document["stages"]["bundle"]
        document["stages"]["bundle"] = {
            "cmd": stage["cmd"],
            "deps": [dep],
            "params": {"params.yaml": {"estimator": estimator}},
            "outs": stage["outs"],
        }
        path.write_text(yaml.safe_dump(document, sort_keys=False))


def params(c: float) -> str:
    return dump({"estimator": {"C": c}, "gates": {"margin": 0.02}})


def fork(where: Path) -> Learning:
    """A fork that trained once, and released nothing."""
    made = deliveries.fork(where)
    sources = {
        "dvc.yaml": dump({"stages": {"bundle": STAGE}}),
        "params.yaml": params(1.0),
        "model/features.py": "names = ['hour']\n",
        ".gitignore": "/build/\n__pycache__/\n",
    }
    made.commit("a model", sources)
    learning = Learning(made.root, made.remote)
    learning.train(1.0)
    return learning


def start_lock(made: Learning) -> BaseProcess:
    """A process of its own that commits the lock; `said` tells what came of it."""
    process = multiprocessing.get_context("fork").Process(target=_commit_lock, args=(made,))
    process.start()
    return process


def said(made: Learning, process: BaseProcess) -> Outcome:
    """How it ended, once its process has."""
    process.join(120)
    assert process.exitcode == 0
    return Outcome.model_validate(json.loads((made.root / "build/lock.json").read_text()))


def _commit_lock(made: Learning) -> None:
    (made.root / "build/lock.json").write_text(made.commit_lock().model_dump_json())


def name_of(path: Path) -> str:
    """DVC's name of a file."""
    return md5(path.read_bytes())
