"""A copy of what `make validate` reads, with few enough components to render quickly."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import Settings, read_settings
from pipeline.validate import renders

PROJECT = Path(__file__).resolve().parents[4]
READ = ("k8s", "argocd", "infra/schemas", ".github", "pyproject.toml", "Dockerfile", "SECURITY.md")
LEFT_OUT = ("gateway-api", "grafana", "prometheus-operator", "traefik")

Edit = Callable[[str, str, str], None]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in READ:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, root / name)
    for name in LEFT_OUT:
        shutil.rmtree(root / "k8s/components" / name)
    (root / ".venv-scan").symlink_to(PROJECT / ".venv-scan")
    return root


@pytest.fixture
def edit(tree: Path) -> Edit:
    """Replace text in a file of the tree; what is replaced has to be there."""

    def change(name: str, old: str, new: str) -> None:
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new))

    return change


@pytest.fixture
def settings(tree: Path) -> Settings:
    return read_settings(tree)


@pytest.fixture
def rendered(tree: Path, settings: Settings, tmp_path: Path) -> Callable[[], renders.Rendered]:
    """Renders the tree as it is when called."""
    return lambda: renders.render(tree, settings, tmp_path / "scratch")
