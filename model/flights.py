"""The example that ships: does a flight out of New York arrive more than 15 minutes late?"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from model import estimator, source
from model.contract import Card, Floats, Frozen, Schema, Split, Tables
from model.schema import SCHEMA
from model.splits import last_days

_CLIP = 1e-6

CARD = Card(
    name="flight-delays",
    title="Flight delays",
    task="classification",
    description=(
        "Will a flight that leaves New York City arrive more than 15 minutes late? Answered before departure, from the "
        "schedule, the weather of the hour before and the plane. Conditional on arriving: cancelled and diverted "
        "flights have no label."
    ),
    output="probability of arriving more than 15 minutes late",
    threshold=0.5,
    minimum=0,
    maximum=1,
)


class Window(Frozen):
    """History that exists: scheduled departures from `start` to `end`, both included."""

    start: date
    end: date

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> "Window":
        if self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}; no day lies between them")
        return self


class SplitSettings(Frozen):
    """Section `split` of params.yaml."""

    holdout_days: int = Field(ge=1)


class FlightSettings(Frozen):
    """The model's sections of params.yaml."""

    data: Window
    split: SplitSettings
    estimator: estimator.EstimatorSettings


def load(params: Mapping[str, Any]) -> "FlightDelays":
    """The model, from its sections of params.yaml. Raises pydantic.ValidationError naming the field."""
    return FlightDelays(FlightSettings.model_validate(params))


class FlightDelays:
    """`model.contract.Model` for the flights."""

    def __init__(self, settings: FlightSettings) -> None:
        self._settings = settings

    @property
    def card(self) -> Card:
        """What people and clients are told."""
        return CARD

    @property
    def schema(self) -> Schema:
        """Key, request columns, label and relations."""
        return SCHEMA

    @property
    def history_end(self) -> date:
        """The last day of the window."""
        return self._settings.data.end

    def fetch(self) -> Tables:
        """Flights, weather and planes within the window."""
        return source.read(self._settings.data.start, self._settings.data.end)

    def prepare(self, tables: Tables) -> pd.DataFrame:
        """One row per scheduled flight, in order of departure."""
        columns = dict.fromkeys([*SCHEMA.key, "scheduled_departure", *SCHEMA.names, SCHEMA.label])
        return source.join(tables)[list(columns)].sort_values(["scheduled_departure", *SCHEMA.key], ignore_index=True)

    def split(self, frame: pd.DataFrame) -> Split:
        """Hold out the last labelled days."""
        return last_days(frame, day="date", label=SCHEMA.label, days=self._settings.split.holdout_days)

    def estimator(self) -> Any:
        """Logistic regression or boosted trees, as `estimator.name` says."""
        return estimator.build(self._settings.estimator, SCHEMA)

    def score(self, estimator: Any, rows: Floats) -> Floats:
        """Probability of being late."""
        probabilities: Floats = estimator.predict_proba(rows)[:, 1]
        return probabilities

    def loss(self, frame: pd.DataFrame, scores: Floats) -> Floats:
        """Log loss per flight, in nats."""
        clipped = np.clip(np.asarray(scores, np.float64), _CLIP, 1 - _CLIP)
        late = frame[SCHEMA.label].to_numpy(np.float64)
        loss: Floats = -(late * np.log(clipped) + (1 - late) * np.log1p(-clipped))
        return loss

    def baseline(self, labels: Floats) -> float:
        """The share of late flights."""
        return float(np.mean(labels))

    def slices(self, frame: pd.DataFrame) -> Mapping[str, "pd.Series[Any]"]:
        """Carrier, airport, time of day, distance, and whether the plane is known."""
        return {
            "carrier": frame["carrier"],
            "origin": frame["origin"],
            "departure": pd.cut(
                frame["hour"], [-1, 8, 12, 16, 20, 23], labels=["00-08", "09-12", "13-16", "17-20", "21-23"]
            ),
            "distance": pd.cut(
                frame["distance"], [0, 500, 1000, 1500, 10_000], labels=["<500", "<1000", "<1500", ">1500"]
            ),
            "plane": frame["seats"].notna().map({True: "known", False: "unknown"}),
        }
