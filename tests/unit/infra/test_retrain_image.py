"""The training image's entry point: main's own code, whatever main is now, on packages that are main's."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline import builders
from tests.deliveries import Fork, configure

PROJECT = Path(__file__).resolve().parents[3]
LOCKS = {f"requirements/{one}.txt": f"{one}==1\n" for one in builders.TRAINED}
SERVED = ["log-sink", "labels", "observer", "expire"]
TELL = '#!/bin/sh\necho "$(cat "${PYTHONPATH%%:*}/said.txt") $*"\n'


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    """A main with the locks and a word, an image with the same locks, and a `flightline` that says the word."""
    remote, root, app = tmp_path / "remote.git", tmp_path / "clone", tmp_path / "app"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    subprocess.run(["git", "remote", "add", "origin", str(remote)], cwd=root, check=True)
    configure(root)
    made = Fork(root, remote)
    made.commit("first", {**LOCKS, "said.txt": "one\n", ".dvc/config": ""})
    (app / "requirements").mkdir(parents=True)
    for name, text in LOCKS.items():
        (app / name).write_text(text)
    (tmp_path / "flightline").write_text(TELL)
    (tmp_path / "flightline").chmod(0o755)
    return made


def entered(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {
        "FLIGHTLINE_WORK": str(tmp_path / "kept"),
        "FLIGHTLINE_APP": str(tmp_path / "app"),
        "FLIGHTLINE_REPOSITORY": str(tmp_path / "remote.git"),
        "FLIGHTLINE_BRANCH": "main",
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        **environment,
    }
    script = str(PROJECT / "infra/images/retrain.sh")
    return subprocess.run([script, *words], env={**os.environ, **told}, capture_output=True, text=True, check=False)


def test_main_is_cloned_once_and_brought_up_to_date_each_time(fork: Fork, tmp_path: Path) -> None:
    assert entered(tmp_path, "retrain", "--step", "decide").stdout == "one retrain --step decide\n"
    fork.commit("second", {"said.txt": "two\n"})
    (tmp_path / "kept/main/said.txt").write_text("changed here\n")
    assert entered(tmp_path, "retrain").stdout == "two retrain\n"


def test_clone_that_was_cut_short_is_made_anew(fork: Fork, tmp_path: Path) -> None:
    (tmp_path / "kept/arriving/.git").mkdir(parents=True)
    assert entered(tmp_path).stdout == "one \n"


def words(path: str) -> list[list[str]]:
    """What each container of a manifest is started with."""

    def found(value: object) -> list[list[str]]:
        if isinstance(value, dict):
            own = [value["args"]] if "args" in value else []
            return own + [words for one in value.values() for words in found(one)]
        return [words for one in value for words in found(one)] if isinstance(value, list) else []

    return [args for one in yaml.safe_load_all((PROJECT / path).read_text()) for args in found(one)]


@pytest.mark.parametrize("name", SERVED)
def test_what_takes_log_and_labels_goes_on_with_the_packages_it_has(fork: Fork, tmp_path: Path, name: str) -> None:
    fork.commit("newer packages", {"requirements/train.txt": "train==2\n", "requirements/gate.txt": "gate==2\n"})
    (args,) = words(f"k8s/monitoring/{name}.yaml")
    done = entered(tmp_path, *args)
    assert (done.returncode, done.stdout) == (0, f"one {' '.join(args)}\n")
    assert [line.partition(" of main")[0].split("than ")[-1] for line in done.stderr.splitlines()] == [
        "requirements/train.txt",
        "requirements/gate.txt",
    ]
    assert done.stderr.startswith("warning: ")
    assert "flightline retraining image --pin" in done.stderr


@pytest.mark.parametrize("args", [[], *words("k8s/retraining/job/cronjob.yaml")], ids=" ".join)
def test_retraining_on_other_packages_is_refused_with_the_fix(fork: Fork, tmp_path: Path, args: list[str]) -> None:
    fork.commit("newer packages", {"requirements/gate.txt": "gate==2\n"})
    done = entered(tmp_path, *args)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("error: ")
    assert "requirements/gate.txt" in done.stderr
    assert "flightline retraining image --pin" in done.stderr


def test_dvc_needs_no_account_and_nothing_of_a_read_only_image(fork: Fork, tmp_path: Path) -> None:
    (tmp_path / "flightline").write_text('#!/bin/sh\necho "$USER $DVC_SITE_CACHE_DIR"\n')
    (tmp_path / "flightline").chmod(0o755)
    assert entered(tmp_path, USER="").stdout == f"retraining {tmp_path}/kept/dvc\n"


def test_secret_lines_of_dvc_are_for_their_owner_alone(fork: Fork, tmp_path: Path) -> None:
    entered(tmp_path, FLIGHTLINE_DVC_LOCAL="[core]\n    remote = work")
    path = tmp_path / "kept/main/.dvc/config.local"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("[core]\n    remote = work\n", 0o600)


def test_builder_is_given_the_sources_of_the_training_image_alone(tmp_path: Path) -> None:
    given = builders.context(PROJECT, builders.TRAINING, tmp_path)
    found = {path.relative_to(given).as_posix() for path in given.rglob("*") if path.is_file()}
    assert found <= set(builders.TRAINING.sources)
    assert {"infra/images/training.Dockerfile", "infra/images/retrain.sh", "requirements/train.txt"} <= found
