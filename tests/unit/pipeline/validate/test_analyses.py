"""What Argo Rollouts makes of answers that say nothing: success, unless good ones are asked for."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.validate import analyses
from pipeline.validate.renders import Document, Rendered
from tests.unit.pipeline.validate.conftest import Edit

METRIC = {"name": "errors", "interval": "15s", "count": 20, "inconclusiveLimit": 20}


def judged(metric: dict[str, Any], kind: str = "AnalysisTemplate") -> tuple[str, ...]:
    body = {"kind": kind, "metadata": {"name": "promotion"}, "spec": {"metrics": [metric]}}
    return analyses.check([Document("k8s/overlays/staging as it is", body)]).failures


@pytest.mark.parametrize("kind", ["AnalysisTemplate", "ClusterAnalysisTemplate"])
def test_a_metric_that_passes_on_inconclusive_answers_is_named_with_the_fix(kind: str) -> None:
    (failure,) = judged(METRIC, kind)
    assert failure.startswith(f"k8s/overlays/staging as it is: {kind} promotion: metric 'errors': inconclusiveLimit 20")
    assert failure.endswith("set consecutiveSuccessLimit")


@pytest.mark.parametrize(
    "metric",
    [
        METRIC | {"count": "20", "inconclusiveLimit": "20"},
        METRIC | {"inconclusiveLimit": "{{args.limit}}"},
        METRIC | {"count": "{{args.count}}", "inconclusiveLimit": 3},
        METRIC | {"consecutiveSuccessLimit": 0},
        {"name": "once", "inconclusiveLimit": 1},
    ],
)
def test_text_arguments_and_defaults_do_not_hide_it(metric: dict[str, Any]) -> None:
    assert judged(metric)


@pytest.mark.parametrize(
    "metric",
    [
        METRIC | {"consecutiveSuccessLimit": 4},
        METRIC | {"consecutiveSuccessLimit": "4"},
        METRIC | {"inconclusiveLimit": 19},
        {"name": "background", "interval": "15s"},
        {"name": "background", "interval": "15s", "inconclusiveLimit": 100},
        {"name": "once"},
    ],
)
def test_a_metric_that_needs_good_answers_or_ends_before_holds(metric: dict[str, Any]) -> None:
    assert judged(metric) == ()


def test_the_shipped_analyses_hold(rendered: Callable[[], Rendered]) -> None:
    assert analyses.check(rendered().documents).holds


def test_an_overlay_that_asks_for_no_good_answer_is_named(rendered: Callable[[], Rendered], edit: Edit) -> None:
    edit("k8s/overlays/production/analysis.yaml", 'good-in-a-row: "5"', 'good-in-a-row: "0"')
    failures = analyses.check(rendered().documents).failures
    assert len(failures) == 4
    assert all("k8s/overlays/production" in one and "flightline-promotion" in one for one in failures)
