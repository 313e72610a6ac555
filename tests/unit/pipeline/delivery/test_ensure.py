from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import builders, image, oci
from pipeline.context import Context
from pipeline.delivery import ensure as ensuring
from pipeline.delivery.candidate import BASE_LABEL, BASE_NAME_LABEL
from pipeline.oci import ImageError, Layout
from pipeline.registry import Registry
from tests import images
from tests.deliveries import BASE, Fork, fork, say


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with images.registry(tmp_path / "server") as address:
        yield address


@pytest.fixture
def made(tmp_path: Path, host: str) -> Fork:
    """A fork whose registry is a real one, with a release whose code image is in it."""
    found = fork(tmp_path / "fork")
    path = found.root / "pyproject.toml"
    lines = [
        f'registry = "{host}/fork"' if one.startswith("registry") else one for one in path.read_text().splitlines()
    ]
    found.commit("our registry", {"pyproject.toml": "\n".join(lines) + "\n"})
    found.train(0.1)
    return found


def code(made: Fork, base_name: str = "docker.io/library/python") -> str:
    """A code image of the fork's sources, in its registry, by digest."""
    labels = {
        builders.INPUTS_LABEL: builders.inputs(made.root, builders.Base("", BASE)),
        BASE_LABEL: BASE,
        BASE_NAME_LABEL: base_name,
    }
    images.write_code(made.root / "build/code", Labels=labels)
    host, _, name = made.context.settings.registry.partition("/")
    found = oci.read(Layout(made.root / "build/code"), "")
    oci.copy(found, Layout(made.root / "build/code"), Registry(host, name))
    return f"{made.context.settings.registry}@{found.manifest.descriptor.digest}"


def released(made: Fork, base_name: str = "docker.io/library/python") -> str:
    """The code image that staging's release names."""
    reference = code(made, base_name)
    appended = image.append(reference, made.root / "build/bundle", made.context.settings.registry)
    outcome = made.release(reference=appended.reference)
    assert outcome.outcome == "pushed", outcome.text
    made.pull()
    return reference


def no_builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which whatever is built fails: nothing of a builder is on PATH but git."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_a_new_model_goes_on_the_code_image_that_is_released(
    made: Fork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = released(made)
    version = made.train(0.2)
    no_builder(monkeypatch, tmp_path)
    found = ensuring.ensure(Context(made.root), f"docker.io/library/python@{BASE}", say)
    assert found.code == reference
    assert found.image.bundle == version
    assert image.inspect(found.image.reference) == found.image


def test_once_more_is_the_same_image(made: Fork) -> None:
    released(made)
    first, second = (ensuring.ensure(Context(made.root), f"x@{BASE}", say).image for _ in range(2))
    assert first == second


def test_any_base_made_locally_is_local(made: Fork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = released(made, base_name="local")
    no_builder(monkeypatch, tmp_path)
    assert ensuring.ensure(Context(made.root), "local", say).code == reference


@pytest.mark.parametrize("change", ["source", "base", "gone"])
def test_other_code_another_base_or_no_image_is_built(
    made: Fork, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(made)
    digest = BASE
    if change == "source":
        made.commit("serve otherwise", {"serving/server.py": "# other\n"})
    elif change == "base":
        digest = f"sha256:{'9' * 64}"
    else:
        for stored in (tmp_path / "server").rglob("revisions/sha256/*"):
            (stored / "link").unlink()
    no_builder(monkeypatch, tmp_path)
    with pytest.raises(ImageError, match="no image builder answers"):
        ensuring.ensure(Context(made.root), f"docker.io/library/python@{digest}", say)
