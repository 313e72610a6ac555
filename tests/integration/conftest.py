"""A checkout that has been reproduced once, for all tests that start from there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkouts import Checkout, checkout


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
