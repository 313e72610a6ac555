"""dvc.yaml against the code: a stage depends on whatever it imports, or DVC would skip it when that changes."""

import ast
from pathlib import Path

import pytest
import yaml

from pipeline.stages.bundle import CODE

PROJECT = Path(__file__).resolve().parents[2]
# What cannot change a bundle: names of files, and sentences about faults.
HARMLESS = {"pipeline/paths.py", "pipeline/errors.py"}
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]


def imported(path: Path) -> set[Path]:
    """Our own modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        else:
            continue
        found |= {PROJECT / f"{name.replace('.', '/')}.py" for name in names}
    return {each for each in found if each.is_file()}


def closure(path: Path) -> set[str]:
    """Every module of ours that a file needs, itself among them, by its path in the repository."""
    seen: set[Path] = set()
    waiting = {path}
    while waiting:
        one = waiting.pop()
        seen.add(one)
        waiting |= {each for each in imported(one) if relative(each) not in HARMLESS} - seen
    return {relative(each) for each in seen}


def relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def covered(name: str, by: list[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in by)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stage_depends_on_all_it_imports(stage: str) -> None:
    needed = closure(PROJECT / f"pipeline/stages/{stage}.py")
    assert not [name for name in sorted(needed) if not covered(name, STAGES[stage]["deps"])]


def test_code_in_the_bundles_hash_is_all_that_any_stage_imports() -> None:
    needed = set().union(*(closure(PROJECT / f"pipeline/stages/{stage}.py") for stage in STAGES))
    assert not [name for name in sorted(needed) if not covered(name, list(CODE))]


def test_every_dependency_is_there() -> None:
    for stage in STAGES.values():
        assert not [name for name in stage["deps"] if not name.startswith("build/") and not (PROJECT / name).exists()]
