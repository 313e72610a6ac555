"""Controllers run beside the cluster, not in pods; each is let in as the service account it would have in a pod.

So what upstream's roles allow and forbid holds here too. A token is asked of the API server and kept beside the
kubeconfig that names it; clients read it again from there, so a renewed one is taken up without a restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.local.components import API, Kubectl, State

LIFETIME = "24h"


@dataclass(frozen=True)
class Account:
    """A service account. Its kubeconfig is `State.kubeconfig_of(name)`."""

    namespace: str
    name: str


def admit(kubectl: Kubectl, state: State, accounts: Iterable[Account]) -> None:
    """Write a kubeconfig with a fresh token, good for a day, for each. Raises ClusterError where one is missing."""
    for account in accounts:
        token = kubectl("create", "token", account.name, f"--namespace={account.namespace}", f"--duration={LIFETIME}")
        _write(_token(state, account), token.strip())
        _write(state.kubeconfig_of(account.name), kubeconfig(state, account))


def kubeconfig(state: State, account: Account) -> str:
    """How the account reaches the API server; its token is read from the file beside."""
    cluster = {"server": API, "certificate-authority": str(state.certificates / "ca.crt")}
    context = {"cluster": "flightline", "user": account.name, "namespace": account.namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "flightline", "cluster": cluster}],
        "users": [{"name": account.name, "user": {"tokenFile": str(_token(state, account))}}],
        "contexts": [{"name": "flightline", "context": context}],
        "current-context": "flightline",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _token(state: State, account: Account) -> Path:
    return state.config / f"{account.name}.token"


def _write(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.replace(path)
