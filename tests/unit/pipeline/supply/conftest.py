from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.supply.cosign import Cosign
from tests import supply


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> supply.Keys:
    return supply.make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def cosign() -> Cosign:
    return supply.cosign()


@pytest.fixture
def shop(tmp_path: Path, keys: supply.Keys, monkeypatch: pytest.MonkeyPatch) -> Iterator[supply.Shop]:
    """Everything that signing needs, the private key in the environment."""
    supply.as_signer(monkeypatch, keys)
    with supply.shop(tmp_path, keys) as made:
        yield made
