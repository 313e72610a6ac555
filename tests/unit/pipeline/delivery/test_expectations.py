"""What the canary is expected to look like, against real bundles and the histogram of the real server."""

import json
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import requests
import yaml

from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.delivery import expectations
from pipeline.delivery.models import Expects
from pipeline.delivery.proofs import check_expects
from pipeline.errors import UnavailableError
from pipeline.frames import write_rows
from serving import bundle
from serving.signature import Output
from tests import bundles, monitored, servers

REFERENCE = {"features": {"temp": {"type": "number", "nulls": 0, "edges": [0.0, 60.0, 120.0], "counts": [70, 30]}}}
MINUTES = msgspec.structs.replace(bundles.SIGNATURE, task="regression", output=Output("delay", unit="min"))


def made(path: Path, bias: float = 0.0, signature: Any = bundles.SIGNATURE) -> Path:
    """A bundle whose scores move with `bias`, and whose reference describes one column."""
    bundles.write(path, signature=signature, model=bundles.graph(signature, [0.02, 0.001, 0.2, -0.1], bias))
    (path / "reference.json").write_text(json.dumps(REFERENCE))
    bundle.seal(path)
    return path


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A checkout with a model and no rows."""
    root = tmp_path / "checkout"
    root.mkdir()
    return monitored.checkout(root)


def set_canary(context: Context, **data: str) -> None:
    path = context.root / expectations.CANARY
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"kind": "ConfigMap", "data": data}))


def test_first_release_is_held_to_nothing(context: Context, tmp_path: Path) -> None:
    found = expectations.expect(context, "staging", made(tmp_path / "new"), None)
    assert (found.released, found.ks, found.max_ks, found.rows) == (None, 0, 1, 0)


def test_equal_scores_leave_the_tolerance(context: Context, tmp_path: Path) -> None:
    found = expectations.expect(context, "staging", made(tmp_path / "new"), made(tmp_path / "old"))
    assert (found.ks, found.max_ks, found.rows) == (0, 0.10, 5000)
    assert found.released == bundle.version(tmp_path / "old")


@pytest.mark.parametrize("signature", [bundles.SIGNATURE, MINUTES], ids=["probability", "minutes without limits"])
def test_expected_distance_is_the_one_in_the_servers_histograms(
    context: Context, tmp_path: Path, signature: Any
) -> None:
    new, old = made(tmp_path / "new", -1.0, signature), made(tmp_path / "old", -1.5, signature)
    found = expectations.expect(context, "staging", new, old)
    columns = expectations.replayed(bundle.load(new))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    seen = np.abs(np.array(buckets(new, rows)) - np.array(buckets(old, rows))).max()
    assert found.ks == pytest.approx(seen, abs=1e-4)
    assert 0.05 < found.ks < 1
    assert found.max_ks == pytest.approx(found.ks + 0.10)


def buckets(path: Path, rows: list[dict[str, Any]]) -> list[float]:
    """Cumulative shares of the score histogram after a real server scored the rows."""
    with servers.running(path) as server:
        assert requests.post(f"{server.url}/predict", json=rows, timeout=60).status_code == 200
        text = requests.get(f"{server.url}/metrics", timeout=60).text
    counts = [float(one) for one in re.findall(r"^flightline_score_bucket\{.*\} (\d+)$", text, flags=re.MULTILINE)]
    return [one / counts[-1] for one in counts]


def test_score_on_a_bound_belongs_to_that_bucket() -> None:
    """As in the server's histogram, whose bounds are inclusive."""
    probability = bundles.SIGNATURE.output
    assert expectations.bucket_distance(probability, np.array([0.05]), np.array([0.06])) == 1
    assert expectations.bucket_distance(probability, np.array([0.051]), np.array([0.1])) == 0


def test_shifted_scores_may_differ_as_much_as_foreseen_and_never_more_than_all(
    context: Context, tmp_path: Path
) -> None:
    found = expectations.expect(context, "staging", made(tmp_path / "new", 40), made(tmp_path / "old", -40))
    assert (found.ks, found.max_ks) == (1, 1)


def test_people_set_the_tolerance(context: Context, tmp_path: Path) -> None:
    set_canary(context, ks_tolerance="0.25")
    assert expectations.expect(context, "staging", made(tmp_path / "new"), made(tmp_path / "old")).max_ks == 0.25


@pytest.mark.parametrize("data", [{"ks_tolerance": "0"}, {"ks_tolerance": "1.5"}, {"ks_tolerence": "0.1"}])
def test_tolerance_that_cannot_be_used_is_refused_by_file_and_field(context: Context, data: dict[str, str]) -> None:
    set_canary(context, **data)
    with pytest.raises(ConfigError, match=r"canary.yaml: ks_tol"):
        expectations.read_canary(context.root)


@pytest.mark.parametrize(
    "output",
    [Output("delay", unit="h"), Output("delay", unit="min", minimum=0, maximum=60)],
    ids=["another unit", "another range"],
)
def test_scores_of_another_meaning_have_no_distance(context: Context, tmp_path: Path, output: Output) -> None:
    other = msgspec.structs.replace(MINUTES, output=output)
    new, old = made(tmp_path / "new", signature=other), made(tmp_path / "old", signature=MINUTES)
    found = expectations.expect(context, "staging", new, old)
    assert (found.ks, found.max_ks, found.rows) == (1, 1, 0)


def test_columns_in_another_unit_have_no_distance(context: Context, tmp_path: Path) -> None:
    celsius = msgspec.structs.replace(bundles.SIGNATURE.inputs[0], unit="°C")
    changed = msgspec.structs.replace(bundles.SIGNATURE, inputs=(celsius, *bundles.SIGNATURE.inputs[1:]))
    new, old = made(tmp_path / "new", signature=changed), made(tmp_path / "old")
    assert expectations.expect(context, "staging", new, old).max_ks == 1


def own(tmp_path: Path, context: Context) -> Path:
    """A bundle of the checkout's own model."""
    from pipeline import signature

    described = signature.of_model(context.model.card, context.model.schema)
    width = len(described.inputs)
    bundles.write(tmp_path / "own", signature=described, model=bundles.graph(described, [0.001] * width))
    return tmp_path / "own"


def write_held_out(context: Context, path: Path, count: int) -> None:
    import pandas as pd

    schema = context.model.schema
    example = {one.name: one.example for one in bundle.load(path).signature.inputs}
    row = dict.fromkeys((*schema.key, schema.block), "2013-03-30") | example | {schema.label: 0.0}
    parts = ["holdout"] * count + ["train"] * 5
    write_rows(pd.DataFrame([{**row, "part": part} for part in parts]), context.root / "build/rows/rows.csv")


def test_production_is_held_to_the_held_out_rows_and_staging_to_its_replay(context: Context, tmp_path: Path) -> None:
    path = own(tmp_path, context)
    write_held_out(context, path, 7)
    assert expectations.expect(context, "production", path, path).rows == 7
    assert expectations.expect(context, "staging", path, path).rows == expectations.REPLAYED


def log(context: Context, path: Path, count: int, day: str = "2013-04-02", part: str = "row") -> None:
    """So many predictions of a day, kept in the store."""
    from pipeline.monitoring.store import open_store

    row = {one.name: one.example for one in bundle.load(path).signature.inputs}
    said = {"model": context.model.card.name, "version": "a" * 64, "features": row, "score": 0.5, "latency": 0.001}
    at = {"time": f"{day}T00:00:00Z", "request": "r"}
    lines = ({"id": f"{part} {day} {number}", **at, **said} for number in range(count))
    open_store(context).add_predictions(json.dumps(line).encode() for line in lines)


def told(context: Context, env: str, path: Path) -> tuple[int, str]:
    """Over how many rows a canary of the bundle is measured against itself, and which that is said to be."""
    said: list[str] = []
    found = expectations.expect(context, env, path, path, said.append)
    (line,) = said
    return found.rows, line.removeprefix(f"{env}: what the canary is held to is measured over {found.rows:,} ")


UNLOGGED = "as no store here has 5,000 logged rows with all its columns"


@pytest.mark.parametrize(
    ("logged", "rows", "which"),
    [(5001, 5001, "logged rows, 2013-04-02 to 2013-04-02"), (4999, 7, f"held-out rows, {UNLOGGED}")],
)
def test_production_is_held_to_the_newest_logged_rows_where_there_are_enough(
    context: Context, tmp_path: Path, logged: int, rows: int, which: str
) -> None:
    path = own(tmp_path, context)
    write_held_out(context, path, 7)
    log(context, path, logged)
    assert told(context, "production", path) == (rows, which)
    assert told(context, "staging", path) == (expectations.REPLAYED, "rows of the replay")


@pytest.fixture
def logged(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Expects]:
    """A bundle, and what its canary was held to when sixty rows of two days were logged."""
    monkeypatch.setattr(expectations, "REPLAYED", 50)
    path = own(tmp_path, context)
    write_held_out(context, path, 7)
    log(context, path, 40, "2013-04-01")
    log(context, path, 20)
    return path, expectations.expect(context, "production", path, path)


def again(context: Context, path: Path, said: Expects) -> Expects:
    return expectations.expect(context, "production", path, path, said=said)


def test_rows_of_full_days_alone_are_taken(context: Context, logged: tuple[Path, Expects]) -> None:
    path, said = logged
    assert (said.rows, said.logged_to) == (60, date(2013, 4, 2))
    log(context, path, 30, datetime.now(UTC).date().isoformat())
    assert expectations.expect(context, "production", path, path) == said


def test_same_logged_rows_are_found_again_while_the_log_grows(context: Context, logged: tuple[Path, Expects]) -> None:
    path, said = logged
    log(context, path, 30, "2013-04-03")
    assert expectations.expect(context, "production", path, path).logged_to == date(2013, 4, 3)
    assert again(context, path, said) == said
    log(context, path, 3, part="late")
    assert again(context, path, said).rows == 63
    check_expects(said, again(context, path, said))


def test_release_that_was_measured_over_other_rows_is_measured_over_no_logged_ones(
    context: Context, logged: tuple[Path, Expects]
) -> None:
    path, said = logged
    found = again(context, path, said.model_copy(update={"logged_to": None}))
    assert (found.rows, found.logged_to) == (7, None)


@pytest.mark.parametrize("day", ["2013-03-31", "2013-04-30", "today"])
def test_day_that_nobody_could_have_measured_to_is_refused(
    context: Context, logged: tuple[Path, Expects], day: str
) -> None:
    path, said = logged
    log(context, path, 3, "2013-03-31")
    for number in range(1, 29):
        log(context, path, 1, f"2013-05-{number:02}")
    today = datetime.now(UTC).date()
    log(context, path, 3, today.isoformat())
    claimed = said.model_copy(update={"logged_to": today if day == "today" else date.fromisoformat(day)})
    with pytest.raises(UnavailableError, match=f"{claimed.logged_to} is none of the newest 28 full days with rows"):
        again(context, path, claimed)


def test_logged_rows_that_are_not_here_are_named_with_what_to_do(
    context: Context, logged: tuple[Path, Expects], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, said = logged
    monkeypatch.setenv("FLIGHTLINE_STORE", str(tmp_path / "empty"))
    with pytest.raises(UnavailableError, match="set FLIGHTLINE_STORE and install `monitor`"):
        again(context, path, said)
    monkeypatch.setitem(sys.modules, "pipeline.monitoring.store", None)
    with pytest.raises(UnavailableError, match="is not installed; set FLIGHTLINE_STORE and install `monitor`"):
        again(context, path, said)
    assert expectations.expect(context, "production", path, path).rows == 7


def test_production_is_held_to_the_replay_where_the_rows_are_not_here(context: Context, tmp_path: Path) -> None:
    """A rollback in a fresh clone needs no training data."""
    rows, which = told(context, "production", own(tmp_path, context))
    assert (rows, which) == (
        expectations.REPLAYED,
        f"rows of the replay, {UNLOGGED}, nor are held-out rows of it here",
    )


def test_rows_of_another_model_are_not_taken_for_this_ones_traffic(context: Context, tmp_path: Path) -> None:
    write_held_out(context, own(tmp_path, context), 7)
    path = made(tmp_path / "toy")
    assert expectations.expect(context, "production", path, path).rows == expectations.REPLAYED


def test_the_day_on_which_two_models_are_furthest_apart_is_what_a_canary_may_be_apart():
    output = Output("late", minimum=0, maximum=1)
    days = np.repeat(["2013-05-01", "2013-05-02", "2013-05-03"], [200, 200, 50])
    one = np.full(450, 0.2)
    other = np.where(days == "2013-05-02", 0.8, 0.2)
    other[400:] = 0.9
    assert expectations.block_distances(output, one, other, days) == [0.0, 1.0]
    assert expectations.block_distances(output, one, other, None) == []
