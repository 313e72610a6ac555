"""Whether a lock answers for a commit, as git tells it, is what DVC itself says of the checkout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.delivery.answers import answer
from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError
from tests.deliveries import configure

FILES = {
    "dvc.yaml": """
stages:
  rows:
    cmd: mkdir -p build/rows && cat code/*.py > build/rows/a && cp tracked.txt build/rows/b
    deps: [code, tracked.txt]
    params:
      - data.start
      - other.yaml:
    outs: [build/rows]
  fit:
    desc: for people
    cmd: cat build/rows/a > build/model && echo '{}' > build/metrics.json
    deps: [build/rows, one.py]
    params: [estimator]
    outs:
      - build/model: {cache: true}
    metrics:
      - build/metrics.json: {cache: false}
""",
    "params.yaml": "data: {start: '2013-01-01', end: '2013-03-31'}\nestimator: {name: a, C: 0.1, many: [1, 2]}\n",
    "other.yaml": "anything: 1\n",
    "code/a.py": "a = 1\n",
    "code/deep/b.py": "b = 1\n",
    "code/notes.md": "for people\n",
    "code/a b.py": "c = 1\n",
    "one.py": "one = 1\n",
    ".gitignore": "/build/\n",
    ".dvcignore": "*.md\n__pycache__\n",
    "tracked.txt": "data\n",
}


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after `dvc repro` and a commit of its lock."""
    root = tmp_path_factory.mktemp("reproduced")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    run(root, "git", "init", "-q", "-b", "main")
    configure(root)
    run(root, "dvc", "init", "-q")
    (root / ".dvcignore").write_text(FILES[".dvcignore"])
    run(root, "dvc", "add", "-q", "tracked.txt")
    run(root, "dvc", "repro", "-q")
    commit(root)
    return root


@pytest.fixture
def root(reproduced: Path, tmp_path: Path) -> Path:
    shutil.copytree(reproduced, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def run(root: Path, *words: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout


def commit(root: Path) -> None:
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "all of it")


def dvc_says_the_same(root: Path) -> bool:
    """Whether `dvc status` finds nothing changed."""
    return json.loads(run(root, "dvc", "status", "--json")) == {}


def found(root: Path) -> tuple[bool, str]:
    told = answer(Repository(root, "main", "flightline"), "HEAD")
    return told.whole, told.missing


def test_lock_that_was_just_written_answers(root: Path) -> None:
    assert dvc_says_the_same(root)
    assert found(root) == (True, "")


@pytest.mark.parametrize("number", ["0.000001", "1e-06", "1.5e-7", "1E+5", "-2e3", "1e400"])
def test_number_is_the_one_that_dvc_writes(root: Path, number: str) -> None:
    """DVC writes `1e-06` for a millionth, which PyYAML by itself takes for a text."""
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("C: 0.1", f"C: {number}"))
    run(root, "dvc", "repro", "-q")
    commit(root)
    assert dvc_says_the_same(root)
    assert found(root) == (True, "")


@pytest.mark.parametrize(
    ("path", "old", "new", "missing"),
    [
        ("code/a.py", "1", "2", "code"),
        ("code/deep/b.py", "1", "2", "code"),
        ("code/new.py", "", "n = 1\n", "code"),
        ("one.py", "1", "2", "one.py"),
        ("params.yaml", "C: 0.1", "C: 0.2", "estimator in params.yaml"),
        ("params.yaml", "2013-01-01", "2013-01-02", "data.start in params.yaml"),
        ("other.yaml", "1", "2", "anything in other.yaml"),
        ("dvc.yaml", "cat code/*.py >", "cat code/*.py code/*.py >", "the command of stage rows"),
        ("dvc.yaml", "deps: [code,", "deps: [code, one.py,", "the dependencies of stage rows"),
        ("dvc.yaml", "- build/model: {cache: true}", "- build/model\n      - build/more", "the outputs of stage fit"),
        # What DVC does not look at either.
        ("code/notes.md", "people", "nobody", ""),
        ("params.yaml", "2013-03-31", "2013-04-30", ""),
        ("params.yaml", "estimator: {", "unread: 1\nestimator: {", ""),
        ("dvc.yaml", "for people", "for nobody", ""),
        ("dvc.yaml", "deps: [code, tracked.txt]", "deps: [code]", ""),
        ("README.md", "", "hello\n", ""),
    ],
)
def test_change_is_seen_where_dvc_sees_it(root: Path, path: str, old: str, new: str, missing: str) -> None:
    file = root / path
    text = file.read_text() if file.exists() else ""
    assert old in text
    file.write_text(text.replace(old, new) if old else new)
    commit(root)
    assert dvc_says_the_same(root) is (not missing)
    assert found(root) == (not missing, missing)


def test_file_that_dvc_tracks_is_known_by_its_dvc_file(root: Path) -> None:
    (root / "tracked.txt").chmod(0o644)
    (root / "tracked.txt").write_text("other data\n")
    run(root, "dvc", "add", "-q", "tracked.txt")
    commit(root)
    assert not dvc_says_the_same(root)
    assert found(root) == (False, "tracked.txt")


def test_lock_of_half_a_run_does_not_answer(root: Path) -> None:
    """A stage that was run anew, and one after it that was not."""
    (root / "code/a.py").write_text("a = 2\n")
    run(root, "dvc", "repro", "-q", "rows")
    commit(root)
    assert found(root) == (False, "build/rows")


def test_template_is_no_answer_either_way(root: Path) -> None:
    document = yaml.safe_load((root / "dvc.yaml").read_text())
    document["stages"]["each"] = {"foreach": ["a", "b"], "do": {"cmd": "echo ${item}"}}
    (root / "dvc.yaml").write_text(yaml.safe_dump(document))
    run(root, "dvc", "repro", "-q")
    commit(root)
    whole, missing = found(root)
    assert (whole, missing) == (False, "stage each")


def test_no_lock_answers_for_nothing(root: Path) -> None:
    run(root, "git", "rm", "-q", "dvc.lock")
    commit(root)
    assert found(root) == (False, "stage rows, stage fit")


@pytest.mark.parametrize(
    "text", ["- a list\n", "stages: [1]\n", "stages: {rows: {deps: [1]}}\n", "stages: {rows: {deps: 7}}\n", "a: {"]
)
def test_lock_that_dvc_did_not_write_is_said(root: Path, text: str) -> None:
    (root / "dvc.lock").write_text(text)
    commit(root)
    with pytest.raises(DeliveryError, match=r"dvc\.lock"):
        found(root)
