import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import fork, gitea
from infra.local.components import PROJECT
from infra.local.gitea import Person
from pipeline.config import read_settings

REPOSITORY = "http://127.0.0.1:3001/flightline/flightline"


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fork") / "fork"
    fork.make(root, uncommitted=True)
    fork.settle(root, REPOSITORY, owner="reviewer", key="a public key\n")
    fork.use_store(root, "http://127.0.0.1:3002")
    fork.commit(root, "Settings")
    return root


def test_fork_starts_from_what_is_committed_here(settled: Path) -> None:
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=PROJECT, text=True).strip()
    assert fork.git(settled, "rev-parse", "HEAD~2") == head
    assert fork.git(settled, "branch", "--show-current") == "main"
    assert fork.git(settled, "remote") == ""


def test_fork_has_settings_of_its_own_everywhere(settled: Path) -> None:
    settings = read_settings(settled)
    assert (settings.repository, settings.registry, settings.owners) == (REPOSITORY, fork.REGISTRY, ("@reviewer",))
    assert settings.signing
    assert (settings.signing.key, settings.signing.identity) == (fork.KEY, "")
    assert (settled / fork.KEY).read_text() == "a public key\n"
    assert "@reviewer" in (settled / ".github/CODEOWNERS").read_text()
    fork.flightline(settled, "settings", "check")


def test_fork_without_a_key_signs_nothing(tmp_path: Path) -> None:
    fork.make(tmp_path / "fork", uncommitted=True)
    fork.settle(tmp_path / "fork", REPOSITORY)
    assert read_settings(tmp_path / "fork").signing is None
    assert not (tmp_path / "fork" / fork.KEY).exists()
    fork.flightline(tmp_path / "fork", "settings", "check")


def test_trusted_remote_is_the_store_and_the_other_stays(settled: Path) -> None:
    dvc = Path(sys.executable).with_name("dvc")
    wide = {**os.environ, "COLUMNS": "1000"}  # a line that is too long for the terminal is folded
    listed = subprocess.check_output([dvc, "remote", "list"], cwd=settled, text=True, env=wide).splitlines()
    remotes = dict(line.split()[:2] for line in listed)
    assert remotes == {"trusted": "http://127.0.0.1:3002", "work": str(settled / ".remotes/work")}


def test_nothing_that_is_an_input_of_the_model_is_changed(settled: Path) -> None:
    changed = set(fork.git(settled, "diff", "--name-only", "HEAD~1").splitlines())
    assert not {path for path in changed if path.startswith(("model/", "pipeline/", "serving/", "requirements/"))}
    assert "dvc.yaml" not in changed
    assert "dvc.lock" not in changed


def test_password_is_in_no_argument() -> None:
    environment = fork.authorized(Person("developer", "s3cret"))
    assert environment["GIT_CONFIG_KEY_0"] == f"http.{gitea.ADDRESS}/.extraHeader"
    assert base64.b64decode(environment["GIT_CONFIG_VALUE_0"].rpartition(" ")[2]) == b"developer:s3cret"
