"""Is a tumour malignant? 300 rows of the breast cancer data that scikit-learn ships."""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.contract import Card, Column, Schema
from model.splits import by_group

ROWS, ROWS_A_CLINIC = 300, 10
FEATURES = {"mean radius": "radius", "mean texture": "texture", "mean smoothness": "smoothness"}
SCHEMA = Schema(
    columns=tuple(
        Column(name=name, type="number", description=f"mean {name}", minimum=0, maximum=1000, example=1.0)
        for name in FEATURES.values()
    ),
    key=("patient",),
    label="malignant",
    block="clinic",
)
CARD = Card(
    name="tumours",
    title="Tumours",
    task="classification",
    description="Is a tumour malignant?",
    output="probability of malignancy",
    threshold=0.5,
    minimum=0,
    maximum=1,
)


def load(params):
    return Tumours(params)


class Tumours:
    card, schema, history_end = CARD, SCHEMA, None

    def __init__(self, params):
        self.share, self.penalty = params["split"]["share"], params["estimator"]["C"]

    def fetch(self):
        data = load_breast_cancer(as_frame=True)
        return {"cells": data.frame.head(ROWS)}

    def prepare(self, tables):
        cells = tables["cells"].rename(columns=FEATURES)
        malignant = (cells["target"] == 0).astype(int)
        clinic = pd.Series(np.arange(len(cells)) // ROWS_A_CLINIC).map("clinic-{:02d}".format)
        return cells[list(FEATURES.values())].assign(patient=np.arange(len(cells)), clinic=clinic, malignant=malignant)

    def split(self, frame):
        return by_group(frame, group="clinic", label="malignant", share=self.share)

    def estimator(self):
        return make_pipeline(StandardScaler(), LogisticRegression(C=self.penalty))

    def score(self, estimator, rows):
        return estimator.predict_proba(rows)[:, 1]

    def loss(self, frame, scores):
        clipped = np.clip(np.asarray(scores, float), 1e-6, 1 - 1e-6)
        malignant = frame["malignant"].to_numpy(float)
        return -(malignant * np.log(clipped) + (1 - malignant) * np.log1p(-clipped))

    def baseline(self, labels):
        return float(np.mean(labels))

    def slices(self, frame: pd.DataFrame):
        return {"texture": pd.cut(frame["texture"], [0, 20, 1000], labels=["fine", "coarse"])}
