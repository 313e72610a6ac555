import shutil
from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.errors import UnavailableError
from pipeline.validate import sources
from tests.unit.pipeline.validate.conftest import PROJECT


def files(root: Path) -> dict[str, bytes]:
    folder = root / sources.FOLDER
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(root: Path) -> int:
    """Without a network: where the modules are not in Go's cache there is nothing to compare with."""
    try:
        return sources.write(root, lambda _: None)
    except UnavailableError as error:
        pytest.skip(f"run `flightline schemas` once to have the modules: {error}")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOPROXY", "off")
    shutil.copytree(PROJECT / sources.FOLDER, tmp_path / sources.FOLDER)
    return tmp_path


def test_the_modules_still_make_the_schemas_that_are_kept(copy: Path) -> None:
    (copy / sources.FOLDER / "v1/service_v1.json").write_text("{}")
    (copy / sources.FOLDER / "stale.example.org").mkdir()
    assert write(copy) == sum(len(source.kinds) for source in sources.read_sources(PROJECT))
    assert files(copy) == files(PROJECT)


def test_a_kind_that_its_module_does_not_state_is_named(copy: Path) -> None:
    path = copy / sources.SOURCES
    path.write_text(path.read_text().replace("argoproj.io/v1alpha1/Rollout", "argoproj.io/v1alpha1/Rollot"))
    with pytest.raises(ConfigError, match=r"argo-rollouts v1\.9\.1 does not state argoproj\.io/v1alpha1/Rollot"):
        write(copy)
    assert (copy / sources.FOLDER / "v1/service_v1.json").exists()


def test_a_kind_of_kubernetes_that_does_not_exist_is_named(copy: Path) -> None:
    path = copy / sources.SOURCES
    path.write_text(path.read_text().replace("v1/ConfigMap", "v1/ConfigMapp"))
    with pytest.raises(ConfigError, match="v1/ConfigMapp"):
        write(copy)


@pytest.mark.parametrize(
    ("kind", "file"),
    [("v1/Service", "v1/service_v1.json"), ("batch/v1/CronJob", "batch/cronjob_v1.json")],
)
def test_a_schema_is_where_kubeconform_looks_for_it(kind: str, file: str) -> None:
    assert sources.file_of(kind) == file
