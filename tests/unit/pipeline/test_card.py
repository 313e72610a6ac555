"""The model card of a bundle."""

import re
from typing import Any

from model.contract import Card, Column, Relation, Schema
from pipeline.card import model_card

CARD = Card(
    name="flights",
    title="Flight delays",
    task="classification",
    description="Will a flight arrive late?",
    output="probability of arriving more than 15 minutes late",
    threshold=0.3,
    minimum=0,
    maximum=1,
)
SCHEMA = Schema(
    columns=(
        Column(
            name="temp",
            type="number",
            description="air temperature | of the hour before",
            unit="°F",
            minimum=-40,
            maximum=130,
            stability="seasonal",
            source="NOAA",
            faults="None on 31 December",
        ),
        Column(name="seats", type="integer", description="seats", minimum=1, nullable=True, source="FAA"),
        Column(name="dest", type="category", description="airport", categories=("ATL", "ORD"), unseen="other"),
    ),
    key=("date", "flight"),
    label="late",
    block="date",
    event_time="time",
    relations=(Relation("dew", "dew point <= temperature", lambda frame: frame["temp"] > 0),),
)
METRICS: dict[str, Any] = {"loss": 0.48897, "rows": {"holdout": 25297}, "split": {"kind": "time"}}
ESTIMATOR = {"name": "logistic", "logistic": {"C": 0.1}}


def card() -> str:
    return model_card(CARD, SCHEMA, METRICS, ESTIMATOR)


def test_the_card_has_the_sections_of_a_model_card() -> None:
    assert re.findall(r"^#+ (.*)$", card(), re.MULTILINE) == [
        "Flight delays",
        "Intended use",
        "How it was made",
        "Data",
        "Features",
        "Metrics",
        "Limits and known faults",
        "Ethical considerations",
    ]


def test_features_are_given_with_unit_range_and_what_becomes_of_an_unseen_category() -> None:
    text = card()
    assert r"| temp | air temperature \| of the hour before | °F | -40 to 130 | no | seasonal |" in text
    assert "| seats | seats | integer | from 1 | yes | stable |" in text
    assert "ATL, ORD; others share one code" in text


def test_known_faults_and_missing_values_are_stated() -> None:
    text = card()
    assert "- `temp`: None on 31 December" in text
    assert "- May be missing: `seats`." in text
    assert "dew point &lt;= temperature" in text


def test_metrics_are_given_with_the_rows_they_are_from() -> None:
    text = card()
    assert "| loss | .4890 |" in text
    assert "| rows.holdout | 25297 |" in text
    assert "| split.kind | time |" in text
    assert text.index("| split.kind | time |") < text.index("| loss | .4890 |")


def test_parameters_of_the_estimator_are_given() -> None:
    assert "| logistic.C | .1000 |" in card()


def test_the_same_arguments_give_the_same_card_without_date_host_or_commit() -> None:
    text = card()
    assert text == card()
    assert re.search(r"\b20\d\d-\d\d-\d\d\b|https?://|\b[0-9a-f]{40}\b", text) is None
