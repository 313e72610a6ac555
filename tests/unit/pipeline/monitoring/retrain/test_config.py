"""Which branch has to be a gain: the one that main's own settings call so."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline import cli, gate
from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.monitoring.retrain.config import is_retraining
from tests.deliveries import Fork, dump, fork


def params(branch: str) -> dict[str, str]:
    return {"params.yaml": dump({"retrain": {"branch": branch}})}


@pytest.fixture
def made(tmp_path: Path) -> Fork:
    """Main calls the branch by another name than the template does; what is checked out says what it likes."""
    found = fork(tmp_path)
    found.commit("another name", params("auto-retrain"))
    found.git("fetch", "-q", "origin")
    (found.root / "params.yaml").write_text(params("mine")["params.yaml"])
    return found


@pytest.mark.parametrize(
    ("branch", "found"), [("auto-retrain", True), ("retrain", False), ("mine", False), ("", False)]
)
def test_main_says_which_branch_is_of_retraining(made: Fork, branch: str, found: bool) -> None:
    assert is_retraining(Context(made.root), branch) is found


def test_setting_of_main_that_is_none_is_named(made: Fork) -> None:
    made.commit("no name", params(""))
    made.git("fetch", "-q", "origin")
    with pytest.raises(ConfigError, match=r"origin/main:params\.yaml: branch"):
        is_retraining(Context(made.root), "retrain")


@pytest.mark.parametrize(("head", "kind"), [("auto-retrain", "retrain"), ("retrain", "change"), ("", "change")])
def test_gate_of_that_branch_asks_for_a_gain(made: Fork, head: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(_: Context, kind: str, *others: object) -> None:
        asked.append(kind)
        raise typer.Exit

    monkeypatch.setattr(gate, "run", run)
    monkeypatch.chdir(made.root)
    CliRunner().invoke(cli.app, ["gate", f"--head={head}"])
    assert asked == [kind]
