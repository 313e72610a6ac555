"""Will a visit to a shop end in a purchase? Rows have no time; those of one shop are alike."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from model.contract import Card, Column, Frozen, Schema
from model.splits import by_group

SCHEMA = Schema(
    columns=(
        Column(
            name="minutes", type="number", description="time spent", unit="min", minimum=0, maximum=600, example=12.5
        ),
        Column(name="items", type="integer", description="items looked at", minimum=0, maximum=100, example=4),
    ),
    key=("visit",),
    label="bought",
    block="shop",
)
CARD = Card(
    name="purchases",
    title="Purchases",
    task="classification",
    description="Will this visit end in a purchase?",
    output="probability of a purchase",
    threshold=0.5,
    minimum=0,
    maximum=1,
)


class Shops(Frozen):
    shops: int
    visits: int
    share: float
    C: float


def load(params):
    return Purchases(Shops(**params["data"], **params["split"], **params["estimator"]))


class Purchases:
    card, schema, history_end = CARD, SCHEMA, None

    def __init__(self, settings):
        self.settings = settings

    def fetch(self):
        random = np.random.default_rng(1)
        rows = self.settings.shops * self.settings.visits
        shop = np.repeat(np.arange(self.settings.shops), self.settings.visits)
        minutes, items = random.gamma(2, 8, rows).round(1), random.poisson(4, rows)
        taste = random.normal(0, 0.3, self.settings.shops)[shop]
        chance = 1 / (1 + np.exp(-(0.06 * minutes + 0.3 * items - 2.5 + taste)))
        bought = (random.random(rows) < chance).astype(int)
        visits = {"visit": np.arange(rows), "shop": shop, "minutes": minutes, "items": items, "bought": bought}
        return {"visits": pd.DataFrame(visits)}

    def prepare(self, tables):
        return tables["visits"].assign(shop=tables["visits"]["shop"].map("shop-{:03d}".format))

    def split(self, frame):
        return by_group(frame, group="shop", label="bought", share=self.settings.share)

    def estimator(self):
        return LogisticRegression(C=self.settings.C)

    def score(self, estimator, rows):
        return estimator.predict_proba(rows)[:, 1]

    def loss(self, frame, scores):
        clipped = np.clip(np.asarray(scores, float), 1e-6, 1 - 1e-6)
        bought = frame["bought"].to_numpy(float)
        return -(bought * np.log(clipped) + (1 - bought) * np.log1p(-clipped))

    def baseline(self, labels):
        return float(np.mean(labels))

    def slices(self, frame):
        return {"items": pd.cut(frame["items"], [-1, 3, 100], labels=["few", "many"])}
