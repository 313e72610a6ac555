import subprocess
from pathlib import Path

import pytest

from pipeline.errors import UnavailableError
from pipeline.validate import scans
from tests.unit.pipeline.validate.conftest import PROJECT

needs_scanners = pytest.mark.skipif(
    not (PROJECT / scans.FOLDER / "pip-audit").exists(),
    reason="`make security` has not installed its scanners here yet",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of its own with the scanners of this one."""
    (tmp_path / ".venv-scan").symlink_to(PROJECT / ".venv-scan")
    (tmp_path / ".gitignore").write_text(".venv-scan\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def track(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    subprocess.run(["git", "add", name], cwd=root, check=True)


@needs_scanners
def test_a_dockerfile_that_hadolint_minds_fails(root: Path) -> None:
    (root / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert any("DL3006" in one for one in scans.dockerfile(root).failures)


@needs_scanners
def test_a_secret_that_is_tracked_is_found_and_not_shown(root: Path) -> None:
    key = "ghp_" + "aB3d" * 9  # put together, or the scan of this repository would find it here
    track(root, "notes.md", f"my token is {key}\n")
    (failure,) = scans.secrets(root).failures
    assert failure.startswith("notes.md:1: ")
    assert key not in failure


@needs_scanners
def test_a_line_may_be_let_pass_by_name(root: Path) -> None:
    key = "ghp_" + "aB3d" * 9  # put together, or the scan of this repository would find it here
    track(root, "test_x.py", f'TOKEN = "{key}"  # pragma: allowlist secret\n')
    assert scans.secrets(root).holds


def test_what_could_not_be_looked_up_has_not_passed() -> None:
    """pip-audit exits 0 where it reaches no database."""
    skipped = [
        {"name": f"p{at}", "skip_reason": "Dependency not found on PyPI and could not be audited"} for at in range(5)
    ]
    (said,) = scans.judged("requirements/dev.txt", {"dependencies": skipped})
    assert said.startswith("requirements/dev.txt: p0, p1, p2 and 2 more could not be audited")
    assert "OFFLINE=1" in said


def test_a_known_fault_names_the_version_that_mends_it() -> None:
    faults = [{"id": "GHSA-1", "fix_versions": ["2.1"]}, {"id": "GHSA-2", "fix_versions": []}]
    report = {
        "dependencies": [{"name": "p", "version": "2.0", "vulns": faults}, {"name": "q", "version": "1", "vulns": []}]
    }
    assert list(scans.judged("x", report)) == [
        "x: p 2.0: GHSA-1; fixed in 2.1",
        "x: p 2.0: GHSA-2; fixed in no version yet",
    ]


@needs_scanners
def test_a_scanner_in_trouble_proves_nothing(root: Path) -> None:
    (root / "requirements").mkdir()
    (root / "requirements/uv.txt").write_text("this is no requirement\n")
    with pytest.raises(UnavailableError, match="pip-audit could not do its work, so nothing is proved"):
        scans.dependencies(root)


def test_a_scanner_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="hadolint is not there; `make security` installs it"):
        scans.dockerfile(tmp_path)
