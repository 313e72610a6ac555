"""Alerting rules, answered by Prometheus' own engine (promtool)."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (package prometheus) is not installed"
)
# What tells alerts of one name apart, the first that an alert has.
_NAMED_BY = ("window", "pod", "env")


def firing(
    groups: Sequence[Mapping[str, Any]],
    namespace: str,
    series: Mapping[str, str],
    minute: int,
    scratch: Path,
    step: int = 1,
) -> dict[str, set[str]]:
    """The alerts that fire at that minute, each with its windows, pods or environments; all are of that namespace.

    `series` has values every `step` minutes, in promtool's notation.
    """
    rules = scratch / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": list(groups)}))
    test = {
        "interval": f"{step}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m", "exp_samples": []}],
    }
    path = scratch / "test.json"
    document = {"rule_files": [str(rules)], "evaluation_interval": f"{step}m", "tests": [test]}
    path.write_text(json.dumps(document))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    return _fired(done.stdout + done.stderr, namespace)


def _fired(said: str, namespace: str) -> dict[str, set[str]]:
    """Promtool expected nothing, and says what it got: `{__name__="ALERTS", alertname="...", ...} 1E+00, ...`."""
    assert ("SUCCESS" in said) != ("got:" in said), said
    found: dict[str, set[str]] = {}
    for one in re.findall(r'{__name__="ALERTS", ([^}]*)}', said):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', one))
        assert labels["namespace"] == namespace, labels
        name = next((labels[kind] for kind in _NAMED_BY if labels.get(kind)), "")
        found.setdefault(labels["alertname"], set()).add(name)
    assert bool(found) == ("got:" in said), said
    return found
