"""What the local cluster needs is installed wherever it is to run."""

from pathlib import Path

import pytest

from infra.doctor import PACKAGES

PROJECT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("file", [".ci/run", "docs/local-cluster.md"])
def test_every_package_is_named_where_people_and_ci_install_them(file: str) -> None:
    words = (PROJECT / file).read_text().replace("`", " ").split()
    assert not set(PACKAGES.values()) - set(words)
