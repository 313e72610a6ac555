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
from pipeline.frames import HOLDOUT, PART, TRAIN, read_rows, write_json
from pipeline.stages.train import matrix
from serving.bundle import GRAPH_INPUT, GRAPH_OUTPUT, open_session

CURVE_POINTS = 200
CALIBRATION_BINS = 10


def run(context: Context) -> None:
    """build/model and build/rows -> build/evaluation."""
    model, root = context.model, context.root
    rows = read_rows(root / paths.ROWS, model.schema)
    train, holdout = rows[rows[PART] == TRAIN], rows[rows[PART] == HOLDOUT]
    session = open_session(root / paths.MODEL)
    scores = session.run([GRAPH_OUTPUT], {GRAPH_INPUT: matrix(model, holdout)})[0].reshape(-1)
    said = pd.read_csv(root / paths.ESTIMATOR_SCORES)["score"].to_numpy()
    write_json(root / paths.METRICS, evaluate(model, train, holdout, scores, said))
    for name, curve in curves(model, holdout, scores).items():
        target = root / paths.PLOTS / f"{name}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        curve.to_csv(target, index=False)


def evaluate(
    model: Model, train: pd.DataFrame, holdout: pd.DataFrame, scores: Floats, estimator_scores: Floats
) -> Mapping[str, Any]:
    """Everything `dvc metrics` shows: sizes, loss against the baseline, task metrics, parity with the estimator."""
    label = model.schema.label
    constant = model.baseline(train[label].to_numpy())
    loss = float(np.nanmean(model.loss(holdout, scores)))
    baseline_loss = float(np.nanmean(model.loss(holdout, np.full(len(holdout), constant))))
    return {
        "rows": {
            "train": len(train),
            "holdout": len(holdout),
            "holdout_blocks": int(holdout[model.schema.block].nunique()),
        },
        "loss": loss,
        "baseline": {"score": constant, "loss": baseline_loss, "gain": 1 - loss / baseline_loss},
        "parity": {"largest_difference": float(np.abs(scores - estimator_scores).max())},
        **_task_metrics(model.card.task, holdout[label].to_numpy(), scores),
    }


def _task_metrics(task: str, labels: Floats, scores: Floats) -> dict[str, float]:
    if task == "classification":
        return {
            "roc_auc": float(metrics.roc_auc_score(labels, scores)),
            "average_precision": float(metrics.average_precision_score(labels, scores)),
            "brier": float(metrics.brier_score_loss(labels, scores)),
            "observed_over_expected": float(labels.mean() / scores.mean()),
        }
    if task == "regression":
        return {
            "mean_absolute_error": float(metrics.mean_absolute_error(labels, scores)),
            "root_mean_squared_error": float(metrics.root_mean_squared_error(labels, scores)),
        }
    return {}


def curves(model: Model, holdout: pd.DataFrame, scores: Floats) -> Mapping[str, pd.DataFrame]:
    """Points of the plots that `dvc plots` draws; only a classification has them."""
    if model.card.task != "classification":
        return {"scores": pd.DataFrame({"label": holdout[model.schema.label], "score": scores})}
    labels = holdout[model.schema.label].to_numpy()
    observed, predicted = calibration_curve(labels, scores, n_bins=CALIBRATION_BINS, strategy="quantile")
    false_positive, true_positive, _ = metrics.roc_curve(labels, scores)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    return {
        "calibration": pd.DataFrame({"predicted": predicted, "observed": observed}),
        "roc": thinned(pd.DataFrame({"false_positive_rate": false_positive, "true_positive_rate": true_positive})),
        "pr": thinned(pd.DataFrame({"recall": recall, "precision": precision})),
    }


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most CURVE_POINTS points of a curve, its ends among them."""
    kept = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).astype(int))
    return curve.iloc[kept]
