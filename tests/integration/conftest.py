"""A checkout that has been reproduced once, for all tests that start from there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import deliveries
from tests.checkouts import Checkout, checkout
from tests.deliveries import Fork


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The template after `dvc repro` and a commit of its lock. Not to be changed: take `copy` for that."""
    made = checkout(tmp_path_factory.mktemp("reproduced"))
    made.run("dvc", "repro", OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
    made.commit("the lock")
    return made


@pytest.fixture
def copy(reproduced: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the reproduced checkout, cache and all, to change at will."""
    return _copied(reproduced, tmp_path / "copy")


@pytest.fixture
def copies(reproduced: Checkout, tmp_path: Path) -> Callable[[str], Checkout]:
    """As many copies as a test asks for, by name."""
    return lambda name: _copied(reproduced, tmp_path / name)


def _copied(made: Checkout, root: Path) -> Checkout:
    shutil.copytree(made.root, root, symlinks=True)
    return Checkout(root)


@pytest.fixture(scope="session")
def three_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fork after three releases to staging. Not to be changed: take `three_released` for that."""
    where = tmp_path_factory.mktemp("three-releases")
    made = deliveries.fork(where)
    for bias in (1.0, 2.0, 3.0):
        made.released(bias)
    return where


@pytest.fixture
def three_released(three_releases: Path, tmp_path: Path) -> Fork:
    """A copy of that fork with a remote of its own."""
    shutil.copytree(three_releases, tmp_path / "three", symlinks=True)
    made = Fork(tmp_path / "three/clone", tmp_path / "three/remote.git")
    made.git("remote", "set-url", "origin", str(made.remote))
    return made
