"""Figures of merit and curves for people, by task. Shown in the report, never judged."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from model.contract import Floats, Task
from pipeline.gates import decide
from pipeline.gates.decide import plain
from pipeline.verdict import Check, Curve

_POINTS = 200
_BINS = 20


@dataclass(frozen=True)
class Figures:
    """Reported checks and curves of candidate and reference."""

    checks: tuple[Check, ...] = ()
    curves: tuple[Curve, ...] = ()


def of(task: Task, labels: Floats, candidate: Floats, reference: Floats | None) -> Figures:
    """Figures of the candidate and, unless it is a constant (None), of production; arrays of shape (rows,).

    Ranking has none, and neither has a classification whose rows are all of one class.
    """
    scored = {"candidate": candidate, "production": reference}
    pairs = [(name, scores) for name, scores in scored.items() if scores is not None and np.isfinite(scores).all()]
    if task == "regression" and len(labels):
        return _join(_of_regression(name, labels, scores) for name, scores in pairs)
    if task == "classification" and len(np.unique(labels)) > 1:
        return _join(_of_classification(name, labels, scores) for name, scores in pairs)
    return Figures()


def _join(parts: Iterable[Figures]) -> Figures:
    every = list(parts)
    return Figures(
        tuple(check for one in every for check in one.checks), tuple(curve for one in every for curve in one.curves)
    )


def _of_classification(name: str, labels: Floats, scores: Floats) -> Figures:
    false_positive, true_positive, _ = metrics.roc_curve(labels, scores)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    values = {
        "ROC AUC": metrics.roc_auc_score(labels, scores),
        "average precision": metrics.average_precision_score(labels, scores),
        "Brier score": float(np.mean((scores - labels) ** 2)),
    }
    curves = (
        calibration(name, labels, scores),
        _thinned(f"ROC: {name}", false_positive, true_positive),
        _thinned(f"precision by recall: {name}", recall[::-1], precision[::-1]),
    )
    return Figures(_reported(name, values), curves)


def _of_regression(name: str, labels: Floats, scores: Floats) -> Figures:
    values = {
        "mean absolute error": metrics.mean_absolute_error(labels, scores),
        "root mean squared error": metrics.root_mean_squared_error(labels, scores),
    }
    return Figures(_reported(name, values), (calibration(name, labels, scores),))


def _reported(name: str, values: dict[str, float]) -> tuple[Check, ...]:
    return tuple(
        decide.reported(f"{what}, {name}", f"{name}: {plain(float(value))}", statistic=float(value))
        for what, value in values.items()
    )


def calibration(name: str, labels: Floats, scores: Floats) -> Curve:
    """Mean label against mean score in bins of equal count; `weight` holds the counts."""
    order = np.argsort(scores, kind="stable")
    bins = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    return Curve(
        name=f"calibration: {name}",
        x=tuple(float(scores[part].mean()) for part in bins),
        y=tuple(float(labels[part].mean()) for part in bins),
        weight=tuple(float(len(part)) for part in bins),
    )


def histogram(name: str, scores: Floats, low: float, high: float) -> Curve:
    """Share of the scores in each bin between `low` and `high`; `x` is the middle of a bin."""
    share, edges = np.histogram(scores, bins=_BINS * 2, range=(low, high))
    middle = (edges[:-1] + edges[1:]) / 2
    return Curve(name=name, x=tuple(middle.tolist()), y=tuple((share / max(1, len(scores))).tolist()))


def _thinned(name: str, x: Floats, y: Floats) -> Curve:
    kept = np.unique(np.linspace(0, len(x) - 1, min(_POINTS, len(x))).astype(int))
    return Curve(name=name, x=tuple(x[kept].tolist()), y=tuple(y[kept].tolist()))
