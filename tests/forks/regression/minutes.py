"""How many minutes late does a flight arrive?"""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from model import source
from model.contract import Card, Frozen, Split
from model.schema import SCHEMA as FLIGHTS
from model.splits import last_days

SCHEMA = replace(FLIGHTS, label="arr_delay")
CARD = Card(
    name="flight-minutes",
    title="Minutes of delay",
    task="regression",
    description="How many minutes late a flight arrives.",
    output="arrival delay",
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
        return source.read(self.settings.start, self.settings.end)

    def prepare(self, tables):
        wanted = dict.fromkeys([*SCHEMA.key, "scheduled_departure", *SCHEMA.names, SCHEMA.label])
        return source.join(tables)[list(wanted)].sort_values(["scheduled_departure", *SCHEMA.key], ignore_index=True)

    def split(self, frame) -> Split:
        return last_days(frame, day="date", label=SCHEMA.label, days=self.settings.holdout_days)

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
        return {"carrier": frame["carrier"], "origin": frame["origin"]}
