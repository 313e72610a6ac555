"""Labels from files: three formats, one meaning; a bad row is named and costs nothing but itself."""

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import ConfigError
from pipeline.monitoring.label_files import MOST_NAMED, BadRows, read_labels
from pipeline.monitoring.labels import Label

EXPECTED = [
    Label(id="a", label=1, event_day=date(2013, 4, 1), known_at=datetime(2013, 4, 2, 6, tzinfo=UTC)),
    Label(id="007", label=0),
]
ROWS: list[dict[str, Any]] = [
    {"id": "a", "label": 1, "event_day": "2013-04-01", "known_at": "2013-04-02T06:00:00Z"},
    {"id": "007", "label": 0, "event_day": None, "known_at": None},
]
CSV = "id,label,event_day,known_at\na,1,2013-04-01,2013-04-02T06:00:00Z\n007,0,,\n"


def read(path: Path, *, binary: bool = True) -> tuple[list[Label], BadRows]:
    bad = BadRows()
    return list(read_labels(path, bad.add, binary=binary)), bad


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeff" + CSV, encoding="utf-8")
    assert read(tmp_path / "a.csv") == (EXPECTED, BadRows())


def test_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(ROWS[0]) + "\n" + lines({"id": "007", "label": False}))
    assert read(tmp_path / "a.jsonl") == (EXPECTED, BadRows())


def test_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines(*ROWS).encode()))
    assert read(tmp_path / "a.csv.gz")[0] == read(tmp_path / "a.jsonl.gz")[0] == EXPECTED


@pytest.mark.parametrize("typed", [True, False], ids=["dates", "text"])
def test_parquet(tmp_path: Path, typed: bool) -> None:
    table = pl.DataFrame(ROWS)
    if typed:
        day, moment = pl.col("event_day").str.to_date(), pl.col("known_at").str.to_datetime(time_zone="UTC")
        table = table.with_columns(day, moment, pl.col("label").cast(pl.Boolean))
    table.write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (EXPECTED, BadRows())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "a", "label": 2}, "label is 2; write 0 or 1"),
        ({"id": "a", "label": "late"}, "label is 'late'; write 0 or 1"),
        ({"id": "a", "label": None}, "label is None; write 0 or 1, or leave the row out"),
        ({"id": "a"}, "label is None; write 0 or 1, or leave the row out"),
        ({"id": "a", "label": 10**400}, "label is 1000"),
        ({"id": "\ud800", "label": 1}, "id is '"),
        ({"label": 1}, "id is None; write the row's id"),
        ({"id": 7, "label": 1}, "id is 7; write the row's id"),
        ({"id": "x" * 201, "label": 1}, "id is 'xxx"),
        ({"id": "a", "label": 1, "event_day": "1 April"}, "event_day is '1 April'; write the day as 2013-04-05"),
        ({"id": "a", "label": 1, "event_day": "20130401"}, "event_day is '20130401'"),
        ({"id": "a", "label": 1, "event_day": 1364774400}, "event_day is 1364774400"),
        ({"id": "a", "label": 1, "known_at": "2013-04-02T06:00:00"}, "known_at is '2013-04-02T06:00:00'; write date"),
        ({"id": "a", "label": 1, "known_at": 1364774400}, "known_at is 1364774400"),
        ({"id": "a", "label": 1, "lable": 0}, "lable is 0; a label has event_day, id, known_at, label and nothing"),
        ({"id": "a", "label": 1, "\x1b[2J\ud800": 0}, "[2J is 0; a label has event_day"),
        (["a", 1], 'row is \'["a", 1]'),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_taken(tmp_path: Path, row: object, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(ROWS[0], row, ROWS[1]))
    found, bad = read(path)
    assert found == EXPECTED
    assert bad.count == 1
    assert str(bad.first[0]).startswith(f"{path}, line 2: {said}")


def test_a_line_of_csv_is_its_line_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,label\n"a\nb",1\n\nc,x\nd,1,1\n')
    found, bad = read(tmp_path / "a.csv")
    assert [one.id for one in found] == ["a\nb"]
    assert [(one.line, one.field) for one in bad.first] == [(5, "label"), (6, "row")]


def test_a_number_will_do_where_the_model_is_no_classifier(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,label\na,-12.5\nb,inf\nc,nan\n")
    found, bad = read(tmp_path / "a.csv", binary=False)
    assert [one.label for one in found] == [-12.5]
    assert [one.fix for one in bad.first] == ["write a finite number"] * 2


def test_a_truth_is_a_label_of_a_classification_alone(tmp_path: Path) -> None:
    rows = [{"id": str(at), "label": one} for at, one in enumerate((True, "true", "FALSE", False))]
    (tmp_path / "a.jsonl").write_text(lines(*rows))
    assert [one.label for one in read(tmp_path / "a.jsonl")[0]] == [1, 1, 0, 0]
    found, bad = read(tmp_path / "a.jsonl", binary=False)
    assert found == []
    assert [one.value for one in bad.first] == ["True", "'true'", "'FALSE'", "False"]
    assert all(one.field == "label" and one.fix.startswith("write a finite number") for one in bad.first)


def test_of_many_bad_rows_the_first_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,label\n" + "a,9\n" * 100)
    _, bad = read(tmp_path / "a.csv")
    assert (bad.count, len(bad.first)) == (100, MOST_NAMED)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id,lable\na,1\n", "column 'label' is missing"),
        ("a.csv", b"id,label,weight\na,1,2\n", "column 'weight' is none of a label"),
        ("a.csv", b"", "column 'id' is missing"),
        ("a.csv", b"id,label\n\xff,1\n", "UTF-8"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-12], "whole"),
        ("a.parquet", b"PAR1", "parquet"),
        ("a.xlsx", b"", ".csv, .jsonl or .parquet"),
        ("a.jsonl", None, "no file of that name"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name}.*{said}"):
        read(tmp_path / name)
