import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from model.contract import Column, Schema
from pipeline.errors import UnavailableError
from pipeline.monitoring.play.traffic import MOST_ROWS, Caller, Request, by_day, outcomes, requests
from tests import bundles
from tests.servers import running

SCHEMA = Schema(
    columns=(
        Column(name="temp", type="number", description="t", nullable=True, example=1.0),
        Column(name="seats", type="integer", description="s", nullable=True, example=1),
        Column(name="origin", type="category", description="o", categories=("EWR", "JFK"), example="EWR"),
    ),
    key=("flight", "origin"),
    label="late",
    block="day",
    event_time="at",
)
FRAME = pd.DataFrame(
    {
        "flight": [12.0, 7.0, 3.0, 9.0],
        "origin": ["JFK", "EWR", "EWR", "JFK"],
        "temp": [40.5, None, 41.0, 42.0],
        "seats": [149.0, None, 55.0, 20.0],
        "late": [1.0, None, 0.0, 1.0],
        "at": ["2013-04-02T10:05:00Z", "2013-04-01T23:59:00Z", "2013-04-01T20:30:00-04:00", "2013-04-02T10:05:00Z"],
    }
)
FIRST, SECOND = date(2013, 4, 1), date(2013, 4, 2)


def test_a_day_is_that_of_the_event_in_utc_and_ids_are_the_keys() -> None:
    days = by_day(FRAME, SCHEMA, FIRST, SECOND)
    assert {day: list(frame["_id"]) for day, frame in days.items()} == {
        FIRST: ["7-EWR"],
        SECOND: ["3-EWR", "12-JFK", "9-JFK"],
    }
    assert list(by_day(FRAME, SCHEMA, SECOND, SECOND)) == [SECOND]


def test_rows_of_a_moment_are_one_request_in_order_with_null_and_whole_numbers() -> None:
    days = by_day(FRAME, SCHEMA, FIRST, SECOND)
    (late,) = requests(days[FIRST], SCHEMA)
    assert late == Request("2013-04-01T23:59:00Z", ({"id": "7-EWR", "temp": None, "seats": None, "origin": "EWR"},))
    first, second = requests(days[SECOND], SCHEMA)
    assert (first.moment, second.moment) == ("2013-04-02T00:30:00Z", "2013-04-02T10:05:00Z")
    assert [row["seats"] for row in second.rows] == [149, 20]
    assert json.dumps(second.rows[0]["seats"]) == "149"


def test_many_rows_of_one_moment_are_several_requests() -> None:
    many = pd.concat([FRAME.head(1).assign(flight=float(at)) for at in range(MOST_ROWS + 1)], ignore_index=True)
    made = list(requests(by_day(many, SCHEMA, SECOND, SECOND)[SECOND], SCHEMA))
    assert [len(one.rows) for one in made] == [MOST_ROWS, 1]


def test_outcomes_are_those_that_are_known() -> None:
    days = by_day(FRAME, SCHEMA, FIRST, SECOND)
    assert list(outcomes(days[FIRST], SCHEMA)) == []
    assert [(one.id, one.label, one.event_day) for one in outcomes(days[SECOND], SCHEMA)] == [
        ("3-EWR", 0.0, SECOND),
        ("12-JFK", 1.0, SECOND),
        ("9-JFK", 1.0, SECOND),
    ]


def test_without_event_time_nothing_can_be_played() -> None:
    timeless = Schema(columns=SCHEMA.columns, key=SCHEMA.key, label="late", block="day")
    with pytest.raises(ValueError, match=r"name its column in schema\.event_time"):
        by_day(FRAME, timeless, FIRST, SECOND)


def test_a_row_that_is_refused_keeps_no_other_from_being_answered(tmp_path: Path) -> None:
    bundles.write(tmp_path / "bundle")
    good = {one.name: one.example for one in bundles.SIGNATURE.inputs}
    bad = {**good, next(iter(good)): "no number"}
    rows = tuple({"id": str(at), **(bad if at == 1 else good)} for at in range(3))
    with running(tmp_path / "bundle") as server:
        caller = Caller("127.0.0.1", server.port)
        sent = caller.send([Request("2013-04-01T10:00:00Z", rows)])
        caller.close()
        server.stop()
        lines = [json.loads(line) for line in server.log.splitlines()]
    assert (sent.answered, sent.refused) == (2, 1)
    assert sent.example.startswith("1: ")
    assert [(one["id"], one["event_time"]) for one in lines] == [(at, "2013-04-01T10:00:00Z") for at in ("0", "2")]


@contextmanager
def answering(*statuses: int) -> Iterator[int]:
    """A server that answers so, one after the other; 0 hangs up."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if status := left.pop(0):
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            self.close_connection = not status

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_busy_server_and_a_broken_connection_are_asked_again() -> None:
    with answering(503, 0, 200) as port:
        assert Caller("127.0.0.1", port).send([Request("2013-04-01T10:00:00Z", ({"id": "1"},))]).answered == 1


def test_a_server_that_fails_or_stays_away_ends_it() -> None:
    request = Request("2013-04-01T10:00:00Z", ({"id": "1"},))
    with answering(500) as port, pytest.raises(UnavailableError, match="answered 500"):
        Caller("127.0.0.1", port).send([request])
    with answering(0, 0, 0, 0, 0) as port, pytest.raises(UnavailableError, match="stopped answering"):
        Caller("127.0.0.1", port).send([request])
