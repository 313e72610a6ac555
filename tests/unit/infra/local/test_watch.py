"""Whose end is told: a Rollout speaks of one identity, and of one generation of it."""

from typing import Any

import pytest

from infra.local.watch import aborted, healthy, undecided

WAITS = {"pauseConditions": [{"reason": "InconclusiveAnalysisRun"}]}


def rollout(identity: str, *, observed: str = "2", **status: Any) -> dict[str, Any]:
    metadata = {"annotations": {"flightline/identity": identity}, "generation": 2}
    return {"metadata": metadata, "status": {"observedGeneration": observed, **status}}


def test_one_that_waits_for_a_person_is_undecided() -> None:
    assert undecided(rollout("new", **WAITS), "new")


def test_pause_between_two_steps_is_no_wait() -> None:
    assert not undecided(rollout("new", pauseConditions=[{"reason": "CanaryPauseStep"}]), "new")


@pytest.mark.parametrize("found", [rollout("old", **WAITS), rollout("new", observed="1", **WAITS)])
def test_what_was_before_says_nothing_of_what_replaces_it(found: dict[str, Any]) -> None:
    assert not undecided(found, "new")


@pytest.mark.parametrize(("told", "status"), [(aborted, {"abort": True}), (healthy, {"phase": "Healthy"})])
def test_end_is_of_the_identity_that_came_to_it(told: Any, status: dict[str, Any]) -> None:
    assert told(rollout("new", **status), "new")
    assert not told(rollout("new", **status), "newer")
