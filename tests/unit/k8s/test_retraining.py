"""What k8s/retraining promises: either engine's steps know main and the store that monitoring fills."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from pipeline.config import read_settings
from tests.unit.k8s.rendering import K8S, Objects, build, of_kind

NAME = "flightline-retraining"
engines = pytest.mark.parametrize("engine", ["job", "workflow"])


@cache
def objects(engine: str) -> Objects:
    return build(K8S / "retraining" / engine)


def containers(engine: str) -> Iterator[dict[str, Any]]:
    """Each step's."""
    for job in of_kind(objects(engine), "CronJob"):
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        yield from (*pod["initContainers"], *pod["containers"])
    for workflow in of_kind(objects(engine), "WorkflowTemplate"):
        yield from (one["container"] for one in workflow["spec"]["templates"] if "container" in one)


@engines
def test_steps_know_main_and_read_the_store_that_monitoring_fills(engine: str) -> None:
    told = objects(engine)["ConfigMap", NAME]["data"]
    settings = read_settings(K8S.parent)
    assert (told["FLIGHTLINE_REPOSITORY"], told["FLIGHTLINE_BRANCH"]) == (settings.repository, settings.branch)
    filled = build(K8S / "monitoring")["ConfigMap", "flightline-monitoring"]["data"]
    assert told["FLIGHTLINE_STORE"] == filled["FLIGHTLINE_STORE"]


@engines
def test_what_a_secret_says_goes_before_the_settings(engine: str) -> None:
    """Of two sources with the same variable Kubernetes takes the later."""
    found = [one["envFrom"] for one in containers(engine)]
    assert len(found) == 5
    assert all(one == [{"configMapRef": {"name": NAME}}, {"secretRef": {"name": NAME}}] for one in found)
