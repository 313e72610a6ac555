"""The freeze: what its file may say, where and how long it holds, and how a mistake in it is told."""

import datetime
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.delivery import freeze
from pipeline.delivery.freeze import FREEZE, covering, read
from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError

ENVIRONMENTS = ("staging", "production")
TODAY = datetime.date(2026, 12, 24)
DOCUMENT = (Path(__file__).resolve().parents[4] / "docs/push.md").read_text()


def lines(text: str) -> tuple[freeze.Freeze, ...]:
    return read(text.encode(), FREEZE.as_posix(), ENVIRONMENTS)


@pytest.mark.parametrize(
    ("text", "stopped"),
    [
        ("", []),
        ("[]", []),
        ("- reason: all", ["staging", "production"]),
        ("- {reason: all, environments: []}", ["staging", "production"]),
        ("- {reason: audit, environments: [production]}", ["production"]),
        ("- {reason: last day, until: 2026-12-24}", ["staging", "production"]),
        ("- {reason: over, until: 2026-12-23}", []),
        ("- {reason: over, until: 2026-12-23}\n- {reason: audit, environments: [staging], until: null}", ["staging"]),
    ],
)
def test_freeze_holds_in_its_environments_through_its_last_day(text: str, stopped: list[str]) -> None:
    assert [env for env in ENVIRONMENTS if covering(lines(text), env, TODAY)] == stopped


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- {reason: x, environments: [prod]}", r"0\.environments: 'prod' is no environment .*staging, production"),
        ("- {reason: x, until: tomorrow}", r"0\.until: .*got 'tomorrow'.*2026-12-31"),
        ("- {reason: ''}", r"0\.reason: .*at least 1 character"),
        ("- {until: 2026-12-24}", r"0\.reason: Field required"),
        ("- {reason: x, env: staging}", r"0\.env: Extra inputs"),
        ("reason: x", "valid tuple"),
        ("- {reason", "not YAML"),
    ],
)
def test_mistake_is_told_by_file_field_value_and_fix(text: str, why: str) -> None:
    with pytest.raises(DeliveryError, match=rf"k8s/freeze\.yaml: .*{why}"):
        lines(text)


def test_example_of_the_documentation_is_a_freeze() -> None:
    example = DOCUMENT.partition("```yaml\n")[2].partition("```")[0]
    assert len(lines(example)) == len(yaml.safe_load(example)) > 1


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    for words in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "T"],
        ["config", "user.email", "t@example.com"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return Repository(tmp_path, "main", "flightline")


def committed(repository: Repository, text: str) -> str:
    """A commit with that freeze, whose settings name the environments."""
    settings = b'[tool.flightline]\nenvironments = ["staging", "production"]\n'
    files = {FREEZE.as_posix(): text.encode(), "pyproject.toml": settings}
    empty = repository.text("hash-object", "-t", "tree", "-w", "--stdin")
    return repository.commit(repository.text("commit-tree", empty, stdin=b"first"), files, "freeze\n")


def test_status_tells_of_a_freeze_and_of_one_that_cannot_be_read(repository: Repository) -> None:
    commit = committed(repository, "- {reason: audit, environments: [production]}")
    assert freeze.notes(repository, commit, ENVIRONMENTS) == ["production is frozen by k8s/freeze.yaml: audit"]
    (told,) = freeze.notes(repository, committed(repository, "- {}"), ENVIRONMENTS)
    assert "on main: 0.reason" in told


def test_refusal_names_reason_last_day_and_way_out(repository: Repository) -> None:
    commit = committed(repository, "- {reason: audit, until: 2999-12-31}")
    why = freeze.refusal(repository, commit, "staging")
    assert why is not None
    for word in ("staging is frozen", "audit", "until 2999-12-31", "k8s/freeze.yaml on main"):
        assert word in why
    assert freeze.refusal(repository, committed(repository, ""), "staging") is None
