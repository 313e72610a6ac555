"""What a cluster's objects say about an identity, as real controllers wrote them (recorded/README.md)."""

from pathlib import Path
from typing import get_args

import pytest

from pipeline.config import read_settings
from pipeline.delivery.cluster import Objects
from pipeline.delivery.witness import Event, ask, heard, when
from tests.checkouts import PROJECT
from tests.unit.pipeline.delivery import api
from tests.unit.pipeline.delivery.recorded import objects, rollout


def identity(scene: str) -> str:
    return str(rollout(scene)["metadata"]["annotations"]["flightline/identity"])


@pytest.mark.parametrize(
    ("scene", "says", "event"),
    [
        ("healthy", "healthy", "completed"),
        ("aborted-distance", "aborted", "aborted"),
        ("aborted-deadline", "aborted", "aborted"),
        ("aborted-by-hand", "aborted", "aborted"),
        ("inconclusive", "paused", "paused"),
        ("analysing", "moving", None),
        ("timed-pause", "moving", None),
        ("pause-without-end", "moving", None),
        ("image-missing", "moving", None),
    ],
)
def test_what_the_rollout_does_confirms_one_event_at_most(scene: str, says: str, event: Event | None) -> None:
    found = heard(objects(scene), identity(scene))
    assert (found.says, found.event) == (says, event)
    assert [one for one in get_args(Event) if found.confirms(one)] == ([event] if event else [])


@pytest.mark.parametrize("scene", ["healthy", "aborted-distance", "inconclusive"])
def test_another_identity_confirms_nothing(scene: str) -> None:
    found = heard(objects(scene), "0" * 64)
    assert (found.says, found.why) == ("other", f"it rolls out identity {identity(scene)[:12]}")


def test_cluster_without_a_rollout_contradicts() -> None:
    assert heard(Objects(), "0" * 64).confirms("aborted") is False


def test_rollout_that_the_controller_has_not_looked_at_confirms_and_contradicts_nothing() -> None:
    changed = rollout("aborted-distance")
    changed["metadata"]["generation"] = 99
    found = heard(objects("aborted-distance", rollout=changed), identity("aborted-distance"))
    assert [found.confirms(one) for one in get_args(Event)] == [None] * 3


def test_time_and_figures_of_an_abort_are_told() -> None:
    found = heard(objects("aborted-distance"), identity("aborted-distance"))
    assert when(found.since) == "2026-11-21 17:24 UTC"
    assert "score-distance" in {metric.name for one in found.analyses for metric in one.metrics}
    assert found.canary != found.stable


@pytest.mark.parametrize("kubeconfig", ["", "/nowhere/config"])
def test_run_without_access_knows_nothing(kubeconfig: str) -> None:
    found = ask(read_settings(PROJECT), "staging", "0" * 64, {"KUBECONFIG": kubeconfig})
    assert (found.says, "no access" in found.why) == ("unknown", True)


def test_cluster_that_does_not_answer_is_no_fault_and_its_address_is_not_told(tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path / "config", "http://127.0.0.1:9")
    with api.configured(path):
        found = ask(read_settings(PROJECT), "staging", "0" * 64, {"KUBECONFIG": str(path)})
    assert (found.says, found.why) == ("unknown", "it did not answer this run")
