"""The tree is the architecture: imports flow one way, and what two places must agree on is held together here."""

import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.config import read_settings
from pipeline.dvcfiles import dvc_hash, md5
from tests.checkouts import KEPT_BY_A_FORK

PROJECT = Path(__file__).resolve().parents[2]
# Who may import whom. The pipeline scores with what serves, so that nothing is encoded twice.
ALLOWED = {
    "infra": {"infra", "pipeline"},
    "model": {"model"},
    "pipeline": {"model", "pipeline", "serving"},
    "serving": {"serving"},
}
# There is one command line, and the local cluster has its verbs there; nothing else of the pipeline knows it.
ALSO = {f"pipeline/cli_{one}.py": {"infra"} for one in ("cluster", "demo", "forge")}
NOT_TO_TEST = ("bench", *sorted(ALLOWED))
OURS = {"model", "pipeline", "serving", "tests", "bench", "infra"}
NOT_TO_SERVE = {"sklearn", "pandas", "pydantic", "dvc", "mlflow", "skl2onnx", "onnx"}


def modules(package: str) -> Iterator[tuple[Path, set[str]]]:
    """Every file of a package with the top-level names it imports."""
    for path in sorted((PROJECT / package).rglob("*.py")):
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                found.add((node.module or "").split(".")[0])
        yield path, found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_flow_one_way(package: str) -> None:
    for path, imported in modules(package):
        name = path.relative_to(PROJECT).as_posix()
        wrong = (imported & OURS) - ALLOWED[package] - ALSO.get(name, set())
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_only_tests_that_a_fork_deletes_import_what_it_replaces() -> None:
    kept = {"model", *(f"model.{Path(name).stem}" for name in KEPT_BY_A_FORK["model"])}
    example = {f"model.{path.stem}" for path in (PROJECT / "model").glob("*.py")} - kept
    for path in sorted((PROJECT / "tests").rglob("*.py")):
        name = path.relative_to(PROJECT)
        deleted = name.parent.as_posix() == "tests/unit/model" and name.name not in KEPT_BY_A_FORK["tests/unit/model"]
        if not deleted and "forks" not in name.parts:
            assert not example & full_names(path), name


def full_names(path: Path) -> set[str]:
    """Every module that a file may import, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


@pytest.mark.parametrize(
    "names", [sorted(KEPT_BY_A_FORK["model"]), pytest.param([""], marks=pytest.mark.flights)], ids=["kept", "example"]
)
def test_what_ships_in_model_is_annotated_and_documented_as_the_rest_is(names: list[str]) -> None:
    """Of a fork's own files neither is asked, so `make lint` does not see it here."""
    whole = ["ruff", "check", "--config", "lint.per-file-ignores = {}", *(f"model/{name}" for name in names)]
    done = subprocess.run([sys.executable, "-m", *whole], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", NOT_TO_TEST)
def test_nothing_but_tests_imports_from_tests(folder: str) -> None:
    found = list(modules(folder))
    assert found
    for path, imported in found:
        assert not imported & {"tests", "conftest"}, path


def test_lock_of_the_stages_names_the_files_that_are_here() -> None:
    """A stale dvc.lock trains anew in every clone, and then says that the committed bundle came from elsewhere."""
    lock = yaml.safe_load((PROJECT / "dvc.lock").read_text())
    depended = {dep["path"]: dep["md5"] for stage in lock["stages"].values() for dep in stage["deps"]}
    tracked = {path: said for path, said in depended.items() if not path.startswith("build/")}
    assert tracked
    stale = sorted(path for path, said in tracked.items() if _dvc_hash(PROJECT / path) != said)
    assert not stale, f"run `dvc repro` and commit dvc.lock; changed since: {', '.join(stale)}"


def _dvc_hash(path: Path) -> str:
    """What DVC calls a file or folder, without what .dvcignore leaves out."""
    if path.is_file():
        return md5(path.read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        ignored = (PROJECT / ".dvcignore").read_text().split()
        return dvc_hash(Path(shutil.copytree(path, Path(scratch) / "copy", ignore=shutil.ignore_patterns(*ignored))))


def test_lock_and_stages_depend_on_the_same() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    lock = yaml.safe_load((PROJECT / "dvc.lock").read_text())["stages"]
    assert {name: sorted(stage["deps"]) for name, stage in stages.items()} == {
        name: sorted(dep["path"] for dep in stage["deps"]) for name, stage in lock.items()
    }


def test_serving_needs_none_of_what_trains() -> None:
    for path, imported in modules("serving"):
        assert not imported & NOT_TO_SERVE, path


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_no_pickle_on_any_path(package: str) -> None:
    for path, imported in modules(package):
        assert not imported & {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}, path


def test_every_requirement_is_locked_by_hash_and_names_no_address() -> None:
    for path in sorted((PROJECT / "requirements").glob("*.txt")):
        text = path.read_text()
        requirements = re.findall(r"^[a-z0-9][^\n]*==", text, flags=re.MULTILINE | re.IGNORECASE)
        assert requirements, path
        assert len(re.findall(r"^    --hash=sha256:", text, flags=re.MULTILINE)) >= len(requirements), path
        assert "://" not in text, path


def test_serving_is_locked_to_a_handful_of_packages() -> None:
    locked = re.findall(r"^[a-z0-9-]+==", (PROJECT / "requirements/serve.txt").read_text(), flags=re.MULTILINE)
    assert len(locked) <= 10


def test_one_resolution_holds_every_environment() -> None:
    """A package has the same version wherever it is locked, but among the peers of the benchmarks."""
    everything = _locked("dev")
    for environment in ("train", "gate", "deliver", "serve", "record", "monitor"):
        for name, versions in _locked(environment).items():
            assert versions <= everything[name], f"{environment}: {name}"


def _locked(environment: str) -> dict[str, set[str]]:
    text = (PROJECT / f"requirements/{environment}.txt").read_text()
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ \\;]+)", text, flags=re.MULTILINE):
        found.setdefault(name.lower(), set()).add(version)
    return found


def test_code_owners_are_those_of_the_settings() -> None:
    owners = read_settings(PROJECT).owners
    lines = [line for line in (PROJECT / ".github/CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert lines
    assert all(tuple(line.split()[1:]) == owners for line in lines)


def test_dvc_remotes_are_those_of_the_settings() -> None:
    settings = read_settings(PROJECT)
    config = (PROJECT / ".dvc/config").read_text()
    for remote in (settings.trusted_remote, settings.work_remote):
        assert f'remote "{remote}"' in config
    assert f"remote = {settings.work_remote}\n" in config


def test_make_help_lists_every_target_a_person_types() -> None:
    listed = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for target in "run train gate bundle serve report test lint bench clean doctor".split():
        assert f"make {target} " in listed


def test_stages_of_dvc_are_verbs_of_the_command_line() -> None:
    for name, stage in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].items():
        assert stage["cmd"] == f"flightline {name}"
        assert (PROJECT / f"pipeline/stages/{name}.py").is_file()
