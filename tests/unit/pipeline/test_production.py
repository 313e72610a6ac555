"""A process that outlives a release hears of the next one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import production
from pipeline.context import Context
from pipeline.errors import GitError
from tests.deliveries import configure

PROJECT = Path(__file__).resolve().parents[3]


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def commit(root: Path) -> str:
    git(root, "commit", "--quiet", "--allow-empty", "--message", "one more")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", made], check=True)
    configure(made)
    shutil.copy(PROJECT / "pyproject.toml", made)
    commit(made)
    return made


def test_what_was_pushed_since_is_main(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(root), "remote.git")
    git(root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(root, "fetch", "--quiet")
    git(tmp_path, "clone", "--quiet", "remote.git", "another")
    configure(tmp_path / "another")
    newer = commit(tmp_path / "another")
    git(tmp_path / "another", "push", "--quiet")
    production.bring_main(Context(root))
    assert git(root, "rev-parse", str(production.main_ref(Context(root)))) == newer


def test_without_a_remote_main_is_here(root: Path) -> None:
    production.bring_main(Context(root))
    assert production.main_ref(Context(root)) == "refs/heads/main"


def test_a_remote_that_is_away_is_named(root: Path) -> None:
    git(root, "remote", "add", "origin", str(root / "nowhere.git"))
    with pytest.raises(GitError, match="nowhere"):
        production.bring_main(Context(root))
