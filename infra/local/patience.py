"""A test cluster's patience: intervals of seconds, small samples, and an objective that two busy cores can meet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

# Of the overlays' analysis.yaml; what each does is in docs/delivery.md.
ANALYSIS = {
    "canary-pause": "6s",
    "half-pause": "4s",
    "window": "20s",
    "min-requests": "30",
    "min-scores": "500",
    "interval": "3s",
    "count": "8",
    "good-in-a-row": "2",
    "progress-seconds": "30",
    "deadline-seconds": "1",
    "deadline-schedule": "0 0 1 1 *",
}
TRAFFIC = {"traffic-seconds": "90", "traffic-rate": "100"}
P95_SECONDS = "0.250"
# What so few scores are apart by chance, with every release of a whole story; a wrong model is .7 away.
KS_TOLERANCE = "0.20"
# Shorter load rounds, beside other jobs: what is told is what follows the gates, and not by chance the speed.
LOAD = {
    "users": 2,
    "rounds": 3,
    "max_rounds": 9,
    "round_seconds": 0.3,
    "max_slowdown": 10.0,
    "stress_users": [1],
}


def shorten(root: Path, environments: tuple[str, ...] = ("staging", "production")) -> None:
    """Write it into the overlays, the objectives and params.yaml of a checkout, whose comments are kept."""
    for environment in environments:
        path = root / f"k8s/overlays/{environment}/analysis.yaml"
        path.write_text(_with(path.read_text(), {**ANALYSIS, **TRAFFIC}))
    slo = root / "k8s/base/slo.yaml"
    slo.write_text(_with(slo.read_text(), {"p95_seconds": P95_SECONDS}))
    canary = root / "k8s/base/canary.yaml"
    canary.write_text(_with(canary.read_text(), {"ks_tolerance": KS_TOLERANCE}))
    params = root / "params.yaml"
    params.write_text(_with(params.read_text(), LOAD))


def _with(text: str, values: Mapping[str, Any]) -> str:
    """YAML whose `name: value` lines of these names say something else; a name that is not there is left out."""
    for name, value in values.items():
        said = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
        text = re.sub(rf"(?m)^( *{re.escape(name)}: )[^#\n]*?( *#.*)?$", rf"\g<1>{said}\g<2>", text)
    return text
