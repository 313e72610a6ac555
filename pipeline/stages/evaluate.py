"""evaluate: the ONNX graph on the held-out rows, against the constant baseline and against its own estimator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.calibration import calibration_curve

from model.contract import Floats, Model
from pipeline import paths
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, read_rows, write_json
from pipeline.stages.train import matrix
from serving import bundle

CURVE_POINTS = 200
CALIBRATION_BINS = 10


def run(context: Context) -> None:
    """build/model and build/rows -> build/evaluation."""
    model, root = context.model, context.root
    rows = read_rows(root / paths.ROWS, model.schema)
    train, holdout = rows[rows[PART] == TRAIN], rows[rows[PART] == HOLDOUT]
    scores = bundle.run(bundle.open_session(root / paths.MODEL), matrix(model, holdout))
    said = pd.read_csv(root / paths.ESTIMATOR_SCORES)["score"].to_numpy()
    write_json(root / paths.METRICS, evaluate(model, train, holdout, scores, said))
    for name, curve in curves(model, holdout, scores).items():
        target = root / paths.PLOTS / f"{name}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        curve.to_csv(target, index=False)


def evaluate(
    model: Model, train: pd.DataFrame, holdout: pd.DataFrame, scores: Floats, estimator_scores: Floats
) -> Mapping[str, Any]:
    """Everything `dvc metrics` shows: sizes, loss against the baseline, task metrics, parity with the estimator.

    A figure that does not exist for these rows, such as the AUC of one class, is left out. Raises TableError where a
    score or the loss is not finite.
    """
    label = model.schema.label
    _check_finite(scores, "the ONNX graph")
    _check_finite(estimator_scores, "the estimator")
    constant = model.baseline(train[label].to_numpy())
    loss = _mean_loss(model, holdout, scores)
    baseline_loss = _mean_loss(model, holdout, np.full(len(holdout), constant))
    gain = {"gain": 1 - loss / baseline_loss} if baseline_loss else {}
    return {
        "rows": {
            "train": len(train),
            "holdout": len(holdout),
            "holdout_blocks": int(holdout[model.schema.block].nunique()),
        },
        "loss": loss,
        "baseline": {"score": constant, "loss": baseline_loss, **gain},
        "parity": {"largest_difference": float(np.abs(scores - estimator_scores).max())},
        **_task_metrics(model.card.task, holdout[label].to_numpy(), scores),
    }


def _check_finite(scores: Floats, giver: str) -> None:
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise TableError(
            f"{wrong:,} of {len(scores):,} scores of the holdout are NaN or infinite: {giver} is wrong; "
            "check model.estimator and what it does with nulls"
        )


def _mean_loss(model: Model, holdout: pd.DataFrame, scores: Floats) -> float:
    loss = np.asarray(model.loss(holdout, scores), np.float64)
    carried = loss[~np.isnan(loss)]
    if not len(carried) or not np.isfinite(carried).all():
        raise TableError("model.loss gives no finite loss over the holdout; check it, and the label")
    return float(carried.mean())


def _task_metrics(task: str, labels: Floats, scores: Floats) -> dict[str, float]:
    if task == "classification":
        return {**_ranking_metrics(labels, scores), **_probability_metrics(labels, scores)}
    if task == "regression":
        return {
            "mean_absolute_error": float(metrics.mean_absolute_error(labels, scores)),
            "root_mean_squared_error": float(metrics.root_mean_squared_error(labels, scores)),
        }
    return {}


def _ranking_metrics(labels: Floats, scores: Floats) -> dict[str, float]:
    if _one_class(labels):
        return {}
    return {
        "roc_auc": float(metrics.roc_auc_score(labels, scores)),
        "average_precision": float(metrics.average_precision_score(labels, scores)),
    }


def _probability_metrics(labels: Floats, scores: Floats) -> dict[str, float]:
    if not _probabilities(scores):
        return {}
    expected = float(scores.mean())
    return {
        "brier": float(metrics.brier_score_loss(labels, scores, pos_label=1)),
        **({"observed_over_expected": float(labels.mean() / expected)} if expected else {}),
    }


def _one_class(labels: Floats) -> bool:
    return bool((labels == labels[0]).all())


def _probabilities(scores: Floats) -> bool:
    """Whether all can be; the differential gate says which cannot."""
    return bool(((scores >= 0) & (scores <= 1)).all())


def curves(model: Model, holdout: pd.DataFrame, scores: Floats) -> Mapping[str, pd.DataFrame]:
    """Points of the plots that `dvc plots` draws: those that exist for this task and these rows."""
    if model.card.task != "classification":
        return {"scores": pd.DataFrame({"label": holdout[model.schema.label], "score": scores})}
    labels = holdout[model.schema.label].to_numpy()
    return {**_calibration(labels, scores), **_ranking_curves(labels, scores)}


def _calibration(labels: Floats, scores: Floats) -> dict[str, pd.DataFrame]:
    if not _probabilities(scores):
        return {}
    observed, predicted = calibration_curve(labels, scores, pos_label=1, n_bins=CALIBRATION_BINS, strategy="quantile")
    return {"calibration": pd.DataFrame({"predicted": predicted, "observed": observed})}


def _ranking_curves(labels: Floats, scores: Floats) -> dict[str, pd.DataFrame]:
    if _one_class(labels):
        return {}
    false_positive, true_positive, _ = metrics.roc_curve(labels, scores)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    return {
        "roc": thinned(pd.DataFrame({"false_positive_rate": false_positive, "true_positive_rate": true_positive})),
        "pr": thinned(pd.DataFrame({"recall": recall, "precision": precision})),
    }


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most CURVE_POINTS points of a curve, its ends among them."""
    kept = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).astype(int))
    return curve.iloc[kept]
