import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.validate import alerts
from pipeline.validate.renders import Document
from tests.unit.pipeline.validate.conftest import PROJECT, Edit

GOOD = {
    "alert": "FlightlineSlow",
    "expr": "vector(1)",
    "labels": {"severity": "critical"},
    "annotations": {"summary": "slow", "runbook_url": "https://example.com/docs/runbooks/slow.md"},
}


@pytest.fixture
def root(tree: Path) -> Iterator[Path]:
    shutil.copytree(PROJECT / "docs/runbooks", tree / "docs/runbooks")
    return tree


def rules(*found: dict[str, Any]) -> list[Document]:
    return [Document("k8s/here", {"kind": "PrometheusRule", "spec": {"groups": [{"name": "a", "rules": list(found)}]}})]


def test_an_alert_with_severity_summary_and_runbook_holds(root: Path) -> None:
    found = alerts.check(root, rules(GOOD, {"record": "a", "expr": "b"}))
    assert (found.holds, found.counted) == (True, "1 alert")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"labels": {"severity": "page"}}, "severity is 'page'; Alertmanager routes critical and warning"),
        ({"labels": None}, "severity is None"),
        ({"annotations": {**GOOD["annotations"], "summary": ""}}, "no summary"),
        ({"annotations": {"summary": "slow"}}, "leads to no file of docs/runbooks"),
        (
            {"annotations": {"summary": "slow", "runbook_url": "https://example.com/lost.md"}},
            "lost.md' leads to no file",
        ),
    ],
)
def test_what_nobody_could_act_on_is_named(changed: dict[str, Any], expected: str, root: Path) -> None:
    (failure,) = alerts.check(root, rules({**GOOD, **changed})).failures
    assert failure.startswith("k8s/here: alert FlightlineSlow: ")
    assert expected in failure


def test_a_runbook_without_one_of_its_headings_is_named(root: Path, edit: Edit) -> None:
    edit("docs/runbooks/slow.md", "## What to type", "## Type")
    (failure,) = alerts.check(root, rules(GOOD)).failures
    assert "docs/runbooks/slow.md has no heading 'What to type'" in failure


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('p95_seconds: "0.050"', 'p95_seconds: "0.030"', "p95_seconds 0.03 is no bound.*take 0.025 or 0.05"),
        ('error_ratio: "0.01"', 'error_ratio: "0.08"', "error_ratio 0.08 burns 14.4 times as fast at no share"),
    ],
)
def test_an_objective_that_no_alert_could_find_missed_is_named(
    old: str, new: str, expected: str, root: Path, edit: Edit
) -> None:

    edit("k8s/base/slo.yaml", old, new)
    (failure,) = alerts.check(root, rules(GOOD)).failures
    assert re.search(expected, failure)
