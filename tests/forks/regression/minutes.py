"""How many minutes late does a parcel arrive?"""

from datetime import date

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from model.contract import Card, Column, Frozen, Schema, Split
from model.splits import last_days

A_DAY = 200
SCHEMA = Schema(
    columns=(
        Column(name="distance", type="number", description="by road", unit="km", minimum=0, maximum=500, example=42.0),
        Column(name="stops", type="integer", description="stops on the way", minimum=0, maximum=100, example=7),
        Column(name="depot", type="category", description="where from", categories=("east", "west"), example="east"),
    ),
    key=("parcel",),
    label="minutes",
    block="day",
    event_time="promised",
)
CARD = Card(
    name="parcel-minutes",
    title="Minutes of delay",
    task="regression",
    description="How many minutes late a parcel arrives.",
    output="delay",
    unit="min",
)


class Minutes(Frozen):
    start: date
    end: date
    holdout_days: int
    trees: int


def load(params):
    return MinutesLate(Minutes(**params["data"], **params["split"], **params["estimator"]))


class MinutesLate:
    card, schema = CARD, SCHEMA

    def __init__(self, settings):
        self.settings = settings

    @property
    def history_end(self):
        return self.settings.end

    def fetch(self):
        random = np.random.default_rng(1)
        days = pd.date_range(self.settings.start, self.settings.end).repeat(A_DAY)
        rows = len(days)
        distance, stops = random.gamma(2, 30, rows).clip(0, 500).round(1), random.poisson(6, rows)
        depot = random.choice(["east", "west"], rows)
        minutes = 0.2 * distance + 2 * stops + 15 * (depot == "west") - 25 + random.normal(0, 10, rows)
        parcels = {"parcel": np.arange(rows), "distance": distance, "stops": stops, "depot": depot, "minutes": minutes}
        return {"parcels": pd.DataFrame(parcels).assign(day=days.strftime("%Y-%m-%d"))}

    def prepare(self, tables):
        return tables["parcels"].assign(promised=tables["parcels"]["day"] + "T12:00:00Z")

    def split(self, frame) -> Split:
        return last_days(frame, day="day", label=SCHEMA.label, days=self.settings.holdout_days)

    def estimator(self):
        return HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=self.settings.trees, early_stopping=False, random_state=0
        )

    def score(self, estimator, rows):
        return estimator.predict(rows)

    def loss(self, frame, scores):
        return np.abs(frame[SCHEMA.label].to_numpy(float) - np.asarray(scores, float))

    def baseline(self, labels):
        return float(np.median(labels))

    def slices(self, frame: pd.DataFrame):
        return {"depot": frame["depot"]}
