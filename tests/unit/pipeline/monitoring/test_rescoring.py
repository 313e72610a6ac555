"""Is every logged score its bundle's own? Asked of lines of a log, and of a real store."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from pipeline.monitoring.rescoring import SCORES, Rescored, Sample, reading, rescore, rescore_stored
from pipeline.monitoring.store import Store
from serving import bundle
from serving.bundle import Bundle
from serving.signature import Output, encode
from tests import bundles, observed

COUNT = 60
OTHER = "b" * 64
FEATURES: dict[str, pl.DataType] = {
    "temp": pl.Float64(),
    "seats": pl.Float64(),
    "origin": pl.String(),
    "dest": pl.String(),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("toy") / "bundle"
    bundles.write(folder, model=bundles.graph(bundles.SIGNATURE, [0.1, 0, 0, 0], -5.0))
    return bundle.load(folder)


def log(opened: Bundle, wrong: float = 0.0, version: str = "", day: str = "2013-04-01") -> list[bytes]:
    """What a server of that bundle logs of a day; the score of row 30 is off by `wrong`."""
    temperatures = np.random.default_rng(5).uniform(20, 90, COUNT).round(1).tolist()
    rows = [{"temp": one, "seats": None, "origin": "JFK", "dest": "ORD"} for one in temperatures]
    scores = opened.score(encode(opened.signature, {name: [row[name] for row in rows] for name in rows[0]}))
    return [
        observed.line(
            f"{day} row {at}",
            f"{day}T10:00:00Z",
            model="toy",
            version=version or opened.version,
            features=row,
            score=float(scores[at]) + (wrong if at == 30 else 0),
        )
        for at, row in enumerate(rows)
    ]


def stored(folder: Path, *lines: bytes, lacking: str = "") -> Store:
    """A store of these lines, which kept all features but one of them."""
    features = {name: kind for name, kind in FEATURES.items() if name != lacking}
    store = Store(observed.Place(str(folder)), observed.Form("toy", features), observed.RULES)
    assert store.add_predictions(lines).kept == len(lines)
    return store


class TestLog:
    def test_scores_of_the_log_are_the_bundles_own(self, opened: Bundle) -> None:
        found = rescore(opened, log(opened), 1000, 1e-5)
        assert (found.seen, found.checked, found.holds, found.exit_code) == (COUNT, COUNT, True, 0)

    def test_score_that_the_bundle_does_not_give_is_named_with_both(self, opened: Bundle) -> None:
        found = rescore(opened, log(opened, wrong=0.25), 1000, 1e-5)
        assert (found.exit_code, found.worst) == (1, "2013-04-01 row 30")
        assert found.logged - found.given == pytest.approx(0.25)
        for said in (
            "request 2013-04-01 row 30",
            f"{found.logged:.7g}",
            f"{found.given:.7g}",
            "greatest difference .25",
        ):
            assert said in found.text

    def test_difference_just_beyond_what_is_allowed_counts(self, opened: Bundle) -> None:
        assert rescore(opened, log(opened, wrong=2e-5), 1000, 1e-5).exit_code == 1
        assert rescore(opened, log(opened, wrong=5e-6), 1000, 1e-5).exit_code == 0

    def test_score_above_one_is_compared_relative_to_its_size(self, tmp_path: Path) -> None:
        """As the parity gate does: float32 has no more than seven digits."""
        minutes = msgspec.structs.replace(bundles.SIGNATURE, task="regression", output=Output("delay", unit="min"))
        graph = bundles.graph(minutes, [0.1, 0, 0, 0])
        graph.graph.node[-1].op_type = "Abs"
        bundles.write(tmp_path / "minutes", signature=minutes, model=graph)
        long = bundle.load(tmp_path / "minutes")
        found = rescore(long, log(long, wrong=2e-5), 1000, 1e-5)
        assert found.given > 3
        assert found.holds

    def test_sample_is_bounded_and_the_same_each_time(self, opened: Bundle) -> None:
        first, again = (rescore(opened, log(opened, wrong=1.0), 10, 1e-5) for _ in range(2))
        assert (first.checked, first) == (10, again)

    def test_lines_are_taken_as_kubernetes_keeps_them(self, opened: Bundle) -> None:
        kept = [b"2013-04-01T10:00:00.000000001Z stdout F " + one for one in log(opened, wrong=0.25)]
        found = rescore(opened, [b"2013-04-01T10:00:00Z stderr F listening\n", *kept], 1000, 1e-5)
        assert (found.checked, found.worst) == (COUNT, "2013-04-01 row 30")

    def test_log_of_other_versions_answers_nothing(self, opened: Bundle) -> None:
        found = rescore(opened, [*log(opened, version=OTHER)[:1], b"not json", b"{}"], 10, 1e-5)
        assert (found.seen, found.exit_code) == (1, 2)


class TestStore:
    def test_scores_of_the_store_are_the_bundles_own(self, opened: Bundle, tmp_path: Path) -> None:
        found = rescore_stored(opened, stored(tmp_path, *log(opened)), 1000, 1e-5)
        assert (found.seen, found.checked, found.holds) == (COUNT, COUNT, True)

    def test_score_that_the_bundle_does_not_give_is_named_with_both(self, opened: Bundle, tmp_path: Path) -> None:
        found = rescore_stored(opened, stored(tmp_path, *log(opened, wrong=2e-5)), 1000, 1e-5)
        assert (found.holds, found.worst) == (False, "2013-04-01 row 30")
        assert found.logged - found.given == pytest.approx(2e-5, rel=0.1)

    def test_rows_of_other_versions_are_passed_over(self, opened: Bundle, tmp_path: Path) -> None:
        store = stored(tmp_path, *log(opened), *log(opened, 0.5, OTHER, "2013-04-02"))
        found = rescore_stored(opened, store, 1000, 1e-5)
        assert (found.seen, found.holds) == (COUNT, True)

    def test_sample_over_days_is_bounded_and_the_same_each_time(self, opened: Bundle, tmp_path: Path) -> None:
        store = stored(tmp_path, *log(opened), *log(opened, day="2013-04-02"))
        first, again = (rescore_stored(opened, store, 10, 1e-5) for _ in range(2))
        assert (first.seen, first.checked) == (2 * COUNT, 10)
        assert (first, first.holds) == (again, True)

    def test_rows_that_were_logged_before_a_column_was_kept_are_passed_over(
        self, opened: Bundle, tmp_path: Path
    ) -> None:
        old = stored(tmp_path, *log(opened), lacking="temp")
        found = rescore_stored(opened, stored(tmp_path), 1000, 1e-5)
        assert (found.seen, found.checked) == (COUNT, 0)
        old.add_predictions(log(opened, day="2013-04-02")[:5])
        found = rescore_stored(opened, stored(tmp_path, *log(opened, day="2013-04-02")[5:]), 1000, 1e-5)
        assert (found.seen, found.checked, found.holds) == (2 * COUNT, COUNT - 5, True)

    def test_version_that_answered_nothing_has_nothing_to_check(self, opened: Bundle, tmp_path: Path) -> None:
        found = rescore_stored(opened, stored(tmp_path, *log(opened, version=OTHER)), 10, 1e-5)
        assert (found.seen, found.exit_code) == (0, 2)


def test_finding_is_one_line_for_people() -> None:
    found = Rescored(version="a" * 64, seen=48213, checked=1000, largest=3e-7, worst="r", allowed=1e-5)
    assert found.text == (
        "1,000 of 48,213 logged requests re-scored from the bundle: greatest difference 3.0e-07 (1e-05 allowed)"
    )


def test_finding_is_the_same_in_json() -> None:
    found: dict[str, Any] = json.loads(Rescored(version="a" * 64, seen=1, allowed=1e-5).model_dump_json())
    assert (found["seen"], found["checked"], found["worst"]) == (1, 0, "")


class TestLook:
    def samples(self, opened: Bundle, folder: Path, wrong: float = 0.0, most: int = 1000) -> list[Sample]:
        days = [
            log(opened, day="2013-04-01"),
            log(opened, wrong, day="2013-04-02"),
            log(opened, 0.5, OTHER, "2013-04-03"),
        ]
        store = stored(folder, *(line for day in days for line in day))
        frames = store.batches(date.min, date.max)
        return [Sample.of(frame, opened.version, opened.signature.names, most) for frame in frames]

    def test_scores_that_are_the_bundles_own_are_quiet_and_other_versions_no_matter(
        self, opened: Bundle, tmp_path: Path
    ) -> None:
        found = reading(opened, self.samples(opened, tmp_path, most=50), 1e-5)
        assert (found.name, found.alarm, found.high) == (SCORES, False, 1e-5)
        assert found.reason.startswith("100 of 120 logged requests re-scored from the bundle: greatest difference 0 ")

    def test_score_that_is_not_alarms_and_names_the_request(self, opened: Bundle, tmp_path: Path) -> None:
        found = reading(opened, self.samples(opened, tmp_path, wrong=2e-5), 1e-5)
        assert (found.alarm, found.value) == (True, pytest.approx(2e-5, rel=0.1))
        assert found.reason.startswith("logged scores: request 2013-04-02 row 30 was logged with")

    def test_version_that_answered_nothing_is_no_alarm(self, opened: Bundle, tmp_path: Path) -> None:
        found = reading(opened, self.samples(opened, tmp_path)[2:], 1e-5)
        assert (found.alarm, found.value) == (False, None)
        assert reading(opened, [], 1e-5) == found

    def test_column_that_is_not_kept_is_named(self, opened: Bundle, tmp_path: Path) -> None:
        store = stored(tmp_path, *log(opened), lacking="temp")
        frames = store.batches(date.min, date.max)
        samples = [Sample.of(frame, opened.version, opened.signature.names) for frame in frames]
        assert reading(opened, samples, 1e-5).reason == "not checked: the log does not carry temp"

    def test_rows_that_were_logged_before_a_column_was_kept_are_passed_over(
        self, opened: Bundle, tmp_path: Path
    ) -> None:
        stored(tmp_path, *log(opened), lacking="temp")
        store = stored(tmp_path, *log(opened, day="2013-04-02"))
        frames = store.batches(date.min, date.max)
        samples = [Sample.of(frame, opened.version, opened.signature.names) for frame in frames]
        found = reading(opened, samples, 1e-5)
        assert (found.alarm, found.value) == (False, 0)
        assert found.reason.startswith("60 of 120 logged requests re-scored")

    def test_parts_of_a_day_give_the_sample_of_the_day(self, opened: Bundle, tmp_path: Path) -> None:
        store = stored(tmp_path, *log(opened))
        (day,) = store.batches(date.min, date.max)
        first, *rest = (Sample.of(part, opened.version, opened.signature.names, 10) for part in day.iter_slices(7))
        found, whole = sum(rest, first), Sample.of(day, opened.version, opened.signature.names, 10)
        assert (found.seen, found.rows.height) == (COUNT, 10)
        assert found.rows.sort("id").equals(whole.rows.sort("id"))
