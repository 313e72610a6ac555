"""What the local cluster's environments are at: their Rollouts, pods and analyses, read from the API server."""

from collections.abc import Mapping
from typing import Any

from infra.local.api import Api
from infra.local.components import ClusterError, State

ENVIRONMENTS = ("staging", "production")
ROLLOUT = "rollouts.argoproj.io/flightline"
PATHS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "rollouts": "/apis/argoproj.io/v1alpha1",
    "analysisruns": "/apis/argoproj.io/v1alpha1",
    "analysistemplates": "/apis/argoproj.io/v1alpha1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
}


class Watch:
    """The environments of the cluster at `state`, as its administrator sees them."""

    state: State

    def get(self, environment: str, resource: str, name: str = "", **asked: str) -> dict[str, Any]:
        """One object, or the list of a resource, of an environment. Raises ClusterError."""
        path = f"{PATHS[resource]}/namespaces/{namespace(environment)}/{resource}"
        return Api(self.state, "admin").get(f"{path}/{name}" if name else path, **asked)

    def rollout(self, environment: str) -> dict[str, Any]:
        """The Rollout, {} while there is none or the API server is away."""
        try:
            return self.get(environment, "rollouts", "flightline")
        except ClusterError:
            return {}

    def in_step(self, environment: str) -> bool:
        """Whether Argo CD finds the cluster to be what main says."""
        path = f"/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/flightline-{environment}"
        found = Api(self.state, "admin").find(path) or {}
        return bool(found.get("status", {}).get("sync", {}).get("status") == "Synced")

    def pods(self, environment: str) -> list[str]:
        """The names of the ready servers."""
        found = self.get(environment, "pods", labelSelector="app.kubernetes.io/component=server")["items"]
        return [one["metadata"]["name"] for one in found if _ready(one)]

    def ready(self, environment: str) -> int:
        """How many servers are ready."""
        return len(self.pods(environment))

    def weight(self, environment: str) -> int:
        """How many ready pods the canary has; 0 between releases, and while the API server is away."""
        status = self.rollout(environment).get("status", {})
        latest = status.get("currentPodHash")
        if not latest or latest == status.get("stableRS"):
            return 0
        chosen = f"rollouts-pod-template-hash={latest}"
        try:
            return sum(_ready(one) for one in self.get(environment, "pods", labelSelector=chosen)["items"])
        except ClusterError:
            return 0

    def analysis(self, environment: str) -> dict[str, Any]:
        """The status of the newest blocking analysis."""
        runs = self.get(environment, "analysisruns")["items"]
        steps = [one for one in runs if one["metadata"]["labels"].get("rollout-type") == "Step"]
        return dict(max(steps, key=lambda one: one["metadata"]["creationTimestamp"])["status"])

    def failed_metrics(self, environment: str) -> set[str]:
        """The metrics that failed in the newest revision's analyses; none where nothing was analysed."""
        runs = self.get(environment, "analysisruns")["items"]
        if not runs:
            return set()
        newest = max(runs, key=lambda one: one["metadata"]["creationTimestamp"])
        revision = newest["metadata"]["annotations"]["rollout.argoproj.io/revision"]
        mine = [one for one in runs if one["metadata"]["annotations"]["rollout.argoproj.io/revision"] == revision]
        found = (metric for one in mine for metric in one["status"].get("metricResults", ()))
        return {metric["name"] for metric in found if metric["phase"] == "Failed"}

    def inconclusive(self, environment: str) -> bool:
        """Whether the rollout waits for a person."""
        return _waits(self.rollout(environment).get("status", {}))

    def look(self) -> list[dict[str, Any]]:
        """A sample for the page: weight and ready pods of each environment."""
        return [
            {"environment": environment, **_sample(found)}
            for environment in ENVIRONMENTS
            if (found := self.rollout(environment))
        ]


def namespace(environment: str) -> str:
    """Where an environment's objects are."""
    return f"flightline-{environment}"


def healthy(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether this identity is what all pods run."""
    status = _status_of(rollout, identity)
    return bool(status.get("phase") == "Healthy" and not status.get("abort"))


def aborted(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether the rollout of this identity was aborted."""
    return bool(_status_of(rollout, identity).get("abort"))


def undecided(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether the rollout of this identity waits for a person."""
    return _waits(_status_of(rollout, identity))


def identity_of(rollout: Mapping[str, Any]) -> str | None:
    """The identity that a Rollout is told to run."""
    found = rollout.get("metadata", {}).get("annotations", {}).get("flightline/identity")
    return None if found is None else str(found)


def _status_of(rollout: Mapping[str, Any], identity: str) -> Mapping[str, Any]:
    """What the controller says of this identity and this very generation; {} where it speaks of another."""
    status: Mapping[str, Any] = rollout.get("status", {})
    speaks = identity_of(rollout) == identity and str(rollout["metadata"]["generation"]) == status.get(
        "observedGeneration"
    )
    return status if speaks else {}


def _waits(status: Mapping[str, Any]) -> bool:
    return any(one["reason"] == "InconclusiveAnalysisRun" for one in status.get("pauseConditions") or ())


def _ready(pod: Mapping[str, Any]) -> bool:
    going = "deletionTimestamp" in pod["metadata"]
    conditions = pod["status"].get("conditions", ())
    return not going and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _sample(rollout: Mapping[str, Any]) -> dict[str, Any]:
    status, steps = rollout.get("status", {}), rollout["spec"]["strategy"]["canary"]["steps"]
    stable = status.get("currentPodHash") == status.get("stableRS") or status.get("abort")
    done = steps[: status.get("currentStepIndex", 0) + 1]
    weights = [one["setWeight"] for one in done if "setWeight" in one]
    return {
        "weight": 0 if stable or not weights else weights[-1],
        "ready": status.get("availableReplicas", 0),
        "phase": status.get("phase", ""),
    }
