"""What is said before a promotion of the requests that the version answered: real bundles, a real store."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import signature
from pipeline.context import Context
from pipeline.delivery.logged import Logged, rescored
from pipeline.monitoring.store import VARIABLE, open_store
from serving import bundle
from serving.signature import encode
from tests import bundles, monitored


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A checkout with a model and no rows."""
    root = tmp_path / "checkout"
    root.mkdir()
    return monitored.checkout(root)


@pytest.fixture
def folder(context: Context, tmp_path: Path) -> Path:
    """A bundle of the checkout's own model."""
    described = signature.of_model(context.model.card, context.model.schema)
    bundles.write(
        tmp_path / "bundle", signature=described, model=bundles.graph(described, [0.001] * len(described.names))
    )
    return tmp_path / "bundle"


def answer(context: Context, folder: Path, count: int, wrong: float = 0.0) -> None:
    """So many requests that the bundle answered, in the store; the last one's score is off by `wrong`."""
    opened = bundle.load(folder)
    row: dict[str, Any] = {one.name: one.example for one in opened.signature.inputs}
    (score,) = opened.score(encode(opened.signature, {name: [value] for name, value in row.items()}))
    said = {
        "request": "r",
        "model": context.model.card.name,
        "version": opened.version,
        "features": row,
        "latency": 0.1,
    }
    lines = (
        {"time": "2013-04-02T10:00:00Z", "id": f"row {at}", **said, "score": float(score) + wrong * (at == count - 1)}
        for at in range(count)
    )
    open_store(context).add_predictions(json.dumps(line).encode() for line in lines)


def test_sample_of_what_the_version_answered_is_asked_again(context: Context, folder: Path) -> None:
    answer(context, folder, 1200)
    assert rescored(context, folder) == Logged(
        text="1,000 of 1,200 logged requests re-scored from the bundle: greatest difference 0 (1e-05 allowed)"
    )


def test_score_that_is_not_the_bundles_refuses_with_request_scores_and_what_to_look_at(
    context: Context, folder: Path
) -> None:
    answer(context, folder, 7, wrong=0.25)
    why = rescored(context, folder).refusal("staging")
    assert why.startswith("7 of 7 logged requests re-scored from the bundle: greatest difference .2500 (1e-05 allowed)")
    version = bundle.version(folder)[:12]
    found = re.search(rf"request row 6 was logged with (\S+), and bundle {version} gives (\S+): something else", why)
    assert found is not None
    assert float(found[1]) - float(found[2]) == pytest.approx(0.25, abs=1e-6)
    assert "`flightline trace staging`" in why
    assert "`flightline rescore BUNDLE LOG`" in why


def test_store_without_rows_of_the_version_is_said_and_refuses_nothing(context: Context, folder: Path) -> None:
    found = rescored(context, folder)
    assert found.text == f"none re-scored: the store has none that version {bundle.version(folder)[:12]} answered"
    assert not found.refusal("staging")


def test_store_that_cannot_be_read_is_said_and_refuses_nothing(
    context: Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = context.root / f"spoilt/predictions/day=2013-04-02/{'0' * 32}.parquet"
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text("no Parquet")
    monkeypatch.setenv(VARIABLE, "spoilt")
    found = rescored(context, folder)
    assert found.text.startswith(f"none re-scored: {context.root}/spoilt: ")
    assert not found.refusal("staging")


def test_columns_that_are_not_kept_are_said_and_refuse_nothing(context: Context, folder: Path) -> None:
    answer(context, folder, 7, wrong=0.25)
    path = context.root / "params.yaml"
    path.write_text(path.read_text().replace("  fields: all", "  fields: [origin]"))
    found = rescored(monitored.checkout(context.root), folder)
    assert found.text == "none re-scored: `monitoring.fields` keeps not every column of them"
    assert not found.refusal("staging")


def test_rows_that_were_logged_before_a_column_was_kept_are_said_and_refuse_nothing(
    context: Context, folder: Path
) -> None:
    path = context.root / "params.yaml"
    wide = path.read_text()
    path.write_text(wide.replace("  fields: all", "  fields: [origin]"))
    answer(monitored.checkout(context.root), folder, 7)
    path.write_text(wide)
    found = rescored(monitored.checkout(context.root), folder)
    assert found.text == "none re-scored: all 7 were logged before `monitoring.fields` kept every column of them"
    assert not found.refusal("staging")


def test_parameters_that_cannot_be_read_are_said_and_refuse_nothing(context: Context, folder: Path) -> None:
    path = context.root / "params.yaml"
    path.write_text(path.read_text().replace("estimator:", "estimators:"))
    found = rescored(monitored.checkout(context.root), folder)
    assert found.text.startswith(f"none re-scored: {path}: ")
    assert "estimator: Field required" in found.text
    assert not found.refusal("staging")


def test_version_of_another_model_is_said_and_refuses_nothing(context: Context, tmp_path: Path) -> None:
    bundles.write(tmp_path / "toy")
    assert "reads other columns" in rescored(context, tmp_path / "toy").text


def test_environment_without_the_packages_of_monitoring_is_said_and_refuses_nothing(
    context: Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("polars", "pipeline.monitoring.store"):
        monkeypatch.setitem(sys.modules, name, None)
    found = rescored(context, folder)
    assert "make setup FOR=monitor" in found.text
    assert not found.refusal("staging")
