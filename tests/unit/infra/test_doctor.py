"""What the doctor says of a machine, on whatever Python it has."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from infra import doctor

DOCTOR = Path(doctor.__file__)


def said(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A run with nothing on PATH but what is in a folder."""
    command = [sys.executable, str(DOCTOR), *words]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


def program(folder: Path, name: str, prints: str = "", exit_code: int = 0) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{prints}"\nexit {exit_code}\n')
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with no more than what is required."""
    program(tmp_path, "git")
    program(tmp_path, "make")
    return tmp_path


def test_it_is_written_for_a_python_that_is_older_than_the_project() -> None:
    ast.parse(DOCTOR.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize(
    ("prints", "exit_code", "mark"),
    [
        ("go version go1.26.0 linux/amd64", 0, "ok"),
        ("go version go1.30rc1 linux/amd64", 0, "ok"),
        ("go version go2.0 linux/amd64", 0, "ok"),
        ("go version devel go1.27-a1b2c3 linux/amd64", 0, "ok"),
        ("go version go1.9.7 linux/amd64", 0, "absent"),
        ("go version go1.25.9 linux/amd64", 0, "absent"),
        ("something else", 0, "absent"),
        ("go version go1.26.0 linux/amd64", 1, "absent"),
    ],
)
def test_go_is_there_only_if_it_is_new_enough_and_works(bare: Path, prints: str, exit_code: int, mark: str) -> None:
    program(bare, "go", prints, exit_code)
    line = next(line for line in said(bare).stdout.splitlines() if "Go >= 1.26" in line)
    assert line.startswith(f"{mark} ")
    assert ("https://go.dev/dl" in line) is (mark == "absent")


def test_what_is_optional_is_told_and_not_asked_for(bare: Path) -> None:
    found = said(bare)
    assert found.returncode == 0, found.stdout
    line = next(line for line in found.stdout.splitlines() if "cluster's packages" in line)
    assert line.startswith("absent")
    assert "as root, after apt-get install" in line
    assert "containerd" in line
    assert said(bare, "--required").stdout == ""


def test_docker_and_kind_are_enough_for_a_cluster(bare: Path) -> None:
    program(bare, "docker")
    program(bare, "kind")
    line = next(line for line in said(bare).stdout.splitlines() if "cluster's packages" in line)
    assert line.startswith("ok")


def test_what_is_required_and_missing_fails(tmp_path: Path) -> None:
    program(tmp_path, "make")
    found = said(tmp_path, "--required")
    assert found.returncode == 1
    assert found.stdout.startswith("MISSING  git ")
