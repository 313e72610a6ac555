"""What runs in an attempt's checkout: the model's own code, which is given no token of the forge."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.delivery.token import TOKENS
from pipeline.monitoring.retrain.workspace import Workspace

TELL = "import json, os, pathlib; pathlib.Path('seen.json').write_text(json.dumps(sorted(os.environ)))"
KEY = "AWS_SECRET_ACCESS_KEY"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """One whose stage, and whose `flightline`, write down what their environment has."""
    for name in (*TOKENS, KEY):
        monkeypatch.setenv(name, "for-tests-only")
    (tmp_path / "tell.py").write_text(TELL)
    (tmp_path / "dvc.yaml").write_text(f"stages: {{tell: {{cmd: '{sys.executable} tell.py', outs: [seen.json]}}}}\n")
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(f"def main():\n    {TELL}\n")
    return Workspace(tmp_path)


def seen(workspace: Workspace) -> list[str]:
    found: list[str] = json.loads((workspace.root / "seen.json").read_text())
    return found


def test_stage_sees_no_token_of_the_forge_and_the_keys_of_the_remote(workspace: Workspace) -> None:
    for words in (["init", "--quiet", "--no-scm"], ["remote", "add", "--default", "here", "kept"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=workspace.root, check=True)
    workspace.reproduce()
    assert (set(TOKENS) & {*seen(workspace)}, KEY in seen(workspace)) == (set(), True)


def test_gate_sees_no_token_of_the_forge(workspace: Workspace) -> None:
    assert workspace.gate() == 0
    assert (set(TOKENS) & {*seen(workspace)}, KEY in seen(workspace)) == (set(), True)
