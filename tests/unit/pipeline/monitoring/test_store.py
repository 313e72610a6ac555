"""The store: what was logged is there once, labels meet their predictions whenever either comes."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.monitoring import partitions
from pipeline.monitoring import store as stores
from pipeline.monitoring.labels import LabelCounts
from pipeline.monitoring.place import Place
from tests import monitored
from tests.observed import APRIL, RULES, evening, files, label, line, lines, store, values

NEXT = APRIL + timedelta(days=1)
LATER = APRIL + timedelta(days=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


class TestPredictions:
    def test_each_is_kept_on_the_day_of_its_event(self, folder: Path) -> None:
        counts = store(folder).add_predictions(
            [line("a"), line("b", "2013-04-01T23:59:59Z"), line("c", "2013-04-02T00:00:00Z")]
        )
        assert (counts.read, counts.kept, counts.days) == (3, 3, (APRIL, NEXT))
        assert store(folder).days().rows() == [(APRIL, "a" * 64, 2, 0), (NEXT, "a" * 64, 1, 0)]

    def test_a_zone_other_than_utc_is_turned_into_it(self, folder: Path) -> None:
        assert store(folder).add_predictions([line("a", "2013-04-01T20:00:00-04:00")]).days == (NEXT,)

    def test_the_same_lines_twice_are_one_file(self, folder: Path) -> None:
        for kept, duplicate in ((2, 0), (0, 2)):
            counts = store(folder).add_predictions(lines("ab"))
            assert (counts.kept, counts.duplicate) == (kept, duplicate)
        assert len(files(folder)) == 1

    def test_the_same_lines_are_the_same_file_wherever_they_are_written(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            store(tmp_path / name).add_predictions(lines("ab"))
        assert files(tmp_path / "one") == files(tmp_path / "two")

    def test_a_retried_line_counts_once_and_the_first_one_is_kept(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line("a", score=0.25), line("a", score=0.75)])
        assert kept.add_predictions([line("a", score=0.5)]).duplicate == 1
        assert kept.joined(APRIL, APRIL).collect()["score"].to_list() == [0.25]

    def test_a_retry_after_midnight_counts_once(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line("a", "2013-04-01T23:59:59Z")])
        assert kept.add_predictions([line("a", "2013-04-02T00:00:01Z")]).duplicate == 1
        assert kept.days()["predictions"].to_list() == [1]

    @pytest.mark.parametrize("at_once", [True, False])
    @pytest.mark.parametrize(
        ("days", "kept"),
        [
            ([1, 31], [1, 31]),
            ([31, 1], [1, 31]),
            ([1, 3], [1, 3]),
            ([1, 2, 3], [1, 3]),
            ([2, 1, 3], [2]),
            ([1, 31, 2, 30, 16], [1, 16, 31]),
        ],
    )
    def test_an_id_that_comes_again_on_a_distant_day_is_another_row(
        self, folder: Path, days: list[int], kept: list[int], at_once: bool
    ) -> None:
        kept_in = store(folder)
        came = [line("a", f"2013-05-{day:02}T10:00:00Z", score=day / 100) for day in days]
        counts = [kept_in.add_predictions(some) for some in ([came] if at_once else [[one] for one in came])]
        assert (sum(one.kept for one in counts), sum(one.duplicate for one in counts)) == (
            len(kept),
            len(days) - len(kept),
        )
        found = kept_in.joined(date.min, date.max).collect()
        assert [(day.day, round(score * 100)) for day, score in found.select("day", "score").rows()] == [
            (day, day) for day in kept
        ]

    def test_a_row_is_looked_for_near_its_own_day_and_not_near_those_that_came_with_it(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line("a", "2013-04-01T10:00:00Z")])
        came = [line("a", "2013-05-01T10:00:00Z"), line("b", "2013-04-01T10:00:00Z"), line("a", "2013-04-02T10:00:00Z")]
        counts = kept.add_predictions(came)
        assert (counts.kept, counts.duplicate, counts.days) == (2, 1, (APRIL, date(2013, 5, 1)))

    def test_rows_of_one_batch_stay_in_the_order_of_their_lines(self, folder: Path) -> None:
        names = ["d", "a", "c", "d", "b"]
        days = [1, 1, 1, 31, 1]
        store(folder).add_predictions(
            [line(name, f"2013-05-{day:02}T10:00:00Z") for name, day in zip(names, days, strict=True)]
        )
        (first,) = (folder / "predictions/day=2013-05-01").glob("*.parquet")
        assert pl.read_parquet(first)["id"].to_list() == ["d", "a", "c", "b"]

    def test_two_writers_at_once_do_not_count_a_row_twice(self, folder: Path, tmp_path: Path) -> None:
        store(folder).add_predictions([line("a"), line("b")])
        store(tmp_path / "other").add_predictions([line("b"), line("c")])
        for name in files(tmp_path / "other"):
            (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
        assert store(folder).joined(APRIL, APRIL).collect()["id"].to_list() == ["a", "b", "c"]

    def test_what_is_skipped_is_counted_and_said(self, folder: Path) -> None:
        counts = store(folder).add_predictions([line("a"), b"hello", line("b")[:-9]])
        assert (counts.read, counts.kept, counts.malformed, counts.foreign) == (3, 1, 1, 1)
        assert counts.skipped == 2
        assert counts.examples[0].startswith("line 3: ")

    def test_the_ends_of_the_calendar_are_days_like_any(self, folder: Path) -> None:
        kept = store(folder, rules=RULES.model_copy(update={"retention_days": None}))
        kept.add_predictions([line("a", "9999-12-31T23:59:59Z"), line("b", "0001-01-01T00:00:00Z")])
        assert kept.add_labels([label("b", 1, date.min), label("c", 1, date.min)], evening(NEXT)).new == 1
        assert values(kept) == {"b": 1, "a": None}

    def test_no_lines_are_no_rows_and_no_folder(self, folder: Path) -> None:
        assert store(folder).add_predictions([]).read == 0
        assert not folder.exists()

    def test_a_row_that_was_kept_without_a_feature_has_a_null_there(self, folder: Path) -> None:
        store(folder, features={"temp": pl.Float64()}).add_predictions([line("a")])
        rows = store(folder).joined(APRIL, APRIL).collect()
        assert rows.select("carrier", "temp").rows() == [(None, 39.0)]
        assert "carrier" not in store(folder, features={}).joined(APRIL, APRIL).collect_schema()

    def test_rows_that_were_kept_without_a_feature_come_in_a_frame_without_it(self, folder: Path) -> None:
        """A null there would say that the caller left it out."""
        store(folder, features={"temp": pl.Float64()}).add_predictions([line("a"), line("b")])
        store(folder).add_predictions([line("c"), line("a")])
        found = {
            tuple(one["id"]): one.columns for one in store(folder).batches(APRIL, APRIL, ("id", "carrier", "temp"))
        }
        assert found == {("a", "b"): ["id", "temp"], ("c",): ["id", "carrier", "temp"]}
        assert [one["id"].to_list() for one in store(folder).batches(APRIL, APRIL, ("id", "temp"))] == [["a", "b", "c"]]
        rows = store(folder).joined(APRIL, APRIL).select("id", "carrier").collect().sort("id").rows()
        assert rows == [("a", None), ("b", None), ("c", "UA")]

    def test_small_files_become_one_without_a_word_on_what_was_not_kept(self, folder: Path) -> None:
        narrow = store(folder, features={"temp": pl.Float64()})
        for number in range(5):
            narrow.add_predictions([line(f"old {number}")])
        for number in range(partitions.MOST_SMALL_FILES + 1):
            store(folder).add_predictions([line(f"new {number}")])
        assert len(files(folder)) == 5 + 1
        found = {"carrier" in one.columns: one.height for one in store(folder).batches(APRIL, APRIL)}
        assert found == {False: 5, True: partitions.MOST_SMALL_FILES + 1}

    def test_many_small_files_of_a_day_become_one(self, folder: Path) -> None:
        kept = store(folder)
        for number in range(partitions.MOST_SMALL_FILES + 5):
            kept.add_predictions([line(f"a{number}")])
        assert len(files(folder)) <= 5
        assert len(values(store(folder))) == partitions.MOST_SMALL_FILES + 5
        assert store(folder).add_predictions([line("a0")]).duplicate == 1

    def test_a_file_that_goes_while_it_is_read_is_looked_for_again(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = store(folder)
        kept.add_predictions(lines("ab"))
        kept.add_predictions(lines("cd"))
        read, left = partitions.Partitions.read, [True]

        def tidied_meanwhile(self: partitions.Partitions, names: list[str], *rest: object) -> pl.DataFrame:
            if left and left.pop():
                monkeypatch.setattr(partitions, "MOST_SMALL_FILES", 1)
                self.tidy("predictions/day", APRIL, kept.form.schema)
            return read(self, names, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(partitions.Partitions, "read", tidied_meanwhile)
        assert len(values(kept)) == 4
        assert not left


class TestLabels:
    def test_a_label_meets_its_prediction(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("ab"))
        assert kept.add_labels([label("a", 1), label("b", 0, APRIL)], evening(NEXT)) == LabelCounts(new=2)
        assert values(kept) == {"a": 1, "b": 0}

    def test_a_day_that_is_one_off_finds_it_all_the_same(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        assert kept.add_labels([label("a", 1, APRIL - timedelta(days=1))], evening(NEXT)).new == 1

    def test_a_label_that_comes_late_is_joined_and_said_to_be_late(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("ab"))
        assert kept.add_labels([label("a")], evening(NEXT)) == LabelCounts(new=1)
        assert kept.add_labels([label("b")], evening(NEXT + timedelta(days=1))) == LabelCounts(new=1, late=1)
        assert values(kept) == {"a": 1, "b": 1}

    def test_the_same_label_twice_is_a_duplicate(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        assert kept.add_labels([label("a"), label("a")], evening(NEXT)) == LabelCounts(new=1, duplicate=1)
        before = files(folder)
        assert store(folder).add_labels([label("a")], evening(NEXT)) == LabelCounts(duplicate=1)
        assert [name for name in files(folder) if "counts" not in name] == [
            name for name in before if "counts" not in name
        ]

    def test_of_two_that_differ_the_first_known_holds(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        assert kept.add_labels([label("a", 1), label("a", 0)], evening(NEXT)) == LabelCounts(new=1, contradictory=1)
        assert kept.add_labels([label("a", 0)], evening(LATER)) == LabelCounts(contradictory=1)
        assert values(kept) == {"a": 1}

    def test_one_that_was_known_earlier_but_came_later_holds(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        kept.add_labels([label("a", 1)], evening(LATER))
        assert kept.add_labels([label("a", 0, known=evening(NEXT))], evening(LATER)) == LabelCounts(contradictory=1)
        assert values(kept) == {"a": 0}

    def test_a_correction_holds(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        kept.add_labels([label("a", 1)], evening(NEXT))
        assert kept.add_labels([label("a", 0)], evening(LATER), corrects=True) == LabelCounts(corrected=1)
        assert kept.add_labels([label("a", 0)], evening(LATER), corrects=True) == LabelCounts(duplicate=1)
        assert kept.add_labels([label("a", 1)], evening(LATER)) == LabelCounts(contradictory=1)
        assert values(kept) == {"a": 0}

    @pytest.mark.parametrize("day", [APRIL, None], ids=["with its day", "without"])
    def test_one_of_an_unknown_request_waits_for_it(self, folder: Path, day: date | None) -> None:
        kept = store(folder)
        assert kept.add_labels([label("a", 1, day)], evening(NEXT)) == LabelCounts(unknown=1)
        assert kept.add_labels([label("a", 1, day)], evening(NEXT)) == LabelCounts(duplicate=1)
        assert kept.add_labels([label("a", 0, day)], evening(NEXT)) == LabelCounts(contradictory=1)
        assert values(kept) == {}
        kept.add_predictions(lines("ab"))
        assert values(kept) == {"a": 1, "b": None}
        assert kept.add_labels([label("a", 1)], evening(NEXT)) == LabelCounts(duplicate=1)

    def test_one_older_than_retention_is_not_kept(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        old = APRIL + timedelta(days=RULES.retention_days + 1)
        assert kept.add_labels([label("a"), label("b", 1, APRIL)], evening(old)) == LabelCounts(expired=2)
        assert values(kept) == {"a": None}

    def test_one_on_the_last_day_of_retention_is_kept(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        assert kept.add_labels([label("a")], evening(APRIL + timedelta(days=RULES.retention_days))).new == 1

    @pytest.mark.parametrize(
        ("known", "fate"),
        [
            (datetime(2013, 4, 1, 9, 54, tzinfo=UTC), LabelCounts(skewed=1)),
            (datetime(2013, 4, 1, 9, 56, tzinfo=UTC), LabelCounts(new=1)),
            (datetime(2013, 4, 3, 0, 5, tzinfo=UTC), LabelCounts(skewed=1)),
            (datetime(2013, 4, 3, 0, 3, tzinfo=UTC), LabelCounts(new=1, late=1)),
        ],
        ids=["before its event", "hardly before it", "in the future", "hardly in it"],
    )
    def test_clocks_may_differ_by_the_tolerance(self, folder: Path, known: datetime, fate: LabelCounts) -> None:
        kept = store(folder)
        kept.add_predictions(lines("a"))
        assert kept.add_labels([label("a", 1, known=known)], evening(NEXT)) == fate
        assert values(kept) == {"a": 1 if fate.new else None}

    def test_one_of_an_event_to_come_is_skewed(self, folder: Path) -> None:
        assert store(folder).add_labels([label("a", 1, APRIL + timedelta(days=3))], evening(NEXT)).skewed == 1

    def test_one_that_waits_and_turns_out_to_be_too_early_is_not_joined(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_labels([label("a", 1, APRIL, datetime(2013, 4, 1, 9, tzinfo=UTC))], evening(NEXT))
        kept.add_predictions(lines("a"))
        assert values(kept) == {"a": None}
        assert kept.add_labels([label("a", 0)], evening(NEXT)).contradictory == 1

    def test_an_id_that_was_used_again_is_the_newest_before_the_outcome(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line("a"), line("b")])
        kept.add_predictions(lines("ab", "2013-04-08T10:00:00Z"))
        kept.add_labels([label("a", 1, known=evening(NEXT)), label("b", 1)], evening(LATER))
        joined = kept.joined(date.min, date.max).select("id", "day", "label").collect().sort("id", "day")["label"]
        assert joined.to_list() == [1, None, None, 1]

    def test_all_that_became_of_labels_is_remembered(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions(lines("ab"))
        kept.add_labels([label("a"), label("a", 0)], evening(NEXT))
        kept.add_labels([label("a"), label("c")], evening(NEXT))
        store(folder).add_labels([label("b")], evening(LATER))
        assert store(folder).label_counts() == LabelCounts(new=2, late=1, duplicate=1, contradictory=1, unknown=1)

    def test_batches_make_no_difference(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        chance, found = random.Random(7), []
        some = [label(f"r{chance.randrange(40)}", chance.randrange(2)) for _ in range(200)]
        for size in (1000, 7):
            monkeypatch.setattr(stores, "LABELS_AT_ONCE", size)
            kept = store(tmp_path / str(size))
            kept.add_predictions(lines([f"r{number}" for number in range(30)]))
            found.append((kept.add_labels(some, evening(NEXT)), values(kept)))
        assert found[0] == found[1]
        assert found[0][0].read == 200


class TestJoined:
    def test_an_empty_window_has_no_rows_and_all_columns(self, folder: Path) -> None:
        for first, last in ((APRIL, NEXT), (NEXT, APRIL)):
            rows = store(folder).joined(first, last).collect()
            assert rows.is_empty()
            assert rows.columns == ["id", "day", "time", "version", "score", "label", "carrier", "temp"]
        assert store(folder).days().is_empty()
        assert store(folder).label_counts() == LabelCounts()

    def test_a_window_has_the_days_from_first_to_last(self, folder: Path) -> None:
        kept = store(folder)
        for day in range(1, 6):
            kept.add_predictions([line(f"d{day}", f"2013-04-0{day}T10:00:00Z")])
        assert list(values(kept, NEXT, date(2013, 4, 4))) == ["d2", "d3", "d4"]

    def test_rows_come_by_day_and_time(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line("c", "2013-04-02T10:00:00Z"), line("b", "2013-04-01T11:00:00Z"), line("a")])
        assert list(values(kept)) == ["a", "b", "c"]

    def test_columns_rows_and_counts_that_are_asked_for_are_what_comes(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line(f"r{number}", score=number / 10) for number in range(10)])
        table = kept.joined(APRIL, APRIL)
        assert table.filter(pl.col("score") > 0.65).select("id").collect()["id"].to_list() == ["r7", "r8", "r9"]
        assert table.head(3).collect().height == 3
        assert table.select(pl.len()).collect().item() == 10
        assert table.select("day").unique().collect().rows() == [(APRIL,)]
        assert table.collect(engine="streaming").equals(table.collect())

    def test_a_day_too_large_to_hold_is_read_in_parts(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = store(folder)
        kept.add_predictions(lines([f"r{number}" for number in range(100)]))
        kept.add_labels([label(f"r{number}", number % 2) for number in range(100)], evening(NEXT))
        whole = values(kept)
        monkeypatch.setattr(stores, "PART_BYTES", 500)
        parts = list(kept.batches(APRIL, APRIL))
        assert len(parts) > 3
        assert sum(part.height for part in parts) == 100
        assert values(kept) == whole


class TestExpiry:
    def test_whole_days_older_than_retention_go(self, folder: Path) -> None:
        kept = store(folder)
        kept.add_predictions([line("a"), line("b", "2013-04-02T10:00:00Z")])
        kept.add_labels([label("a"), label("b"), label("c", 1, APRIL), label("d")], evening(NEXT))
        today = APRIL + timedelta(days=RULES.retention_days + 1)
        said = kept.expire(today, dry_run=True)
        assert [(one.day, one.files) for one in said] == [(APRIL, 3)]
        assert values(kept) == {"a": 1, "b": 1}
        assert kept.expire(today) == said
        assert values(kept) == {"b": 1}
        assert not [name for name in files(folder) if str(APRIL) in name]

    def test_counts_that_go_while_they_are_read_are_looked_for_again(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = store(folder)
        kept.add_labels([label("a")], evening(NEXT))
        store(folder).add_labels([label("b")], evening(LATER))
        get, left = Place.get, [True]

        def expired_meanwhile(self: Place, name: str) -> bytes:
            if left and left.pop():
                kept.expire(NEXT + timedelta(days=RULES.retention_days + 1))
            return get(self, name)

        monkeypatch.setattr(Place, "get", expired_meanwhile)
        assert kept.label_counts() == LabelCounts(unknown=1)
        assert not left

    def test_nothing_goes_where_no_retention_is_set(self, folder: Path) -> None:
        kept = store(folder, rules=RULES.model_copy(update={"retention_days": None}))
        kept.add_predictions(lines("a"))
        assert kept.expire(date(2200, 1, 1)) == ()

    def test_a_file_of_somebody_else_stays(self, folder: Path) -> None:
        store(folder).add_predictions(lines("a"))
        (folder / "predictions" / "note.txt").write_text("mine")
        store(folder).expire(date(2200, 1, 1))
        assert files(folder) == ["predictions/note.txt"]


class TestOpening:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return monitored.checkout(tmp_path).root

    def monitor(self, root: Path, **settings: object) -> Context:
        with (root / "params.yaml").open("a") as file:
            file.write(f"\nmonitoring: {json.dumps(settings)}\n")
        return monitored.checkout(root)

    def test_the_store_is_where_the_setting_says(self, root: Path) -> None:
        opened = stores.open_store(self.monitor(root, store="somewhere", retention_days=7, fields=["temp"]))
        assert opened.place.where == str(root / "somewhere")
        assert list(opened.features) == ["temp"]
        assert opened.rules.retention_days == 7

    def test_the_variable_goes_before_the_setting(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(stores.VARIABLE, "s3://bucket/prefix/")
        assert stores.open_store(self.monitor(root)).place.where == "s3://bucket/prefix"

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"fields": ["tmp"]}, "monitoring.fields: 'tmp' is no column"),
            ({"retention_days": 0}, "retention_days"),
            ({"store": "gs://bucket"}, "gs://bucket"),
            ({"store": "s3://"}, "s3://bucket/prefix"),
            ({"keep": 3}, "keep"),
        ],
    )
    def test_a_wrong_setting_is_named(self, root: Path, settings: dict[str, object], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            stores.open_store(self.monitor(root, **settings))

    def test_a_store_that_cannot_be_reached_is_named_and_a_second_run_finishes(self, tmp_path: Path) -> None:
        (tmp_path / "kept").write_text("in the way")
        with pytest.raises(UnavailableError, match="kept"):
            store(tmp_path / "kept").add_predictions(lines("a"))
        (tmp_path / "kept").unlink()
        assert store(tmp_path / "kept").add_predictions(lines("a")).kept == 1

    def test_an_object_store_that_is_away_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {
            "ENDPOINT_URL": "http://127.0.0.1:9",
            "REGION": "x",
            "ACCESS_KEY_ID": "x",
            "SECRET_ACCESS_KEY": "x",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        with pytest.raises(UnavailableError, match=r"s3://bucket/kept.*AWS_ENDPOINT_URL"):
            Place("s3://bucket/kept").files()
