"""Analyses with a guard taken out, to see that the story then fails: `BREAK=errors,p95,ks,sample make e2e`."""

from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from tests.checkouts import Checkout

ANALYSIS = "k8s/base/analysis.yaml"
GUARDS = ("errors", "p95", "ks", "sample")


def take_out(fork: Checkout, guards: Iterable[str]) -> None:
    """Commit and push a fork whose analyses look away: from a metric, or (`sample`) from how little they know."""
    path = fork.root / ANALYSIS
    templates = list(yaml.safe_load_all(path.read_text()))
    for guard in guards:
        if guard not in GUARDS:
            pytest.fail(f"BREAK={guard}: there is no such guard; name some of {','.join(GUARDS)}")
        for metric in (one for template in templates for one in template["spec"]["metrics"]):
            metric.update(_blind(metric, guard))
    path.write_text(yaml.safe_dump_all(templates, sort_keys=False))
    fork.commit("Guards taken out")
    fork.run("git", "push", "-q", "origin", "main")


def _blind(metric: dict[str, Any], guard: str) -> dict[str, str]:
    if guard == "sample" and "successCondition" in metric:
        enough = "true" if metric["name"] == "requests" else f"len(result) == 0 || ({metric['successCondition']})"
        return {"successCondition": enough}
    if guard != metric["name"]:
        return {}
    passing = {"successCondition": "true"} if "successCondition" in metric else {}
    return {"failureCondition": "false", **passing}
