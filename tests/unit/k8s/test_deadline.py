"""The deadline's script, which runs in the cluster and is imported here by its path."""

import runpy
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.k8s.rendering import K8S

PAUSED = "2026-03-01T12:00:00Z"


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    """Run and not imported, so that no bytecode is left in what is rendered."""
    return SimpleNamespace(**runpy.run_path(str(K8S / "base/deadline/abort.py")))


def paused(reason: str, **status: Any) -> dict[str, Any]:
    return {"status": {"pauseConditions": [{"reason": reason, "startTime": PAUSED}], **status}}


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
