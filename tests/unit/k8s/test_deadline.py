"""The deadline's script, which runs in the cluster and is imported here by its path."""

import runpy
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import read_settings
from pipeline.validate import settings
from tests.unit.k8s.rendering import ENVIRONMENTS, K8S, build, overlay

PAUSED = "2026-03-01T12:00:00Z"


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    """Run and not imported, so that no bytecode is left in what is rendered."""
    return SimpleNamespace(**runpy.run_path(str(K8S / "base/deadline/abort.py")))


def paused(reason: str, **status: Any) -> dict[str, Any]:
    return {"status": {"pauseConditions": [{"reason": reason, "startTime": PAUSED}], **status}}


def deadline_names(objects: Iterable[dict[str, Any]]) -> set[str]:
    """What the Rollout is called, by itself, by the Role of the deadline and by what its job is told."""
    of = {one["kind"]: one for one in objects}
    pod = of["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    told = [one["value"] for one in pod["containers"][0]["env"] if one["name"] == "ROLLOUT"]
    permitted = [name for rule in of["Role"]["rules"] for name in rule["resourceNames"]]
    assert told
    assert permitted
    return {of["Rollout"]["metadata"]["name"], *told, *permitted}


def at(minute: int) -> datetime:
    return datetime(2026, 3, 1, 12, minute, tzinfo=UTC)


def test_a_pause_as_inconclusive_is_overdue_after_its_time(script: SimpleNamespace) -> None:
    rollout = paused("InconclusiveAnalysisRun")
    assert not script.overdue(rollout, at(9), 600)
    assert script.overdue(rollout, at(10), 600)


def test_a_pause_that_is_a_step_is_never_overdue(script: SimpleNamespace) -> None:
    assert not script.overdue(paused("CanaryPauseStep"), at(59), 600)


def test_one_of_several_pauses_is_enough(script: SimpleNamespace) -> None:
    rollout = paused("CanaryPauseStep")
    rollout["status"]["pauseConditions"].append({"reason": "InconclusiveAnalysisRun", "startTime": PAUSED})
    assert script.overdue(rollout, at(59), 600)


def test_what_is_aborted_already_is_left_alone(script: SimpleNamespace) -> None:
    assert not script.overdue(paused("InconclusiveAnalysisRun", abort=True), at(59), 600)


@pytest.mark.parametrize("rollout", [{}, {"status": {}}, {"status": {"pauseConditions": None}}])
def test_a_rollout_that_waits_for_nothing_is_left_alone(script: SimpleNamespace, rollout: dict[str, Any]) -> None:
    assert not script.overdue(rollout, at(59), 0)


def test_it_asks_for_the_rollout_that_its_environment_names(
    script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLOUT", "harbour")
    asked = script.address("harbour-staging", "/status")
    assert asked == "/apis/argoproj.io/v1alpha1/namespaces/harbour-staging/rollouts/harbour/status"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_job_role_and_rollout_agree_on_the_name(environment: str) -> None:
    assert deadline_names(overlay(environment).values()) == {"flightline"}


def test_job_role_and_rollout_agree_on_the_name_of_a_fork(tmp_path: Path) -> None:
    for name in ("k8s", "argocd", ".github"):
        shutil.copytree(K8S.parent / name, tmp_path / name)
    for name in ("SECURITY.md", "Dockerfile"):
        shutil.copy(K8S.parent / name, tmp_path)
    settings.apply(tmp_path, read_settings(K8S.parent).model_copy(update={"name": "harbour"}))
    for environment in ENVIRONMENTS:
        assert deadline_names(build(tmp_path / "k8s/overlays" / environment).values()) == {"harbour"}
