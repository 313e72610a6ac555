import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

from pipeline import cli
from pipeline.monitoring import metrics
from pipeline.monitoring.config import DecayLimits, FeedLimits, PlayRules
from pipeline.monitoring.keeping import Keeping
from pipeline.monitoring.retrain.config import Retrain
from serving.bundle import load
from serving.metrics import Metrics
from tests import bundles

ROOT = Path(__file__).resolve().parents[2]
GATES = yaml.safe_load((ROOT / "params.yaml").read_text())["gates"]
OBJECTIVES = yaml.safe_load((ROOT / "k8s/base/slo.yaml").read_text())["data"]
DOCUMENT = (ROOT / "docs/gates.md").read_text()
# Sections of params.yaml: the model, and the page and chapter that explain each setting.
SETTINGS = {
    "monitoring.feed": (FeedLimits, "monitoring.md", "Broken feed"),
    "monitoring.decay": (DecayLimits, "monitoring.md", "Decay"),
    "monitoring.play": (PlayRules, "monitoring.md", "See it: `make observe`"),
    "retrain": (Retrain, "retraining.md", "Settings"),
}
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))


def keys(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{name}.")


@pytest.mark.parametrize("key", list(keys(GATES, "gates.")))
def test_every_threshold_of_a_gate_is_explained(key: str) -> None:
    """A section or list by its full name, a threshold within the text of its own gate."""
    _, gate, *threshold = key.split(".")
    text = next((part for part in DOCUMENT.split("\n## ") if f"`gates.{gate}`" in part), "")
    assert (f"`{threshold[0]}`" if threshold else f"`gates.{gate}`") in text


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_the_load_gate_judges_by_is_named(objective: str) -> None:
    assert f"`{objective}`" in DOCUMENT


def test_every_series_of_server_and_monitoring_is_in_the_docs(tmp_path: Path) -> None:
    bundles.write(tmp_path / "bundle")
    exposed = Metrics(load(tmp_path / "bundle"), dict.fromkeys(OBJECTIVES, 1.0)).render().decode()
    names = set(re.findall(r"^# TYPE (\w+)", exposed, flags=re.MULTILINE)) | set(metrics._HELP)
    text = (ROOT / "docs/metrics.md").read_text()
    assert len(names) > 20
    assert {name for name in names if f"`{name}" not in text} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_every_page_that_a_page_links_is_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+\.md)", path.read_text()):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_says_what_to_look_at_and_commands_that_there_are(path: Path) -> None:
    text = path.read_text()
    assert re.findall("^## (.+)$", text, flags=re.MULTILINE) == ["What it means", "What to look at", "What to type"]
    _, _, typed = text.partition("## What to type")
    (block,) = re.findall("```sh\n(.+?)```", typed, flags=re.DOTALL)
    commands = [line.split("|")[-1] for line in block.splitlines()]
    assert {shlex.split(one, comments=True)[0] for one in commands} <= {"flightline", "kubectl", "grep", "head"}
    for words in (shlex.split(one, comments=True) for one in commands):
        if words[0] == "flightline":
            assert unknown_of(words[1:]) == set()


def verbs(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every verb below a command, by its full name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, below in command.commands.items():
        yield from verbs(below, f"{name} {word}".strip())


VERBS = dict(verbs(typer.main.get_command(cli.app)))
COMMANDS = (ROOT / "docs/cli.md").read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_list_of_them(verb: str) -> None:
    assert re.search(rf"`{verb}[` ]", COMMANDS)


def test_every_verb_that_prints_json_is_said_to() -> None:
    """By its own name or its group's."""
    said = set(re.findall(r"`([a-z -]+)`", COMMANDS.partition("`--json` prints")[2].partition("\n\n")[0]))
    printing = {name for name, one in VERBS.items() if any("--json" in option.opts for option in one.params)}
    assert {name for name in printing if not {name, name.partition(" ")[0]} & said} == set()
    assert {one for one in said if not any(name == one or name.startswith(f"{one} ") for name in printing)} == set()


def unknown_of(words: list[str]) -> set[str]:
    """Options that a verb does not have. Raises KeyError for a verb that there is not."""
    command: Any = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        command = command.commands[words[0]]
        words = words[1:]
    known = {name for one in command.params for name in one.opts}
    return {one.partition("=")[0] for one in words if one.startswith("--")} - known


def test_a_verb_or_option_that_there_is_not_is_noticed() -> None:
    assert unknown_of(["rollback", "--env", "production", "--too", "x"]) == {"--too"}
    with pytest.raises(KeyError):
        unknown_of(["retraining", "attempt"])


@pytest.mark.parametrize("field", Keeping.model_fields)
def test_every_setting_of_the_store_is_explained_and_shown(field: str) -> None:
    assert f"`{field}`" in (ROOT / "docs/labels.md").read_text()
    assert field in yaml.safe_load((ROOT / "params.yaml").read_text())["monitoring"]


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting by its dotted name within the section."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize(
    ("section", "field"), [(name, field) for name, (model, *_) in SETTINGS.items() for field in fields(model)]
)
def test_every_setting_of_monitoring_and_retraining_is_explained_and_shown(section: str, field: str) -> None:
    _, page, chapter = SETTINGS[section]
    (text,) = (one for one in (ROOT / "docs" / page).read_text().split("\n## ") if one.startswith(f"{chapter}\n"))
    assert f"`{section}`" in text
    assert f"`{field}`" in text
    assert f"{section}.{field}" in set(keys(yaml.safe_load((ROOT / "params.yaml").read_text())))
