"""The store of predictions and labels in a bucket, through a real S3 API; and what happens while it is away."""

import gzip
import os
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pipeline.errors import UnavailableError
from pipeline.monitoring import log, partitions
from pipeline.monitoring import store as stores
from pipeline.monitoring.labels import LabelCounts
from pipeline.monitoring.place import Place
from pipeline.monitoring.sources import sources
from tests.buckets import Buckets, buckets
from tests.integration.test_labels import Folder
from tests.observed import APRIL, RULES, evening, label, line, lines, store, values

NEXT = APRIL + timedelta(days=1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buckets]:
    with buckets(tmp_path_factory.mktemp("s3") / "buckets") as found, mock.patch.dict(os.environ, found.environment):
        yield found


@pytest.fixture
def bucket(running: Buckets) -> str:
    return running.bucket(f"bucket-{len(list(running.folder.iterdir()))}") + "/kept"


def test_predictions_and_labels_meet(bucket: str) -> None:
    kept = store(bucket)
    assert values(kept) == {}
    assert kept.add_predictions(lines("ab")).kept == 2
    assert store(bucket).add_predictions([*lines("abc")]).duplicate == 2
    assert kept.add_labels([label("a", 1, APRIL), label("z"), label("a", 0)], evening(NEXT)) == LabelCounts(
        new=1, unknown=1, contradictory=1
    )
    assert values(store(bucket)) == {"a": 1, "b": None, "c": None}
    assert store(bucket).days()["labelled"].to_list() == [1]
    assert store(bucket).label_counts().read == 3


def test_days_older_than_retention_go(bucket: str) -> None:
    kept = store(bucket)
    kept.add_predictions([line("a"), line("b", "2013-04-02T10:00:00Z")])
    assert [one.day for one in kept.expire(APRIL + timedelta(days=RULES.retention_days or 0) + timedelta(days=1))] == [
        APRIL
    ]
    assert list(values(kept)) == ["b"]


def test_many_small_files_become_one(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MOST_SMALL_FILES", 3)
    kept = store(bucket)
    for number in range(6):
        kept.add_predictions([line(f"a{number}")])
    assert len(Place(bucket).files()) <= 3
    assert len(values(kept)) == 6


def test_a_file_that_goes_while_it_is_read_is_looked_for_again(bucket: str) -> None:
    kept = store(bucket)
    kept.add_predictions(lines("ab"))
    (name,) = Place(bucket).files()
    Place(bucket).delete([name, name])
    with pytest.raises(FileNotFoundError):
        Place(bucket).collect(Place(bucket).scan([name], kept.form.schema))
    with pytest.raises(FileNotFoundError):
        Place(bucket).get(name)


def test_the_log_is_read_from_a_bucket(bucket: str, tmp_path: Path) -> None:
    logs = Place(f"{bucket}-logs")
    logs.put("year=2013/a.json", b"\n".join(lines("ab")))
    logs.put("year=2013/b.json.gz", gzip.compress(b"\n".join(lines("bc"))))
    found = sources(logs.where, tmp_path)
    counts = [store(bucket).add_predictions(one.lines()) for one in found]
    assert [(one.kept, one.duplicate) for one in counts] == [(2, 0), (1, 1)]


def test_while_it_is_away_the_place_is_named_and_a_second_run_finishes(running: Buckets, bucket: str) -> None:
    first = [line(f"r{number}") for number in range(3)]
    kept = store(bucket)
    kept.add_predictions(first)
    running.stop()
    try:
        for attempt in (
            lambda: store(bucket).add_predictions([*first, *lines("ab")]),
            lambda: kept.add_labels([label("r0")], evening(NEXT)),
            lambda: values(kept),
            kept.days,
        ):
            with pytest.raises(UnavailableError, match=bucket):
                attempt()
    finally:
        running.start()
    assert kept.add_predictions([*first, *lines("ab")]).kept == 2
    assert kept.add_labels([label("r0")], evening(NEXT)).new == 1
    assert len(values(kept, date.min, date.max)) == 5


def leaving(running: Buckets, some: Sequence[Any], after: int) -> Iterator[Any]:
    """These, one after another; after so many the object store is away."""
    for number, one in enumerate(some):
        if number == after:
            running.stop()
        yield one


def test_it_goes_in_the_middle_of_a_log_and_a_second_run_finishes(
    running: Buckets, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "ROWS_AT_ONCE", 10)
    given = [line(f"r{number}", f"2013-04-{1 + number % 3:02}T10:00:00Z") for number in range(30)]
    with pytest.raises(UnavailableError, match=f"{bucket}.*nothing is lost or twice"):
        store(bucket).add_predictions(leaving(running, given, 15))
    running.start()
    assert len(values(store(bucket))) == 10
    counts = store(bucket).add_predictions(given)
    assert (counts.kept, counts.duplicate) == (20, 10)
    assert len(values(store(bucket))) == 30


def test_it_goes_in_the_middle_of_labels_and_a_second_run_finishes(
    running: Buckets, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LABELS_AT_ONCE", 10)
    store(bucket).add_predictions([line(f"r{number}") for number in range(30)])
    given = [label(f"r{number}", number % 2, APRIL) for number in range(30)]
    with pytest.raises(UnavailableError, match=bucket):
        store(bucket).add_labels(leaving(running, given, 15), evening(NEXT))
    running.start()
    assert store(bucket).add_labels(given, evening(NEXT)) == LabelCounts(new=20, duplicate=10)
    assert values(store(bucket)) == {f"r{number}": number % 2 for number in range(30)}
    assert store(bucket).label_counts() == LabelCounts(new=30, duplicate=10)


def test_it_goes_while_it_is_read(running: Buckets, bucket: str) -> None:
    kept = store(bucket)
    kept.add_predictions([line("a"), line("b", "2013-04-02T10:00:00Z")])
    days = kept.batches(date.min, date.max)
    assert next(days)["id"].to_list() == ["a"]
    running.stop()
    try:
        with pytest.raises(UnavailableError, match=bucket):
            next(days)
    finally:
        running.start()


def test_who_types_is_told_and_types_it_again(running: Buckets, bucket: str, tmp_path: Path) -> None:
    here = Folder(tmp_path)
    settings = (here.root / "params.yaml").read_text()
    (here.root / "params.yaml").write_text(settings.replace("store: .observed", f"store: {bucket}"))
    (here.root / "a.log").write_bytes(b"\n".join(lines("ab")))
    (here.root / "known.csv").write_text("id,label\na,1\n")
    typed = (("log", "add", "a.log"), ("labels", "add", "known.csv", "--as-of", "2013-04-02"), ("log", "days"))
    running.stop()
    try:
        for words in typed:
            said = here.run(*words, code=69).stderr.strip().splitlines()
            assert bucket in said[-1]
            assert "run it again: nothing is lost or twice" in said[-1]
    finally:
        running.start()
    assert [here.run(*words).stdout.split(";")[0] for words in typed[:2]] == [
        "log: 2 lines: 2 predictions kept of 2013-04-01 to 2013-04-01, 0 duplicate, 0 malformed, 0 foreign",
        "labels: 1 new\n",
    ]


def test_credentials_that_are_refused_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(UnavailableError, match=f"{bucket}.*credentials"):
        store(bucket).add_predictions(lines("a"))


def test_a_bucket_that_is_not_there_is_named(running: Buckets) -> None:
    with pytest.raises(UnavailableError, match="s3://nowhere"):
        store("s3://nowhere").add_predictions(lines("a"))
