"""Labels over HTTP, over real connections to a real store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from pipeline.monitoring.receive import MOST_BYTES, MOST_ROWS, Receiver, routes
from tests.observed import APRIL, evening, lines, store, values

SAID = "a-token-of-tests"


@contextmanager
def receiving(folder: Path) -> Iterator[str]:
    ways = routes(store(folder).add_labels, lambda: evening(APRIL), binary=True)
    with Receiver("127.0.0.1", 0, ways, SAID) as receiver:
        thread = Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{receiver.server_port}/labels"
        finally:
            receiver.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store(tmp_path / "kept").add_predictions(lines("ab"))
    return tmp_path / "kept"


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with receiving(folder) as found:
        yield found


def post(address: str, body: Any, token: str = SAID) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(address, data=data, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def test_labels_are_in_the_store_when_they_are_answered(address: str, folder: Path) -> None:
    answer = post(address, [{"id": "a", "label": 1, "event_day": "2013-04-01"}, {"id": "z", "label": False}])
    assert answer.status_code == 200
    assert {name: many for name, many in answer.json().items() if many} == {"new": 1, "unknown": 1}
    assert values(store(folder)) == {"a": 1, "b": None}


def test_sent_again_they_are_duplicates(address: str, folder: Path) -> None:
    for fate in ("new", "duplicate"):
        assert post(address, {"id": "a", "label": 1}).json()[fate] == 1
    assert values(store(folder)) == {"a": 1, "b": None}


def test_json_lines_will_do(address: str, folder: Path) -> None:
    assert post(address, b'{"id":"a","label":1}\n{"id":"b","label":0}\n').json()["new"] == 2
    assert values(store(folder)) == {"a": 1, "b": 0}


def test_of_a_request_with_a_bad_row_nothing_is_kept(address: str, folder: Path) -> None:
    answer = post(address, [{"id": "a", "label": 1}, {"id": "b", "label": 7}, 3])
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", "Unprocessable Entity", 422)
    assert problem["detail"].startswith("2 of 3 labels cannot be taken, so none was")
    assert [(one["row"], one["field"], one["value"]) for one in problem["errors"]] == [
        (1, "label", "7"),
        (2, "row", "3"),
    ]
    assert values(store(folder)) == {"a": None, "b": None}


@pytest.mark.parametrize("token", ["", "another", SAID + "x"])
def test_without_the_token_nothing_is_kept(address: str, folder: Path, token: str) -> None:
    answer = post(address, [{"id": "a", "label": 1}], token)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert values(store(folder)) == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"id,label\na,1", 400, "JSON"),
        (b"", 422, "0 labels"),
        (b"[]", 422, f"1 to {MOST_ROWS}"),
        (json.dumps([{"id": "a", "label": 1}] * (MOST_ROWS + 1)).encode(), 422, f"{MOST_ROWS + 1} labels"),
        (b'{"id":"a","label":1%s}' % (b"0" * 400), 422, "1 of 1 labels cannot be taken"),
        (b" " * (MOST_BYTES + 1), 413, f"at most {MOST_BYTES}"),
        (b"[" * 100_000, 400, "JSON"),
    ],
    ids=["csv", "nothing", "none", "too many", "no number", "too large", "too deep"],
)
def test_what_cannot_be_taken_is_said(address: str, body: bytes, status: int, said: str) -> None:
    answer = post(address, body)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_with_the_store_away_they_are_to_be_sent_again(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    with receiving(tmp_path / "kept") as address:
        answer = post(address, {"id": "a", "label": 1})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        (tmp_path / "kept").unlink()
        assert post(address, {"id": "a", "label": 1}).json()["unknown"] == 1


def test_many_at_once_are_all_kept(address: str, folder: Path) -> None:
    names = [f"r{number}" for number in range(12)]
    store(folder).add_predictions(lines(names))
    senders = [Thread(target=post, args=(address, {"id": name, "label": 1})) for name in names]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert values(store(folder)) == {"a": None, "b": None, **dict.fromkeys(names, 1)}
