"""Controllers run beside the cluster, not in pods; each is let in as the service account it would have in a pod.

So what upstream's roles allow and forbid holds here too. A token is asked of the API server and kept beside the
kubeconfig that names it; clients read it again from there, so a renewed one is taken up without a restart.
"""

import base64
from collections.abc import Iterable, Mapping
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
        _write(_token(state, account), _fresh_token(kubectl, account))
        _write(state.kubeconfig_of(account.name), kubeconfig(state, account))


def kubeconfig(state: State, account: Account) -> str:
    """How the account reaches the API server; its token is read from the file beside."""
    authority = {"certificate-authority": str(state.certificates / "ca.crt")}
    return _document(account, authority, {"tokenFile": str(_token(state, account))})


def portable(kubectl: Kubectl, state: State, account: Account) -> str:
    """A kubeconfig that needs no other file, with a fresh token, good for a day. Raises ClusterError."""
    authority = base64.b64encode((state.certificates / "ca.crt").read_bytes()).decode()
    return _document(account, {"certificate-authority-data": authority}, {"token": _fresh_token(kubectl, account)})


def _document(account: Account, authority: Mapping[str, str], user: Mapping[str, str]) -> str:
    context = {"cluster": "flightline", "user": account.name, "namespace": account.namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "flightline", "cluster": {"server": API, **authority}}],
        "users": [{"name": account.name, "user": dict(user)}],
        "contexts": [{"name": "flightline", "context": context}],
        "current-context": "flightline",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _fresh_token(kubectl: Kubectl, account: Account) -> str:
    words = ("create", "token", account.name, f"--namespace={account.namespace}", f"--duration={LIFETIME}")
    return kubectl(*words).strip()


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
