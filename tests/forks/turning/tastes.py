"""Will a visitor buy? History is a rolling window of days, and from TURN on tastes are others than before."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from model.contract import Card, Column, Frozen, Schema
from model.splits import last_days

TURN, END = date(2024, 4, 1), date(2024, 8, 31)
A_DAY = 200
SCHEMA = Schema(
    columns=(
        Column(
            name="degrees", type="number", description="outside", unit="C", minimum=-50, maximum=60,
            stability="seasonal", example=12.5,
        ),
        Column(name="items", type="integer", description="items looked at", minimum=0, maximum=100, example=4),
        Column(
            name="entrance", type="category", description="where from", categories=("north", "south"), example="north",
        ),
    ),
    key=("day", "number"),
    label="bought",
    block="day",
    event_time="entered",
)  # fmt: skip
CARD = Card(
    name="tastes",
    title="Tastes",
    task="classification",
    description="Will this visitor buy?",
    output="probability of a purchase",
    threshold=0.5,
    minimum=0,
    maximum=1,
)


class Settings(Frozen):
    last: date
    days: int
    holdout_days: int
    C: float


def load(params):
    return Tastes(Settings(**params["data"], **params["split"], **params["estimator"]))


class Tastes:
    card, schema = CARD, SCHEMA

    def __init__(self, settings):
        self.settings = settings

    @property
    def history_end(self):
        return self.settings.last

    def fetch(self):
        last = min(self.settings.last, END)
        first = min(self.settings.last - timedelta(days=self.settings.days - 1), last)
        days = [visitors(first + timedelta(days=at)) for at in range((last - first).days + 1)]
        return {"visitors": pd.concat(days, ignore_index=True)}

    def prepare(self, tables):
        return tables["visitors"]

    def split(self, frame):
        return last_days(frame, day="day", label="bought", days=self.settings.holdout_days)

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

    def slices(self, frame: pd.DataFrame):
        return {"entrance": frame["entrance"]}


def visitors(day: date) -> pd.DataFrame:
    """A day's visitors, the same every time they are asked for; each day is a little luckier or less than others."""
    random = np.random.default_rng(day.toordinal())
    degrees, items = random.normal(15, 8, A_DAY).clip(-40, 50).round(1), random.poisson(4, A_DAY)
    turned = day >= TURN
    pull = (-0.2 + 0.1 * items) if turned else (-3 + 0.4 * items)
    chance = 1 / (1 + np.exp(-(pull + random.normal(0, 0.1))))
    return pd.DataFrame(
        {
            "day": day.isoformat(),
            "number": np.arange(A_DAY),
            "entered": [f"{day}T{8 + at * 12 // A_DAY:02d}:00:00Z" for at in range(A_DAY)],
            "degrees": degrees,
            "items": items,
            "entrance": random.choice(["north", "south"], A_DAY),
            "bought": (random.random(A_DAY) < chance).astype(int),
        }
    )
