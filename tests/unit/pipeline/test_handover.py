"""From the job that trains to the job that may write: everything that is sound arrives, and nothing else does."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import handover
from pipeline.delivery.models import DeliveryError
from pipeline.dvcfiles import md5
from pipeline.errors import UnavailableError
from tests import verdicts
from tests.deliveries import configure
from tests.keys import done

PROJECT = Path(__file__).resolve().parents[3]
FILES = {
    "pyproject.toml": (PROJECT / "pyproject.toml").read_text(),
    "one.txt": "1\n",
    ".gitignore": "/build/\n",
    "dvc.yaml": yaml.safe_dump(
        {
            "stages": {
                "rows": {
                    "cmd": "mkdir -p build/rows && cp one.txt build/rows/a && echo b > build/rows/b",
                    "deps": ["one.txt"],
                    "outs": ["build/rows"],
                },
                "bundle": {
                    "cmd": "cp build/rows/a build/bundle",
                    "deps": ["build/rows"],
                    "outs": ["build/bundle"],
                },
            }
        }
    ),
}
OBJECTS = 3  # a folder, its two files; the bundle is one of these


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that trained, and its remote, which has nothing yet."""
    folder = tmp_path_factory.mktemp("original")
    root = folder / "trained"
    root.mkdir()
    run(root, "git", "init", "-q", "-b", "main")
    configure(root)
    for name, text in FILES.items():
        (root / name).write_text(text)
    run(root, "dvc", "init", "-q")
    run(root, "dvc", "remote", "add", "-q", "-d", "trusted", "../../remote")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "sources")
    run(root, "dvc", "repro", "-q")
    (folder / "remote").mkdir()
    return folder


@pytest.fixture
def trained(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "all", symlinks=True)
    return tmp_path / "all/trained"


@pytest.fixture
def clean(trained: Path) -> Path:
    """The same commit in another job: nothing that was made is there."""
    run(trained.parent, "git", "clone", "-q", "trained", "clean")
    return trained.parent / "clean"


@pytest.fixture
def given(trained: Path) -> Path:
    handover.give(trained, trained / "build/trained")
    return trained / "build/trained"


def run(root: Path, *words: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout


def listing(given: Path) -> Path:
    (found,) = given.rglob("*.dir")
    return found


def put(given: Path, content: bytes, suffix: str = "") -> str:
    """Another file of the cache, under the name it has to have."""
    name = md5(content) + suffix
    path = given / "files/md5" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return name


def test_what_was_trained_reaches_the_remote_and_is_restored_from_there(
    trained: Path, given: Path, clean: Path
) -> None:
    assert len([path for path in given.rglob("*") if path.is_file()]) == OBJECTS + 1
    handover.receive(clean, given)
    assert (clean / "dvc.lock").read_bytes() == (trained / "dvc.lock").read_bytes()
    run(clean, "dvc", "push", "-q")
    shutil.rmtree(clean / ".dvc/cache")
    handover.restore(clean)
    assert (clean / "build/bundle").read_text() == "1\n"
    assert (clean / "build/rows/b").read_text() == "b\n"


def test_it_is_taken_and_restored_without_the_model_s_code(trained: Path, given: Path, clean: Path) -> None:
    """What is imported beside keys is run beside keys."""
    shutil.move(given, clean / "build/trained")
    done(clean, "ci", "receive", "build/trained")
    run(clean, "dvc", "push", "-q")
    shutil.rmtree(clean / ".dvc/cache")
    done(clean, "ci", "restore", "build/bundle")
    assert (clean / "build/bundle").read_text() == "1\n"


def test_where_the_remote_has_everything_the_lock_goes_alone(trained: Path, clean: Path) -> None:
    run(trained, "dvc", "push", "-q")
    handover.give(trained, trained / "build/trained")
    assert [path.name for path in (trained / "build/trained").rglob("*")] == ["dvc.lock"]
    handover.receive(clean, trained / "build/trained")


def test_what_the_gates_said_goes_along(trained: Path, clean: Path) -> None:
    said = verdicts.verdict()
    (trained / "build/verdict.json").write_text(said.model_dump_json())
    handover.give(trained, trained / "build/trained")
    handover.receive(clean, trained / "build/trained")
    assert json.loads((clean / "build/verdict.json").read_text()) == json.loads(said.model_dump_json())


@pytest.mark.parametrize("text", ["", "[]", '{"decision": "pass"}', " " * (handover.MOST_OF_VERDICT + 1)])
def test_a_verdict_that_is_none_is_refused_with_all_that_came_with_it(given: Path, clean: Path, text: str) -> None:
    (given / "verdict.json").write_text(text)
    with pytest.raises(DeliveryError, match="no verdict of this version"):
        handover.receive(clean, given)
    assert not (clean / "dvc.lock").exists()
    assert not (clean / "build").exists()


def test_a_file_that_is_not_what_it_is_called_is_refused(given: Path, clean: Path) -> None:
    next(path for path in given.rglob("*") if path.is_file() and path.parent != given).write_text("other")
    with pytest.raises(DeliveryError, match="its content has the hash"):
        handover.receive(clean, given)
    assert not (clean / "dvc.lock").exists()
    assert not (clean / ".dvc/cache").exists()


def test_an_out_that_is_nowhere_is_refused(given: Path, clean: Path) -> None:
    gone = md5(b"b\n")
    (given / "files/md5" / gone[:2] / gone[2:]).unlink()
    with pytest.raises(DeliveryError, match=f"names {gone}, neither here nor in the remote"):
        handover.receive(clean, given)


@pytest.mark.parametrize("name", ["pipeline/cli.py", "files/md5/ab/c", ".git/config", "files/md5/../../x"])
def test_only_files_of_the_cache_are_taken(given: Path, clean: Path, name: str) -> None:
    path = given / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("evil")
    with pytest.raises(DeliveryError, match="not a file of DVC's cache"):
        handover.receive(clean, given)


def test_a_link_is_not_followed(given: Path, clean: Path) -> None:
    (given / "files/md5/aa").symlink_to("/etc")
    with pytest.raises(DeliveryError, match="neither a file nor a folder"):
        handover.receive(clean, given)


@pytest.mark.parametrize("path", ["../../pipeline/cli.py", "/etc/passwd", "a/../../b", "..\\b", "", "."])
def test_a_folders_list_stays_in_its_folder(given: Path, clean: Path, path: str) -> None:
    """`dvc pull` would write there, in a job that holds keys."""
    put(given, json.dumps([{"md5": md5(b"b\n"), "relpath": path}]).encode(), ".dir")
    with pytest.raises(DeliveryError, match="names a path outside its folder"):
        handover.receive(clean, given)


@pytest.mark.parametrize("content", [b"no list", b"3", b"{", b"\xff"])
def test_a_folders_list_is_a_list(given: Path, clean: Path, content: bytes) -> None:
    put(given, content, ".dir")
    with pytest.raises(DeliveryError, match="not a folder's list"):
        handover.receive(clean, given)


Edit = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda lock: lock["stages"]["rows"]["deps"][0].update(md5="0" * 32), "does not answer for one.txt at"),
        (lambda lock: lock["stages"].pop("bundle"), "does not answer for stage bundle"),
        (lambda lock: lock["stages"]["rows"].update(cmd="curl"), "does not answer for the command of stage rows"),
        (lambda lock: lock["stages"]["rows"]["outs"][0].update(files=[]), "outs of stage rows are not as"),
        (lambda lock: lock["stages"]["rows"]["outs"][0].update(hash="etag"), "outs of stage rows are not as"),
        (lambda lock: lock["stages"]["rows"]["outs"][0].update(md5="../x"), "outs of stage rows are not as"),
        (lambda lock: lock.update(datasets=[]), "has more than schema and stages"),
    ],
)
def test_a_lock_of_something_else_is_refused(given: Path, clean: Path, edit: Edit, said: str) -> None:
    lock = yaml.safe_load((given / "dvc.lock").read_text())
    edit(lock)
    (given / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(DeliveryError, match=said):
        handover.receive(clean, given)
    assert not (clean / "dvc.lock").exists()


def test_a_lock_that_is_missing_or_huge_is_refused(given: Path, clean: Path) -> None:
    (given / "dvc.lock").write_bytes(b"#" * (handover.MOST_OF_LOCK + 1))
    with pytest.raises(DeliveryError, match="not there, or larger than 1 MiB"):
        handover.receive(clean, given)
    (given / "dvc.lock").unlink()
    with pytest.raises(DeliveryError, match="not there, or larger than 1 MiB"):
        handover.receive(clean, given)


def test_there_is_a_bound(given: Path, clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_FILES", OBJECTS)
    with pytest.raises(DeliveryError, match=f"more than {OBJECTS} files"):
        handover.receive(clean, given)


def test_outs_that_are_named_are_restored_alone(trained: Path, given: Path, clean: Path) -> None:
    handover.receive(clean, given)
    handover.restore(clean, ["build/bundle"])
    assert (clean / "build/bundle").is_file()
    assert not (clean / "build/rows").exists()
    with pytest.raises(UnavailableError):
        handover.restore(clean, ["build/nothing"])


def test_restoring_never_runs_a_stage(trained: Path, clean: Path) -> None:
    """Not where the lock answers and the remote lacks everything, and not where it does not answer."""
    with pytest.raises(DeliveryError, match="does not answer for stage bundle, stage rows at"):
        handover.restore(clean)
    shutil.copyfile(trained / "dvc.lock", clean / "dvc.lock")
    with pytest.raises(UnavailableError, match="is restored here and never made"):
        handover.restore(clean)
    assert not (clean / "build/rows").exists()
