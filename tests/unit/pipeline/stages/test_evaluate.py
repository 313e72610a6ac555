import json
import warnings

import numpy as np
import pandas as pd
import pytest

from model.contract import Card, Schema
from pipeline.frames import TableError
from pipeline.stages.evaluate import curves, evaluate

CARD = Card(name="toy", title="Toy", task="classification", description="toy", output="probability")
ROWS = 200
SCORES = np.linspace(0.01, 0.99, ROWS).astype(np.float32)


class Toy:
    """A model whose scores are given; squared error is its loss."""

    schema = Schema(columns=(), key=("row",), label="late", block="day")

    def __init__(self, task: str = "classification") -> None:
        self.card = CARD.model_copy(update={"task": task})

    def loss(self, frame, scores):
        return (frame["late"].to_numpy(float) - np.asarray(scores, float)) ** 2

    def baseline(self, labels):
        return float(np.mean(labels))


def rows(late: object) -> pd.DataFrame:
    return pd.DataFrame({"row": np.arange(ROWS), "day": np.arange(ROWS) // 10, "late": late})


BOTH = rows(np.arange(ROWS) % 3 == 0).astype({"late": float})


def judged(holdout: pd.DataFrame, scores=SCORES, said=SCORES, task: str = "classification"):
    """Metrics and curves, through JSON as they are written, and without one warning on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(Toy(task), BOTH, holdout, scores, said)
        drawn = curves(Toy(task), holdout, scores)
    return json.loads(json.dumps(found, allow_nan=False)), drawn


def test_a_holdout_of_both_classes_has_every_figure():
    found, drawn = judged(BOTH)
    assert {"roc_auc", "average_precision", "brier", "observed_over_expected"} <= found.keys()
    assert drawn.keys() == {"calibration", "roc", "pr"}
    assert found["brier"] == pytest.approx(found["loss"])


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_holdout_of_one_class_leaves_out_what_does_not_exist(label):
    found, drawn = judged(rows(label))
    assert not {"roc_auc", "average_precision"} & found.keys()
    assert found["brier"] == pytest.approx(float(((label - SCORES) ** 2).mean()), rel=1e-5)
    assert drawn.keys() == {"calibration"}
    assert drawn["calibration"]["observed"].eq(label).all()


def test_scores_that_are_no_probabilities_have_neither_brier_nor_calibration():
    found, drawn = judged(BOTH, scores=SCORES + 1)
    assert "brier" not in found
    assert drawn.keys() == {"roc", "pr"}


def test_a_constant_that_is_never_wrong_cannot_be_gained_on():
    never = evaluate(Toy("regression"), rows(2.0), rows(2.0), SCORES, SCORES)
    assert never["baseline"] == {"score": 2.0, "loss": 0.0}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("which", "giver"), [("scores", "the ONNX graph"), ("said", "the estimator")])
def test_scores_that_are_not_finite_are_counted_and_their_giver_named(which, giver, value):
    broken = SCORES.copy()
    broken[:3] = value
    with pytest.raises(TableError, match=f"3 of 200 scores of the holdout are NaN or infinite: {giver} is wrong"):
        judged(BOTH, **{which: broken})


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(TableError, match="no finite loss"):
        judged(rows(np.inf), task="regression")
