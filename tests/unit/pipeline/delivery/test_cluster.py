"""What is said where a cluster cannot be asked, or refuses."""

from pathlib import Path

import pytest

from pipeline.delivery.cluster import ClusterError, Names, Objects, connect
from pipeline.gates.load_server import free_port
from tests.unit.pipeline.delivery import api

NAMES = Names("flightline-staging", "flightline-staging", "flightline")


def test_environment_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    with api.serving({}, tmp_path) as server:
        assert server.cluster.environment(NAMES) == Objects()


def test_without_a_kubeconfig_the_fix_is_said(tmp_path: Path) -> None:
    with api.configured(tmp_path / "none"), pytest.raises(ClusterError, match=r"no cluster to ask: .*set KUBECONFIG"):
        connect()


def test_context_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    with api.configured(path), pytest.raises(ClusterError, match="no context 'other'; the kubeconfig has test"):
        connect("other")


def test_cluster_that_does_not_answer_is_named_with_its_context(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with (
        api.configured(api.kubeconfig(tmp_path / "kubeconfig", address)),
        pytest.raises(ClusterError, match=f"context 'test' at {address} does not answer .*make cluster-up"),
    ):
        connect().rollout(NAMES)


@pytest.mark.parametrize(("status", "hint"), [(401, "log in to the cluster again"), (403, "ask for the right")])
def test_refusal_says_what_was_refused_and_the_fix(status: int, hint: str, tmp_path: Path) -> None:
    with (
        api.serving({}, tmp_path, refuse=status) as server,
        pytest.raises(ClusterError, match=f"GET .*/rollouts/flightline answered {status}: .*forbidden; {hint}"),
    ):
        server.cluster.rollout(NAMES)
