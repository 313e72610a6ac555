from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import bundles
from tests.servers import Running, running


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle, sealed. Tests only read it."""
    path = tmp_path_factory.mktemp("toy") / "bundle"
    bundles.write(path)
    return path


@pytest.fixture(scope="session")
def server(toy: Path) -> Iterator[Running]:
    """One real server for the tests that only ask it things."""
    with running(toy) as server:
        yield server
        assert "failed" not in server.errors, server.errors
