"""resume and abort: what a person may tell a rollout, by the patches that `kubectl argo rollouts` sends.

The patches are those of promote and abort in argo-rollouts v1.9.1 (pkg/kubectl-argo-rollouts/cmd), with the version of
the object they were decided on, so that a rollout which moved on meanwhile is looked at again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.cluster import Cluster, ConflictError, Json, Names
from pipeline.delivery.models import DeliveryError

IDENTITY = "flightline/identity"
REASON = "flightline/abort-reason"
SHORTEST = 12
_TRIES = 10
_INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True)
class Patches:
    """What to merge into the Rollout and into its status, in the order given here; None where there is nothing."""

    metadata: Json | None = None
    status: Json | None = None
    spec: Json | None = None


Decide = Callable[[Json], Patches]


def resume(cluster: Cluster, names: Names, identity: str = "") -> str:
    """Let a paused rollout go on; returns the identity that goes on. Raises DeliveryError, ClusterError."""
    return _apply(cluster, names, identity, resuming)


def abort(cluster: Cluster, names: Names, identity: str = "", reason: str = "") -> str:
    """Send all traffic back to the stable version; returns the identity aborted. Raises DeliveryError, ClusterError."""
    return _apply(cluster, names, identity, lambda rollout: aborting(rollout, reason))


def resuming(rollout: Json) -> Patches:
    """How to go on from where this Rollout is paused. Raises DeliveryError where it is not.

    A rollout that is not paused is never pushed on: that would skip the analysis which is running.
    """
    status, paused = rollout.get("status", {}), bool(rollout["spec"].get("paused"))
    conditions = status.get("pauseConditions") or ()
    if status.get("abort"):
        raise DeliveryError(f"{_name(rollout)} was aborted; release anew, or revert what was aborted")
    if not paused and not conditions:
        raise DeliveryError(f"{_name(rollout)} is not paused: nothing to resume; `flightline status` says what it does")
    spec = {"spec": {"paused": False}} if paused else None
    if not conditions:
        return Patches(spec=spec)
    if _step_is_inconclusive(status) and status.get("controllerPause"):
        # Else the rollout would stay paused where the next step is a pause.
        cleared = {"pauseConditions": None, "controllerPause": False, "currentStepIndex": _next_step(rollout)}
        return Patches(status={"status": cleared}, spec=spec)
    return Patches(status={"status": {"pauseConditions": None}}, spec=spec)


def aborting(rollout: Json, reason: str = "") -> Patches:
    """How to abort this Rollout. Raises DeliveryError where nothing is rolling out."""
    status = rollout.get("status", {})
    if status.get("abort"):
        raise DeliveryError(f"{_name(rollout)} was aborted already; `flightline status` says why")
    if not status.get("stableRS"):
        raise DeliveryError(f"{_name(rollout)} has no stable version to go back to; mend or revert the release")
    if status.get("currentPodHash") == status["stableRS"]:
        raise DeliveryError(f"{_name(rollout)} is not rolling out: nothing to abort; `flightline rollback` goes back")
    said = {"metadata": {"annotations": {REASON: f"{identity_of(rollout)[:SHORTEST]} {reason}"}}} if reason else None
    return Patches(metadata=said, status={"status": {"abort": True}})


def identity_of(rollout: Json) -> str:
    """The identity that this Rollout rolls out, "" where none is written on it."""
    return str(rollout.get("metadata", {}).get("annotations", {}).get(IDENTITY, ""))


def abort_reason(rollout: Json) -> str:
    """The reason a person gave for aborting this very identity, else ""."""
    said = str(rollout.get("metadata", {}).get("annotations", {}).get(REASON, ""))
    identity, _, reason = said.partition(" ")
    return reason if identity and identity_of(rollout).startswith(identity) else ""


def _apply(cluster: Cluster, names: Names, identity: str, decide: Decide) -> str:
    """Decide on the Rollout as it is and patch it, again where it changed in between."""
    for _ in range(_TRIES):
        rollout = cluster.rollout(names)
        if rollout is None:
            raise DeliveryError(
                f"{names.namespace}: there is no rollout {names.rollout!r}; `flightline status` says more"
            )
        _check(rollout, identity)
        try:
            _patch(cluster, names, decide(rollout), rollout)
        except ConflictError:
            continue
        return identity_of(rollout)
    raise DeliveryError(f"{names.namespace}: the rollout changed {_TRIES} times while it was looked at; try again")


def _check(rollout: Json, identity: str) -> None:
    """Raise DeliveryError unless the controller has seen this Rollout and its identity is the one that was meant."""
    if identity and (len(identity) < SHORTEST or not identity_of(rollout).startswith(identity)):
        short = f" ({SHORTEST} characters or more)" if len(identity) < SHORTEST else ""
        raise DeliveryError(f"identity {identity!r}{short} was meant, {identity_of(rollout) or 'none'} is rolling out")
    observed = str(rollout.get("status", {}).get("observedGeneration", ""))
    if observed != str(rollout["metadata"].get("generation")):
        raise DeliveryError(f"{_name(rollout)}: the Rollouts controller has not seen the newest change; try again")


def _patch(cluster: Cluster, names: Names, patches: Patches, rollout: Json) -> None:
    """Send them, the first with the version that was read; later ones follow from it."""
    version: Mapping[str, Any] = {"resourceVersion": rollout["metadata"]["resourceVersion"]}
    for patch, status in ((patches.metadata, False), (patches.status, True), (patches.spec, False)):
        if patch is not None:
            document = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
            version = {
                "resourceVersion": cluster.patch_rollout(names, document, status=status)["metadata"]["resourceVersion"]
            }


def _step_is_inconclusive(status: Json) -> bool:
    run = status.get("canary", {}).get("currentStepAnalysisRunStatus") or {}
    return bool(run.get("status") == _INCONCLUSIVE)


def _next_step(rollout: Json) -> int:
    steps = rollout["spec"].get("strategy", {}).get("canary", {}).get("steps", ())
    return min(int(rollout["status"].get("currentStepIndex", 0)) + 1, len(steps))


def _name(rollout: Json) -> str:
    return f"{rollout['metadata']['namespace']}: {identity_of(rollout)[:SHORTEST] or 'the rollout'}"
