"""Argo Rollouts on the local cluster: upstream's own objects, the project's notifications, a process that controls."""

import yaml

from infra.local import upstream
from infra.local.accounts import Account, admit
from infra.local.components import PROJECT, Component, Kubectl, State, answers

NAMESPACE = "argo-rollouts"
NOTIFICATIONS = PROJECT / "argocd" / "notifications"
ACCOUNT = Account(NAMESPACE, "argo-rollouts")
# Where the local cluster sends the three events; who wants them listens there.
RECEIVER = "http://127.0.0.1:9099/hook"
SECRET = "argo-rollouts-notification-secret"  # noqa: S105 - the name of an object


def install(state: State) -> None:
    """Apply what Rollouts needs and its notifications, whose address stays. Raises ClusterError, UnavailableError."""
    from pipeline.tools import module_folder

    kubectl = Kubectl(state)
    upstream.apply(kubectl, state.config / NAMESPACE, NAMESPACE, module_folder("argo-rollouts"), NOTIFICATIONS)
    if not kubectl("--namespace", NAMESPACE, "get", "secret", SECRET, "--ignore-not-found", "--output=name"):
        kubectl.apply(notification_secret(RECEIVER))
    admit(kubectl, state, (ACCOUNT,))


def notification_secret(receiver: str, token: str = "local") -> str:  # noqa: S107 - who listens by default asks for none
    """Where events go and with which token, as the Secret that the project's notifications read."""
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"flightline-url": receiver, "flightline-token": token},
    }
    return yaml.safe_dump(document, sort_keys=False)


def components(state: State) -> tuple[Component, ...]:
    """The controller, with the rights of its own account."""
    command = (
        state.tool("rollouts-controller"),
        f"--kubeconfig={state.kubeconfig_of(ACCOUNT.name)}",
        "--leader-elect=false",
        "--metricsPort=8090",
        "--healthzPort=8091",
        "--traefik-api-group=traefik.io",
        "--traefik-api-version=traefik.io/v1alpha1",
    )
    environment = {"POD_NAMESPACE": NAMESPACE}
    return (Component("argo-rollouts", command, environment, answers("http://127.0.0.1:8091/healthz"), ("apiserver",)),)
