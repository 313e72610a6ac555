"""Analyses that cannot promote by saying nothing: what Argo Rollouts makes of a metric that ran out of answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.validate.renders import Document
from pipeline.validate.results import Result, grouped, several

NAME = "analyses"
_KINDS = frozenset({"AnalysisTemplate", "ClusterAnalysisTemplate"})


def check(documents: Sequence[Document]) -> Result:
    """No metric passes on inconclusive answers alone."""
    templates = [one for one in documents if one.body.get("kind") in _KINDS]
    metrics = [(one, metric) for one in templates for metric in _metrics(one.body)]
    failures = grouped(
        (
            one.where,
            f"{one.name}: metric {metric.get('name')!r}: inconclusiveLimit {metric['inconclusiveLimit']} is not "
            f"below count {metric.get('count', 1)}, so too few answers count as success; set consecutiveSuccessLimit",
        )
        for one, metric in metrics
        if passes_on_nothing(metric)
    )
    return Result(NAME, several(len(metrics), "metric"), failures)


def passes_on_nothing(metric: Mapping[str, Any]) -> bool:
    """Whether `count` inconclusive answers are success: nothing else ends it, and no good answer is asked for.

    A number that an argument brings is not known here, and counts as the one that lets them pass.
    """
    limit, count = metric.get("inconclusiveLimit", 0), metric.get("count", None if "interval" in metric else 1)
    if count is None or _number(metric.get("consecutiveSuccessLimit", 0), 0) > 0:
        return False
    return _number(limit, float("inf")) >= _number(count, 0)


def _number(value: Any, otherwise: float) -> float:
    try:
        return float(value)
    except ValueError:
        return otherwise


def _metrics(template: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (template.get("spec") or {}).get("metrics") or ()
