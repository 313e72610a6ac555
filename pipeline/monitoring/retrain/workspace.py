"""A checkout of its own for an attempt: main's commit, its window moved, DVC's cache and remotes those of this machine.

Whoever calls keeps work tree, index and refs as they are; what is uncommitted there reaches no attempt.
"""

import configparser
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.context import Context
from pipeline.delivery.git import REMOTE, Repository
from pipeline.delivery.token import TOKENS
from pipeline.errors import UnavailableError
from pipeline.files import remove
from pipeline.monitoring.retrain.attempts import LOCK, PARAMS, Attempt
from pipeline.monitoring.retrain.errors import AttemptError

FOLDER = paths.BUILD / "retrain"
TREE = FOLDER / "tree"
_STATE = ".attempt"
_LAST = 15


@dataclass(frozen=True)
class Workspace:
    """A checkout at an attempt's commit, with the attempt's own params.yaml and dvc.lock."""

    root: Path

    @property
    def context(self) -> Context:
        """What the verbs need of it."""
        return Context(self.root)

    def reproduce(self) -> None:
        """`dvc repro --pull`. Raises UnavailableError where the remote is away, AttemptError where a stage fails."""
        _check_remote(self.root)
        done, said = self.run(sys.executable, "-m", "dvc", "repro", "--pull")
        if done:
            raise AttemptError(f"`dvc repro --pull` failed: {said}")

    def share(self) -> None:
        """`dvc push` to the default remote: where the outputs of every step are kept. Raises UnavailableError."""
        done, said = self.run(sys.executable, "-m", "dvc", "push")
        if done:
            raise UnavailableError(f"`dvc push` failed: {said}")

    def gate(self) -> int:
        """`flightline gate --retrain` with this commit's own code; its exit code. Raises AttemptError."""
        words = ("-c", "from pipeline.cli import main; main()", "gate", "--retrain")
        done, said = self.run(sys.executable, *words)
        if done not in (0, 1, 2):
            raise AttemptError(f"`flightline gate --retrain` ended with {done}: {said}")
        return done

    def run(self, *words: str) -> tuple[int, str]:
        """A command here, with what it says on our stderr; its exit code, and its last line that says something."""
        process = subprocess.Popen(
            words, cwd=self.root, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        last: list[str] = []
        for line in process.stdout or ():
            sys.stderr.write(line)
            last = [*last, line.strip()][-_LAST:]
        return process.wait(), _why(last)

    def _environment(self) -> Mapping[str, str]:
        """The workspace's packages before the installed ones, as its stages are its own code; no token of the forge."""
        # A model's code and its packages need nothing of the forge: the clone is of this machine.
        inherited = {name: value for name, value in os.environ.items() if name not in TOKENS}
        before = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(self.root)}
        paths = {name: os.pathsep.join(filter(None, (one, os.environ.get(name)))) for name, one in before.items()}
        return {**inherited, **paths, "OMP_NUM_THREADS": "1"}


def _why(lines: list[str]) -> str:
    """The last line that names an error, else the last that is not empty."""
    told = [line for line in lines if line]
    named = [line for line in told if line.lower().startswith("error")]
    return (named or told or ["it said nothing"])[-1][:300]


def prepare(repository: Repository, attempt: Attempt, main: str, files: Mapping[str, bytes]) -> Workspace:
    """The attempt's workspace: as it stands where it is this attempt's, else made anew. Raises GitError.

    `files` are those kept of the attempt; its params.yaml and dvc.lock replace the commit's.
    """
    root = repository.root / TREE
    state = root / _STATE
    if not state.is_file() or state.read_text() != attempt.key + attempt.base:
        remove(root)
        clone(repository, root, attempt.base)
        state.write_text(attempt.key + attempt.base)
    _point(repository, root, main)
    _configure_dvc(repository.root, root)
    for name in (PARAMS, LOCK):
        if name in files:
            (root / name).write_bytes(files[name])
    return Workspace(root)


def clone(repository: Repository, root: Path, commit: str) -> None:
    """The commit checked out, sharing this clone's objects; both forget each other's branches."""
    root.parent.mkdir(parents=True, exist_ok=True)
    source = str(repository.root.resolve())
    repository.raw("clone", "--quiet", "--shared", "--no-checkout", "--no-tags", source, str(root))
    inside = Repository(root, repository.branch, repository.name)
    address = repository.run("remote", "get-url", REMOTE)
    if address.returncode == 0:
        inside.raw("remote", "set-url", REMOTE, address.stdout.decode().strip())
    inside.raw("checkout", "--quiet", "--detach", commit)
    exclude = root / ".git/info/exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text(f"/{_STATE}\n")


def _point(repository: Repository, root: Path, main: str) -> None:
    """What the gates take for main: production is what that commit says."""
    inside = Repository(root, repository.branch, repository.name)
    inside.raw("update-ref", f"refs/remotes/{REMOTE}/{repository.branch}", main)


def _configure_dvc(here: Path, there: Path) -> None:
    """Cache and remotes of this checkout, which it may name relative to itself, and its secrets."""
    from dvc.repo import Repo

    written = configparser.ConfigParser(interpolation=None)
    with Repo(str(here)) as repo:
        written["cache"] = {"dir": str(cache_of(repo))}
        written["core"] = {"remote": str(repo.config["core"].get("remote", ""))}
        for name, remote in repo.config["remote"].items():
            written[f"'remote \"{name}\"'"] = {key: _text(value) for key, value in remote.items()}
    path = there / ".dvc/config.local"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        written.write(file)


def cache_of(repo: Any) -> Path:
    """Where a DVC repository keeps what stages make on this machine."""
    return Path(repo.cache.local.path).parents[1]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_remote(root: Path) -> None:
    """Raise UnavailableError where DVC's default remote does not answer, which is no fault of the attempt."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        name = repo.config["core"].get("remote", "")
        try:
            remote = repo.cloud.get_remote_odb(name or None)
            remote.fs.exists(remote.path)
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UnavailableError(
                f"DVC remote {name!r} does not answer ({why[:200]}); the attempt goes on once it does"
            ) from error
