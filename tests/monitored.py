"""A small model in production, what it logged and what became of it: for tests of monitoring."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from model.contract import Card, Column, Floats, Relation, Schema, Task
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, write_json
from pipeline.monitoring.reference import read_reference
from pipeline.monitoring.scan import Looker
from pipeline.stages import bundle as stage
from serving import bundle
from serving.signature import Input, Output, Signature, encode
from tests import bundles
from tests.checkouts import PROJECT

END = date(2013, 3, 31)
TRAINED_DAYS, HELD_OUT_DAYS, ROWS_A_DAY = 56, 28, 200
SIGNATURE = Signature(
    model="toy",
    title="Toy model",
    task="classification",
    inputs=(
        Input("temp", "number", "air temperature", minimum=-40, maximum=130, nullable=True, stability="seasonal"),
        Input("dewp", "number", "dew point", minimum=-60, maximum=100, nullable=True, stability="seasonal"),
        Input("seats", "integer", "seats of the plane", minimum=1, maximum=900, nullable=True),
        Input("origin", "category", "airport", categories=("EWR", "JFK", "LGA")),
        Input("dest", "category", "airport", categories=("ATL", "ORD"), unseen="other"),
    ),
    output=Output("probability", minimum=0, maximum=1),
)
EXAMPLES: Mapping[str, Any] = {"temp": 40.0, "dewp": 30.0, "seats": 100, "origin": "EWR", "dest": "ATL"}
COLUMNS = tuple(
    Column(
        name=one.name,
        type=one.type,
        description=one.description,
        minimum=one.minimum,
        maximum=one.maximum,
        categories=one.categories,
        nullable=one.nullable,
        unseen=one.unseen,
        stability=one.stability,
        example=EXAMPLES[one.name],
    )
    for one in SIGNATURE.inputs
)
SCHEMA = Schema(
    columns=COLUMNS,
    key=("id",),
    label="late",
    block="day",
    event_time="time",
    relations=(Relation("dewp <= temp", "air is no cooler", lambda frame: ~(frame["dewp"] > frame["temp"])),),
)


def checkout(root: Path) -> Context:
    """A checkout with the toy for its model, and with this one's settings where it has none."""
    for name in ("params.yaml", "pyproject.toml"):
        if not (root / name).exists():
            shutil.copy(PROJECT / name, root)
    made = Context(root)
    made.__dict__["model"] = Toy()
    return made


@dataclass(frozen=True)
class Toy:
    """As much of `model.contract.Model` as monitoring asks for."""

    schema: Schema = SCHEMA
    task: Task = "classification"

    @property
    def card(self) -> Card:
        return Card(name="toy", title="Toy model", task=self.task, description="A toy.", output="probability")

    def slices(self, frame: pd.DataFrame) -> Mapping[str, "pd.Series[Any]"]:
        return {"origin": frame["origin"]}

    def loss(self, frame: pd.DataFrame, scores: Floats) -> Floats:
        labels = frame[self.schema.label].to_numpy(np.float64)
        if self.task == "regression":
            return np.asarray((labels - scores) ** 2)
        clipped = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
        return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))

    def baseline(self, labels: Floats) -> float:
        return float(np.mean(labels))


def write_bundle(
    path: Path, *, toy: Toy | None = None, signature: Signature = SIGNATURE, bias: float = -2.0
) -> bundle.Bundle:
    """A sealed bundle with the reference that the real stage makes of it, opened."""
    model = toy or Toy()
    shown = replace_examples(signature)
    bundles.write(
        path, signature=shown, model=bundles.graph(shown, [0.02, 0.0, 0.001, 0.2, -0.3][: len(shown.inputs)], bias)
    )
    rows = prepared(path)
    baseline = model.baseline(rows[rows[PART] == TRAIN]["late"].to_numpy())
    write_json(path / "reference.json", stage.reference(model, rows, path))  # type: ignore[arg-type]
    write_json(path / "metrics.json", {"baseline": {"score": baseline}})
    bundle.seal(path)
    return bundle.load(path)


def replace_examples(signature: Signature) -> Signature:
    """The same with an example for each input, which a bundle's golden rows are made of."""
    import msgspec

    inputs = tuple(msgspec.structs.replace(one, example=EXAMPLES[one.name]) for one in signature.inputs)
    return msgspec.structs.replace(signature, inputs=inputs)


def looker(path: Path, toy: Toy | None = None, **how: Any) -> Looker:
    """A bundle in production, and the model it was made by."""
    opened = write_bundle(path, toy=toy, **how)
    return Looker(toy or Toy(), opened, read_reference(path, opened.version))  # type: ignore[arg-type]


def prepared(path: Path) -> pd.DataFrame:
    """Rows as prepare leaves them: days that train, then days held out."""
    days = TRAINED_DAYS + HELD_OUT_DAYS
    first = END - timedelta(days=days - 1)
    frames = [rows_of(first + timedelta(days=at), at, path) for at in range(days)]
    parts = np.repeat([TRAIN] * TRAINED_DAYS + [HOLDOUT] * HELD_OUT_DAYS, ROWS_A_DAY)
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(**{PART: parts})


def rows_of(day: date, seed: int, path: Path, rows: int = ROWS_A_DAY, lateness: float = 1.0) -> pd.DataFrame:
    """A day's prepared rows: its weather moves all of them, their labels follow the model times `lateness`."""
    random = np.random.default_rng(seed)
    temp = 45 + random.normal(0, 5) + random.normal(0, 8, rows)
    frame = pd.DataFrame(
        {
            "temp": np.where(random.uniform(size=rows) < 0.02, np.nan, temp),
            "dewp": temp - random.uniform(2, 20, rows),
            "seats": np.where(random.uniform(size=rows) < 0.1, np.nan, random.integers(50, 300, rows)),
            "origin": random.choice(["EWR", "JFK", "LGA"], rows),
            "dest": random.choice(["ATL", "ORD"], rows),
            "day": str(day),
            "time": f"{day}T12:00:00Z",
            "id": [f"{day}-{at}" for at in range(rows)],
        }
    )
    scores = scored(frame, path)
    luck = np.clip(1 + random.normal(0, 0.15), 0.5, 1.5)
    return frame.assign(
        late=(random.uniform(size=rows) < np.clip(scores * luck * lateness, 0, 1)).astype(float), score=scores
    )


def scored(frame: pd.DataFrame, path: Path) -> Floats:
    """What the bundle's graph says of rows."""
    columns = {one.name: frame[one.name].to_numpy() for one in SIGNATURE.inputs}
    return np.asarray(bundle.run(_session(path / "model.onnx"), encode(SIGNATURE, columns)), np.float64)


@cache
def _session(path: Path) -> Any:
    return bundle.open_session(path)


def logged(path: Path, version: str, first: date, days: int, **how: Any) -> Iterator[pl.DataFrame]:
    """Days of predictions with their labels, each as the store joins it."""
    for at in range(days):
        day = first + timedelta(days=at)
        yield as_logged(rows_of(day, 1000 + at, path, **how), day, version)


def as_logged(rows: pd.DataFrame, day: date, version: str) -> pl.DataFrame:
    """A day's prepared rows as the store gives them."""
    numbers = {name: pl.Series(rows[name].to_numpy(), nan_to_null=True) for name in ("temp", "dewp", "seats")}
    return pl.DataFrame(
        {
            "id": rows["id"].tolist(),
            "day": [day] * len(rows),
            "time": [datetime(day.year, day.month, day.day, 12, tzinfo=UTC)] * len(rows),
            "version": [version] * len(rows),
            "score": rows["score"].to_numpy(),
            "label": rows["late"].to_numpy(),
            **numbers,
            "origin": rows["origin"].tolist(),
            "dest": rows["dest"].tolist(),
        }
    )


def grouped(toy: Toy) -> Toy:
    """The same without event time, held out by airport of departure."""
    return replace(toy, schema=replace(toy.schema, event_time=None, block="origin"))
