"""Section `retrain` of params.yaml: each fault names file, section, field, value and fix; whose branch is to gain."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline import cli, gate
from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.monitoring.retrain.config import Retrain, is_retraining, read_retrain
from tests.checkouts import PROJECT
from tests.deliveries import Fork, dump, fork


def written(root: Path, *lines: str) -> Path:
    """The shipped file with a section of these lines."""
    shipped = (PROJECT / "params.yaml").read_text().partition("retrain:")[0]
    (root / "params.yaml").write_text("\n".join([f"{shipped}retrain:", *(f"  {one}" for one in lines), ""]))
    return root


def test_shipped_section_says_what_the_defaults_are() -> None:
    assert read_retrain(PROJECT) == Retrain()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cooldown_days: 0", "params.yaml: retrain.cooldown_days: "),
        ("colldown_days: 7", "params.yaml: retrain.colldown_days: "),
        ("sound_days: [2013-07-03, 2013-13-03]", "params.yaml: retrain.sound_days.1: month must be in 1..12"),
        ("reset_after: 2013-02-30", "params.yaml: retrain.reset_after: day is out of range for month"),
        ("schedule: every morning please", "params.yaml: retrain.schedule: Value error, it has 3 fields"),
    ],
)
def test_a_fault_names_file_section_field_and_value(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_retrain(written(tmp_path, line))
    assert said in str(caught.value)
    assert "(got " in str(caught.value)


@pytest.mark.parametrize(
    "schedule", ["30 6 * * *", "*/15 0-6,12 1 jan-mar MON", "0 0 1 1 ?", "5/10 * * * 0", "0 6 * 2-12/2 1-5"]
)
def test_what_cron_takes_is_taken(schedule: str) -> None:
    assert Retrain(schedule=schedule).schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("every morning please", "it has 3 fields, and cron has 5; write minute"),
        ("at half past six daily", "'at' is no minute from 0 to 59; write minute"),
        ("60 6 * * *", "'60' is no minute"),
        ("30 24 * * *", "'24' is no hour"),
        ("30 6 0 * *", "'0' is no day of the month"),
        ("30 6 * 13 *", "'13' is no month"),
        ("30 6 * * 7", "'7' is no day of the week from 0 to 6"),
        ("30 9-6 * * *", "'9-6' is no hour"),
        ("30 6 * * */0", "is no day of the week"),
        ("30,, 6 * * *", "is no minute"),
    ],
)
def test_what_cron_does_not_take_is_named_with_the_fix(schedule: str, said: str) -> None:
    with pytest.raises(ValueError, match="schedule") as caught:
        Retrain(schedule=schedule)
    assert said in str(caught.value)


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
    with pytest.raises(ConfigError, match=r"origin/main:params\.yaml: retrain\.branch"):
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
