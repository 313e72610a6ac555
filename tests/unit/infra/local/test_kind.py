"""kind only where it is asked for. The programs `kind` and `docker` are stand-ins, of which the first takes notes."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from infra.local import kind, namespaces
from infra.local.components import ClusterError, State
from pipeline.cli_cluster import cluster

ASKED = ("status", "exec", "start-component", "stop-component", "kill-component")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("FLIGHTLINE_CACHE", str(tmp_path / "cache"))
    return State(tmp_path / "cache" / "cluster")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which `kind` notes its arguments. Who is not root never gets as far as starting processes."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(namespaces, "CGROUP", "/flightline-of-a-test")
    notes, programs = tmp_path / "notes", tmp_path / "programs"
    programs.mkdir()
    for name, script in (("kind", f'echo "$@" >> {notes}'), ("docker", "echo docker")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return notes


def run(*words: str) -> Result:
    return CliRunner().invoke(cluster, words)


@pytest.mark.usefixtures("state")
def test_kind_is_not_chosen_for_being_there(told: Path) -> None:
    assert "makes namespaces and cgroups, which needs root" in str(run("up").exception)
    assert not told.exists()


def test_kind_makes_a_cluster_once_and_says_what_is_still_to_be_installed(state: State, told: Path) -> None:
    done = run("up", "--kind")
    assert done.exit_code == 0, done.exception
    assert "create cluster" in told.read_text()
    assert "--kustomize=argocd/bootstrap/argo-cd && kubectl" in done.output
    assert kind.runs(state)


def test_kind_that_is_not_there_is_named(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--kind needs kind" in str(run("up", "--kind").exception)
    assert not kind.runs(state)


@pytest.mark.parametrize("words", [("up",), *((verb, "api") for verb in ASKED[1:]), ("status",)])
def test_a_verb_that_kind_does_not_have_names_kubectl(state: State, told: Path, words: tuple[str, ...]) -> None:
    run("up", "--kind")
    refused = run(*words).exception
    assert isinstance(refused, ClusterError)
    assert f"KUBECONFIG={state.kubeconfig} kubectl" in str(refused)


def test_down_ends_the_cluster_of_kind(state: State, told: Path) -> None:
    run("up", "--kind")
    assert run("down").exit_code == 0
    assert "delete cluster --name=flightline" in told.read_text()
    assert not kind.runs(state)


def test_the_configuration_has_two_workers() -> None:
    nodes = yaml.safe_load(kind.configuration())["nodes"]
    assert [one["role"] for one in nodes] == ["control-plane", "worker", "worker"]
