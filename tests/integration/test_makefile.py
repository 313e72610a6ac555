"""The Makefile on a bare machine, in a folder whose name has a space."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Stands for Python: makes an environment slowly and cannot make one where there is one; its pip brings uv, and says so.
SLOW_PYTHON = """#!/bin/sh
case "$*" in
  infra/doctor.py*) ;;
  "-c "*) echo key-of-the-lock ;;
  "-m venv "*)
    for where; do :; done
    mkdir "$where" || exit 1
    sleep 0.5; mkdir "$where/bin"; cp "$0" "$where/bin/python" ;;
  "-m pip "*) echo pip was asked for uv; cp "$0" .venv/bin/uv ;;
esac
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLIGHTLINE_CACHE", str(tmp_path / "a cache"))
    folder = tmp_path / "a project"
    for name in ("requirements", "infra"):
        (folder / name).mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements/train.txt", "requirements/uv.txt", "infra/uv.sh"):
        shutil.copy(PROJECT / name, folder / name)
    python = folder / "python"
    python.write_text(SLOW_PYTHON)
    python.chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock, two at once are not kept apart")
def test_two_first_runs_at_once_make_one_environment(bare: Path) -> None:
    command = ["make", "PYTHON=./python", ".venv/.train"]
    both = [
        subprocess.Popen(command, cwd=bare, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    assert "".join(said).count("pip was asked for uv") == 1
    assert "".join(said).count("--require-hashes -r requirements/train.txt") == 1


def test_what_is_installed_is_not_installed_again_until_its_lock_changes(bare: Path) -> None:
    def made() -> str:
        command = ["make", "PYTHON=./python", ".venv/.train"]
        return subprocess.run(command, cwd=bare, capture_output=True, text=True, check=True).stderr

    assert "pip install" in made()
    assert "pip install" not in made()
    (bare / "requirements/train.txt").touch()
    assert "pip install" in made()


def test_another_clone_finds_the_uv_that_pip_brought_once(bare: Path) -> None:
    def made() -> str:
        shutil.rmtree(bare / ".venv", ignore_errors=True)
        command = ["make", "PYTHON=./python", ".venv/.train"]
        return subprocess.run(command, cwd=bare, capture_output=True, text=True, check=True).stdout

    assert "pip was asked for uv" in made()
    assert "pip was asked for uv" not in made()
    assert (bare / ".venv/.train").is_file()


def test_targets_run_what_the_environment_in_this_folder_holds(bare: Path) -> None:
    (bare / ".venv/bin").mkdir(parents=True)
    tool = bare / ".venv/bin/flightline"
    tool.write_text('#!/bin/sh\necho "ours: $0"\n')
    tool.chmod(0o755)
    shutil.copy(bare / "python", bare / ".venv/bin/uv")
    said = subprocess.run(["make", "PYTHON=./python", "trace"], cwd=bare, capture_output=True, text=True, check=True)
    assert f"ours: {bare}/.venv/bin/flightline" in said.stdout
