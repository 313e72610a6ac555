"""Lines of a log become rows, however they were wrapped; what is no prediction is counted, never silently dropped."""

import json
from collections.abc import Iterable

import polars as pl
import pytest

from pipeline.monitoring.log import Form, Skipped
from tests.observed import FEATURES, MODEL, line


def read(lines: Iterable[bytes], features: dict[str, pl.DataType] = FEATURES) -> tuple[pl.DataFrame, Skipped]:
    form, skipped = Form(MODEL, features), Skipped()
    return pl.concat([form.schema.to_frame(), *form.frames(lines, skipped)]), skipped


def otlp(*bodies: bytes) -> bytes:
    records = [{"timeUnixNano": "1", "body": {"stringValue": body.decode()}} for body in bodies]
    return json.dumps(
        {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]}
    ).encode()


def test_a_line_becomes_a_row() -> None:
    rows, skipped = read([line("a-0") + b"\n"])
    assert rows.to_dicts() == [
        {
            "id": "a-0",
            "time": pl.Series(["2013-04-01T10:00:00Z"]).str.to_datetime(time_zone="UTC")[0],
            "logged": pl.Series(["2013-04-20T00:00:00.5Z"]).str.to_datetime("%+", time_zone="UTC")[0],
            "version": "a" * 64,
            "score": 0.25,
            "carrier": "UA",
            "temp": 39.0,
        }
    ]
    assert skipped.read == 1


def test_time_of_the_log_counts_where_no_event_time_is_given() -> None:
    rows, _ = read([line("a-0", event_time=None)])
    assert rows["time"].equals(rows["logged"].alias("time"))


def test_only_the_features_that_are_wanted_are_kept() -> None:
    rows, _ = read([line("a-0")], {"temp": pl.Float64()})
    assert "carrier" not in rows.columns
    assert read([line("a-0")], {})[0].height == 1


def test_a_null_and_a_feature_that_is_not_there_are_null() -> None:
    rows, skipped = read([line("a-0", features={"carrier": None}), line("a-1", features={"carrier": "UA", "temp": 7})])
    assert rows["temp"].to_list() == [None, 7.0]
    assert rows["carrier"].to_list() == [None, "UA"]
    assert (skipped.malformed, skipped.foreign) == (0, 0)


@pytest.mark.parametrize(
    "wrapped",
    [
        [b"2013-04-01T10:00:00.123456789Z stdout F " + line("a-0") + b"\n"],
        [b"2013-04-01T10:00:00Z stdout P " + line("a-0")[:90], b"2013-04-01T10:00:00Z stdout F " + line("a-0")[90:]],
        [json.dumps({"log": line("a-0").decode() + "\n", "stream": "stdout", "time": "x"}).encode()],
        [json.dumps({"@timestamp": "x", "message": line("a-0").decode()}).encode()],
        [json.dumps({"body": line("a-0").decode()}).encode()],
        [otlp(line("a-0"))],
        [otlp(b"2013-04-01T10:00:00Z stdout F " + line("a-0"))],
        [b"", line("a-0") + b"\r\n", b"  \n"],
    ],
    ids=["cri", "cri in parts", "docker", "elastic", "body", "otlp", "cri in otlp", "empty lines"],
)
def test_a_wrapper_is_taken_off(wrapped: list[bytes]) -> None:
    rows, skipped = read(wrapped)
    assert rows["id"].to_list() == ["a-0"]
    assert (skipped.read, skipped.malformed, skipped.foreign) == (1, 0, 0)


def test_parts_of_lines_on_both_streams_are_not_mixed_up() -> None:
    whole, other = line("a-0"), b"2013-04-01T10:00:00Z stderr "
    out = b"2013-04-01T10:00:00Z stdout "
    rows, skipped = read([out + b"P " + whole[:50], other + b"F warning", out + b"F " + whole[50:]])
    assert rows["id"].to_list() == ["a-0"]
    assert skipped.foreign == 1


def test_many_records_of_a_collector_are_many_rows() -> None:
    rows, skipped = read([otlp(line("a-0"), b"listening on 8000", line("a-1"))])
    assert rows["id"].to_list() == ["a-0", "a-1"]
    assert (skipped.read, skipped.foreign) == (3, 1)


@pytest.mark.parametrize(
    "damaged",
    [
        line("a-0")[:-20],
        line("a-0", score="high"),
        line("a-0", id=None),
        line("a-0", features={"carrier": "UA", "temp": "warm"}),
        line("a-0", time="yesterday"),
        line("a-0", time="2013-04-01T10:00:00"),
        line("a-0", event_time="0001-01-01T00:00:00+14:00"),
        line("a-0", event_time="9999-12-31T23:59:59-14:00"),
        line("a-0", score=10**400),
    ],
    ids=[
        *("cut short", "text for a number", "no id", "text for a feature", "no time", "no time zone"),
        *("before the calendar", "after the calendar", "no such number"),
    ],
)
def test_a_damaged_prediction_is_malformed(damaged: bytes) -> None:
    rows, skipped = read([line("ok"), damaged])
    assert rows["id"].to_list() == ["ok"]
    assert (skipped.malformed, skipped.foreign) == (1, 0)
    assert skipped.examples[0].startswith("line 2: ")


@pytest.mark.parametrize(
    "foreign",
    [b"listening on 8000", b'{"level":"info","msg":"hello"}', b"[1, 2]", b"\xff\xfe", line("a-0", model="prices")],
    ids=["text", "json", "a list", "no text", "another model"],
)
def test_what_is_no_prediction_of_this_model_is_foreign(foreign: bytes) -> None:
    rows, skipped = read([foreign])
    assert rows.is_empty()
    assert (skipped.read, skipped.malformed, skipped.foreign) == (1, 0, 1)


def test_a_bottomless_wrapper_is_not_followed_for_ever() -> None:
    deep = line("a-0").decode()
    for _ in range(50):
        deep = json.dumps({"message": deep})
        if len(deep) > 1 << 20:
            break
    rows, skipped = read([deep.encode()])
    assert rows.is_empty()
    assert skipped.read == 1
