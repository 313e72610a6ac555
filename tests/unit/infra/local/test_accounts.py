import stat
from pathlib import Path

import pytest
import yaml

from infra.local import accounts
from infra.local.accounts import Account
from infra.local.components import ClusterError, Kubectl, State

ACCOUNT = Account("argocd", "argocd-server")


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A cluster whose kubectl issues a token that names what it was asked for."""
    state = State(tmp_path)
    state.bin.mkdir()
    said(state, 'echo "token for $*"')
    return state


def said(state: State, script: str) -> None:
    kubectl = state.bin / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n{script}\n")
    kubectl.chmod(0o755)


def token(state: State) -> Path:
    document = yaml.safe_load(state.kubeconfig_of(ACCOUNT.name).read_text())
    return Path(document["users"][0]["user"]["tokenFile"])


def test_account_gets_a_token_of_its_own_for_a_day(state: State) -> None:
    accounts.admit(Kubectl(state), state, [ACCOUNT])
    asked = token(state).read_text()
    assert asked.endswith("create token argocd-server --namespace=argocd --duration=24h")


def test_kubeconfig_holds_no_token_and_trusts_the_cluster_alone(state: State) -> None:
    accounts.admit(Kubectl(state), state, [ACCOUNT])
    document = yaml.safe_load(state.kubeconfig_of(ACCOUNT.name).read_text())
    assert [*document["users"][0]["user"]] == ["tokenFile"]
    assert document["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority": str(state.certificates / "ca.crt"),
    }
    assert document["contexts"][0]["context"]["namespace"] == "argocd"


def test_only_the_owner_reads_them(state: State) -> None:
    accounts.admit(Kubectl(state), state, [ACCOUNT])
    for path in (token(state), state.kubeconfig_of(ACCOUNT.name)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_token_is_renewed_in_place(state: State) -> None:
    accounts.admit(Kubectl(state), state, [ACCOUNT])
    said(state, "echo renewed")
    accounts.admit(Kubectl(state), state, [ACCOUNT])
    assert token(state).read_text() == "renewed"


def test_account_that_is_not_there_is_named(state: State) -> None:
    said(state, 'echo "serviceaccounts \\"argocd-server\\" not found" >&2; exit 1')
    with pytest.raises(ClusterError, match='"argocd-server" not found'):
        accounts.admit(Kubectl(state), state, [ACCOUNT])
