from pathlib import Path

import pytest

from serving.bundle import load
from serving.scoring import Scorer
from serving.settings import Settings
from tests import bundles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A toy bundle, sealed."""
    bundles.write(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def scorer(path: Path) -> Scorer:
    return Scorer(load(path), Settings())
