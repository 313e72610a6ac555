"""A checkout of this project in a folder of its own, for tests that run it as a user does."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
# What a fork keeps, by folder; docs/your-own-model.md says to replace or delete all else there.
KEPT_BY_A_FORK = {"model": {"contract.py", "splits.py"}, "tests/unit/model": {"__init__.py", "test_splits.py"}}
_IDENTITY = {"GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.com"}


@dataclass(frozen=True)
class Checkout:
    """A copy of the project's files under `root`, in a repository of its own whose main has one commit."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The test's environment, with this copy's packages before the installed ones."""
        scripts = Path(sys.executable).parent
        mine = {"PYTHONPATH": str(self.root), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
        return {
            **os.environ,
            **_IDENTITY,
            **{k.replace("AUTHOR", "COMMITTER"): v for k, v in _IDENTITY.items()},
            **mine,
        }

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command at the top of the copy; what it printed is in the error where it fails."""
        done = subprocess.run(
            command, cwd=self.root, env={**self.environment, **environment}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own; the caller ends it."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill_once(self, said: str, *command: str, there: str = "", **environment: str) -> None:
        """Start a command, and kill -9 all of it once it has said so, and `there`, where given, is a file."""
        process = self.start(*command, **environment)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if said in line:
                break
        else:
            raise AssertionError(f"it never said {said!r}:\n{''.join(lines)}")
        while there and not (self.root / there).exists():
            assert process.poll() is None, f"it ended without {there}"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def edit_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change params.yaml as its parsed document."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def set_params(self, sections: Mapping[str, Any]) -> None:
        """Replace whole sections of params.yaml."""
        self.edit_params(lambda document: document.update(sections))

    def commit(self, message: str) -> None:
        """Commit everything there is."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def fork(self, folder: Path) -> None:
        """Swap model/ as documented: keep the contract, replace the rest, bring one's own sections of params.yaml."""
        for name, kept in KEPT_BY_A_FORK.items():
            for path in (self.root / name).iterdir():
                if path.name not in kept:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in folder.glob("*.py"):
            shutil.copy(path, self.root / "model")
        self.set_params(yaml.safe_load((folder / "params.yaml").read_text()))
        self.commit("our own model")


def checkout(root: Path) -> Checkout:
    """Copy the project's files, as they are now, and commit them to main."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, root / name)
    made = Checkout(root)
    made.run("git", "init", "-q", "-b", "main")
    made.commit("the template")
    return made
