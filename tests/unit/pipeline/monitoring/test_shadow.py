"""A challenger on logged rows: paired by day, on days that it never trained on."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.contract import Card, Column, Floats, Schema
from model.splits import by_group
from pipeline.config import BenchmarkGate
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.monitoring import shadow
from pipeline.monitoring.labels import Label
from pipeline.monitoring.shadow import Logged, ShadowError, compare, logged, unit_of, unseen_by
from pipeline.monitoring.store import open_store
from pipeline.signature import of_model
from pipeline.verdict import Decision
from serving import bundle
from serving.bundle import Bundle
from serving.signature import encode
from tests import bundles, monitored

LIMITS = BenchmarkGate(resamples=400, min_slice_rows=100)
FIRST = date(2013, 4, 1)
VERSION = "a" * 64


class Toy:
    """Of a model, what a comparison asks for."""

    card = Card(name="toy", title="Toy", task="classification", description="", output="", threshold=0.5)
    schema = Schema(columns=(), key=("id",), label="late", block="day")

    def loss(self, frame: pd.DataFrame, scores: Floats) -> Floats:
        loss: Floats = (frame["late"].to_numpy() - scores) ** 2
        return loss

    def slices(self, frame: pd.DataFrame) -> Mapping[str, Any]:
        return {"origin": frame["origin"]}


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("challenger") / "bundle"
    bundles.write(folder, model=bundles.graph(bundles.SIGNATURE, [0.1, 0, 0, 0], -5.0))
    return bundle.load(folder)


def rows(opened: Bundle, days: int = 28, each: int = 60, told: float = 1.0) -> pd.DataFrame:
    """What the store has: labels follow the challenger's scores by `told`, and chance for the rest."""
    random, count = np.random.default_rng(5), days * each
    frame = pd.DataFrame(
        {
            "id": [f"row {number}" for number in range(count)],
            "day": [FIRST + timedelta(days=number // each) for number in range(count)],
            "version": VERSION,
            "temp": random.uniform(20, 90, count).round(1),
            "seats": 100.0,
            "origin": random.choice(["EWR", "JFK", "LGA"], count),
            "dest": "ORD",
        }
    )
    chance = told * scores(opened, frame) + (1 - told) * 0.5
    return frame.assign(score=0.5, label=(random.uniform(size=count) < chance).astype(float))


def scores(opened: Bundle, frame: pd.DataFrame) -> Any:
    return opened.score(encode(opened.signature, {name: frame[name].to_numpy() for name in opened.signature.names}))


def test_better_challenger_is_found_and_a_useless_one_is_not(challenger: Bundle) -> None:
    better = compare(Toy(), logged(rows(challenger), VERSION, "late", None), challenger, LIMITS)  # type: ignore[arg-type]
    assert (better.decision, better.exit_code) == (Decision.PASS, 0)
    useless = rows(challenger, told=0.0)
    found = compare(Toy(), logged(useless, VERSION, "late", None), challenger, LIMITS)  # type: ignore[arg-type]
    assert found.decision is Decision.FAIL


def test_report_says_days_slices_and_power(challenger: Bundle) -> None:
    found = compare(Toy(), logged(rows(challenger), VERSION, "late", None), challenger, LIMITS)  # type: ignore[arg-type]
    text = shadow.markdown(found)
    assert "28 days (2013-04-01 to 2013-04-28)" in text
    for said in ("half-width", "smallest detectable difference", "slices", "decisions that differ"):
        assert said in text


def test_few_days_cannot_tell(challenger: Bundle) -> None:
    found = compare(Toy(), logged(rows(challenger, days=9), VERSION, "late", None), challenger, LIMITS)  # type: ignore[arg-type]
    assert (found.decision, found.exit_code) == (Decision.INCONCLUSIVE, 2)


def test_days_that_the_challenger_trained_on_are_left_out(challenger: Bundle) -> None:
    until = shadow.trained_until({"split": {"kind": "time", "trained_until": "2013-04-07"}})
    kept = logged(rows(challenger), VERSION, "late", until)
    assert kept.window.first == date(2013, 4, 8)


def test_rows_without_label_or_of_another_version_are_left_out(challenger: Bundle) -> None:
    frame = rows(challenger, days=2)
    frame.loc[:59, "label"] = np.nan
    frame.loc[60:69, "version"] = "b" * 64
    assert len(logged(frame, VERSION, "late", None).frame) == 50
    with pytest.raises(ShadowError, match="no labelled row of bundle cccc"):
        logged(frame, "c" * 64, "late", None)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A checkout with a model, and a store: on each of 24 days 30 rows of production's, 10 of another's."""
    made = monitored.checkout(tmp_path)
    random, store = np.random.default_rng(3), open_store(made)
    days = [FIRST + timedelta(days=at) for at in range(24)]
    names = {day: [f"{day} {at}" for at in range(40)] for day in days}
    example = {one.name: one.example for one in made.model.schema.columns}

    def line(day: date, at: int) -> bytes:
        said = {"id": names[day][at], "request": "r", "model": made.model.card.name, "latency": 0.1}
        version, moment = (VERSION if at < 30 else "b" * 64), f"{day}T10:00:00Z"
        features = {**example, "temp": round(random.uniform(40, 60), 1)}
        return json.dumps({**said, "time": moment, "version": version, "features": features, "score": 0.3}).encode()

    store.add_predictions(line(day, at) for day in days for at in range(40))
    known = (Label(id=name, label=float(random.integers(2)), event_day=day) for day in days for name in names[day][5:])
    store.add_labels(known, datetime(2013, 5, 1, tzinfo=UTC))
    return made


@pytest.fixture
def rival(context: Context, tmp_path: Path) -> Path:
    """A challenger that reads the model's columns."""
    described = of_model(context.model.card, context.model.schema)
    bundles.write(
        tmp_path / "rival",
        signature=described,
        model=bundles.graph(described, [0.001] * len(described.names)),
        metrics={"split": {"kind": "time", "column": "date", "trained_until": "2013-03-31"}},
    )
    return tmp_path / "rival"


def test_store_gives_the_labelled_rows_of_production(context: Context, rival: Path) -> None:
    found = shadow.from_store(context, rival, VERSION, LIMITS)
    assert (found.production, found.challenger) == (VERSION, bundle.version(rival))
    assert (found.window.first, found.window.days, found.window.rows) == (FIRST, 24, 24 * 25)
    earlier = shadow.from_store(context, rival, VERSION, LIMITS, FIRST + timedelta(days=9))
    assert (earlier.window.last, earlier.window.rows) == (FIRST + timedelta(days=9), 10 * 25)
    with pytest.raises(ShadowError, match="no labelled day of bundle cccc"):
        shadow.from_store(context, rival, "c" * 64, LIMITS)


def test_of_a_large_day_so_many_rows_are_compared(
    context: Context, rival: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "A_DAY", 20)
    first, again = (shadow.from_store(context, rival, VERSION, LIMITS) for _ in range(2))
    assert first.window.rows == 24 * 20
    assert first == again


class ByKey(Toy):
    """Slices by what identifies a row, which no request carries."""

    def slices(self, frame: pd.DataFrame) -> Mapping[str, Any]:
        return {"flight": frame["flight"]}


class ByAircraft(Toy):
    """A loss that depends on a column of the request."""

    schema = replace(Toy.schema, columns=(Column(name="weight", type="number", description="weight"),))

    def loss(self, frame: pd.DataFrame, scores: Floats) -> Floats:
        loss: Floats = super().loss(frame, scores) * frame["weight"].to_numpy()
        return loss


def test_slices_that_need_what_is_not_logged_are_left_out_and_the_report_says_so(challenger: Bundle) -> None:
    given = logged(rows(challenger), VERSION, "late", None)
    found = compare(ByKey(), given, challenger, LIMITS)  # type: ignore[arg-type]
    assert found.decision is Decision.PASS
    text = shadow.markdown(found).replace("\\", "")
    assert "left out: the log does not carry column 'flight', which model.slices needs" in text
    assert "no slice is large enough" not in text


@pytest.mark.parametrize(
    ("model", "lacking", "said"),
    [
        (ByAircraft(), "weight", r"'weight', which model\.loss needs; add it to `monitoring\.fields` in params\.yaml"),
        (Toy(), "seats", r"'seats', which the challenger needs; it is none of the request's"),
    ],
)
def test_column_that_is_not_logged_is_an_error_with_what_needs_it_and_what_to_change(
    challenger: Bundle, model: Any, lacking: str, said: str
) -> None:
    given = logged(rows(challenger).drop(columns=lacking, errors="ignore"), VERSION, "late", None)
    with pytest.raises(ShadowError, match=f"the log does not carry column {said}"):
        compare(model, given, challenger, LIMITS)


def test_store_that_keeps_some_of_the_fields_is_an_error_that_names_the_setting(context: Context, rival: Path) -> None:
    path = context.root / "params.yaml"
    path.write_text(path.read_text().replace("  fields: all", "  fields: [origin, temp]"))
    with pytest.raises(ShadowError, match=r"which the challenger needs; add it to `monitoring\.fields`"):
        shadow.from_store(monitored.checkout(context.root), rival, VERSION, LIMITS)


def test_rows_that_were_logged_before_a_field_was_kept_are_passed_over(context: Context, rival: Path) -> None:
    path = context.root / "params.yaml"
    shutil.rmtree(context.root / ".observed")
    example = {one.name: one.example for one in context.model.schema.columns}
    wide, days = path.read_text(), [FIRST, FIRST + timedelta(days=1)]
    for day, fields in zip(days, ("[origin]", "all"), strict=True):
        path.write_text(wide.replace("  fields: all", f"  fields: {fields}"))
        said = {"id": f"{day}", "model": context.model.card.name, "version": VERSION, "features": example, "score": 0.3}
        store = open_store(monitored.checkout(context.root))
        store.add_predictions([json.dumps({**said, "time": f"{day}T10:00:00Z"}).encode()])
        store.add_labels([Label(id=f"{day}", label=1, event_day=day)], datetime(2013, 5, 1, tzinfo=UTC))
    found = shadow.from_store(monitored.checkout(context.root), rival, VERSION, LIMITS)
    assert (found.window.rows, found.window.first) == (1, days[1])
    with pytest.raises(UnavailableError, match="were logged before `monitoring"):
        shadow.from_store(monitored.checkout(context.root), rival, VERSION, LIMITS, FIRST)


class Shops(Toy):
    """A loss of one for production, and for a challenger one that is as high on average, but differs by shop."""

    def loss(self, frame: pd.DataFrame, scores: Floats) -> Floats:
        loss: Floats = 1 + scores * frame["gap"].to_numpy()
        return loss


def shops(opened: Bundle, seed: int) -> pd.DataFrame:
    """28 days of 80 rows in 40 shops; production says 0."""
    random, frame = np.random.default_rng(seed), rows(opened, each=80).assign(score=0.0, temp=50.0)
    shop = np.arange(len(frame)) % 40
    gap = random.normal(0, 0.5, 40)[shop] + random.normal(0, 0.5, len(frame))
    return frame.assign(shop=[f"shop-{one:03d}" for one in shop], gap=gap)


def test_models_that_differ_by_group_and_not_on_average_are_told_apart_by_luck_alone(challenger: Bundle) -> None:
    """With whole days resampled half of such challengers are better for certain, as each day has every shop."""
    limits = LIMITS.model_copy(update={"margin": 0.001})
    found = [
        compare(Shops(), Logged(given, VERSION, "shop"), challenger, limits)  # type: ignore[arg-type]
        for given in (shops(challenger, seed).rename(columns={"label": "late"}) for seed in range(20))
    ]
    assert sum(one.decision is Decision.PASS for one in found) <= 4
    assert {one.gate.inputs["blocks"] for one in found} == {40}


def test_blocks_are_those_of_the_bundle_and_of_the_schema_where_that_has_none() -> None:
    dated, timeless = replace(Toy.schema, event_time="time"), replace(Toy.schema, block="shop")
    assert unit_of({"blocks": {"unit": "shop"}}, dated) == "shop"
    assert [unit_of({}, one) for one in (dated, timeless)] == [shadow.DAY, "shop"]
    assert unit_of({"blocks": {"reason": "too few rows"}}, timeless) == "shop"


def test_blocks_that_are_not_logged_are_an_error(challenger: Bundle) -> None:
    given = Logged(rows(challenger).rename(columns={"label": "late"}), VERSION, "shop")
    with pytest.raises(
        ShadowError, match="column 'shop', which resampling by blocks needs; it is none of the request's"
    ):
        compare(Toy(), given, challenger, LIMITS)  # type: ignore[arg-type]


def test_groups_that_the_challenger_trained_on_are_left_out(challenger: Bundle) -> None:
    frame = shops(challenger, 0)
    split = by_group(frame, group="shop", label="label", share=0.3)
    kept = unseen_by(Logged(frame, VERSION), {"split": split.rule}, Toy.schema)
    assert kept.frame["id"].tolist() == frame["id"][split.holdout].tolist()
    one = frame[split.train].head(5)
    with pytest.raises(ShadowError, match="no labelled row of the log is of a group by 'shop'"):
        unseen_by(Logged(one, VERSION), {"split": split.rule}, Toy.schema)


def test_rows_that_nothing_tells_apart_from_those_that_trained_are_not_compared(challenger: Bundle) -> None:
    given, rule = Logged(rows(challenger), VERSION), {"kind": "group", "column": "shop", "share": 0.2, "salt": "s"}
    with pytest.raises(ShadowError, match="column 'shop', which leaving out the groups"):
        unseen_by(given, {"split": rule}, Toy.schema)
    with pytest.raises(ShadowError, match="does not say how its rows were split"):
        unseen_by(given, {}, Toy.schema)
    number = replace(Toy.schema, columns=(Column(name="seats", type="integer", description="seats"),))
    with pytest.raises(ShadowError, match="by 'seats', a number"):
        unseen_by(given, {"split": {**rule, "column": "seats"}}, number)
