"""What a cluster held at telling moments of a rollout; README.md says how it was recorded."""

import json
from pathlib import Path
from typing import Any

from pipeline.delivery.cluster import Objects

HERE = Path(__file__).parent


def document(scene: str) -> dict[str, Any]:
    """A recorded moment: application, rollout, replicasets, pods, analyses, warnings."""
    found: dict[str, Any] = json.loads((HERE / f"{scene}.json").read_text())
    return found


def rollout(scene: str) -> dict[str, Any]:
    """The Rollout of a recorded moment."""
    found: dict[str, Any] = document(scene)["rollout"]
    return found


def objects(scene: str, *, application: dict[str, Any] | None = None, **changed: Any) -> Objects:
    """A recorded moment as `Cluster.environment` gives it, with an Application, which the recording has none of."""
    kept = document(scene)
    lists = {name: tuple(kept.get(name, ())) for name in ("replicasets", "pods", "analyses", "warnings")}
    return Objects(**{"application": application, "rollout": kept["rollout"], **lists, **changed})
