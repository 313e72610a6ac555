"""What the cluster says about an identity, for whoever was only told: a message is a hint, this is what confirms it."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pipeline.config import Frozen, Settings
from pipeline.delivery.cluster import Cluster, ClusterError, Json, Names, Objects, connect
from pipeline.delivery.control import identity_of
from pipeline.delivery.observed import Analysis, analyses_of, rolling_of
from pipeline.delivery.words import SHORT

Says = Literal["healthy", "aborted", "paused", "moving", "other", "unknown"]
Event = Literal["aborted", "paused", "completed"]

KUBECONFIG = "KUBECONFIG"
_CONFIRMS: Mapping[Event, Says] = {"aborted": "aborted", "paused": "paused", "completed": "healthy"}
_INCONCLUSIVE = "InconclusiveAnalysisRun"


class Witness(Frozen):
    """What the rollout of an identity does: `why` in a sentence, `since` when (ISO, UTC), where the cluster says it.

    "other" is where something else rolls out there; "unknown" where nobody could be asked, and `why` says why not.
    """

    says: Says
    why: str = ""
    since: str = ""
    analyses: tuple[Analysis, ...] = ()
    canary: str = ""
    stable: str = ""

    def confirms(self, event: Event) -> bool | None:
        """Whether it is so; None where the cluster could not be asked."""
        return None if self.says == "unknown" else self.says == _CONFIRMS[event]

    @property
    def event(self) -> Event | None:
        """What the cluster would have called out."""
        return next((event for event, says in _CONFIRMS.items() if says == self.says), None)


def ask(settings: Settings, env: str, identity: str, environ: Mapping[str, str] = os.environ) -> Witness:
    """Ask the cluster of KUBECONFIG. One that is not there, or does not answer, is no fault: it is unknown then."""
    if not any(Path(one).is_file() for one in environ.get(KUBECONFIG, "").split(os.pathsep)):
        return Witness(says="unknown", why=f"this run has no access to it ({KUBECONFIG} names no file)")
    try:
        return look(connect(), settings, env, identity)
    except ClusterError:
        return Witness(says="unknown", why="it did not answer this run")


def look(cluster: Cluster, settings: Settings, env: str, identity: str) -> Witness:
    """Ask this cluster. Raises ClusterError."""
    return heard(cluster.environment(Names.of(settings, env)), identity)


def heard(found: Objects, identity: str) -> Witness:
    """What an environment's objects say about an identity. Pure."""
    rolling = rolling_of(found)
    if rolling is None or found.rollout is None:
        return Witness(says="other", why="there is no rollout")
    status: Json = found.rollout.get("status", {})
    if rolling.identity != identity:
        return Witness(says="other", why=f"it rolls out identity {identity_of(found.rollout)[:SHORT] or 'none'}")
    seen = str(status.get("observedGeneration", "")) == str(found.rollout["metadata"].get("generation"))
    if not seen:
        return Witness(says="unknown", why=rolling.why)
    says = _says(status, rolling.phase)
    return Witness(
        says=says,
        why=rolling.why or rolling.phase,
        since=_since(status, says),
        analyses=analyses_of(found),
        canary=str(status.get("currentPodHash", "")),
        stable=str(status.get("stableRS", "")),
    )


def _says(status: Json, phase: str) -> Says:
    if status.get("abort"):
        return "aborted"
    if any(one.get("reason") == _INCONCLUSIVE for one in status.get("pauseConditions") or ()):
        return "paused"
    stable = status.get("stableRS") and status.get("stableRS") == status.get("currentPodHash")
    return "healthy" if stable and phase == "Healthy" else "moving"


def _since(status: Json, says: Says) -> str:
    """When it became so, by the controller's own conditions."""
    if says == "aborted":
        return str(status.get("abortedAt") or "")
    healthy = [one for one in status.get("conditions", ()) if one.get("type") == "Healthy" and one["status"] == "True"]
    return str(healthy[0].get("lastTransitionTime", "")) if says == "healthy" and healthy else ""


def when(moment: str) -> str:
    """An ISO time as people read it, to the minute in UTC; "" for none."""
    if not moment:
        return ""
    at = datetime.datetime.fromisoformat(moment).astimezone(datetime.UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC"
