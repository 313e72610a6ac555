"""The application by its RSGI interface alone; what a client sees is in tests/integration/serving."""

import asyncio
import json
import os
import threading

import pytest

from serving.app import INLINE_BYTES, App
from serving.bundle import load
from serving.log import PredictionLog
from serving.settings import Settings

ROW = {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}


class Request:
    """One request as an RSGI server hands it over: scope and protocol in one."""

    def __init__(self, method: str, path: str, body: bytes = b"", answers: list[tuple[str, int]] | None = None):
        self.method, self.path, self.client = method, path, "127.0.0.1:5000"
        self.headers = {"content-type": "application/json", "content-length": str(len(body))}
        self._body, self._answers = body, answers if answers is not None else []

    async def __call__(self) -> bytes:
        return self._body

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.sent, self.answer = status, headers, body
        self._answers.append((self.path, status))


async def both(app: App, body: bytes) -> list[tuple[str, int]]:
    """The order in which a request to score and a probe that comes just after it are answered."""
    answers: list[tuple[str, int]] = []
    requests = [Request("POST", "/predict", body, answers), Request("GET", "/livez", answers=answers)]
    await asyncio.gather(*(app.__rsgi__(one, one) for one in requests))
    app.fold()
    return answers


@pytest.fixture
def app(path):
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield App(load(path), Settings(), PredictionLog(descriptor))
    os.close(descriptor)


def test_a_large_batch_does_not_keep_a_probe_waiting(app):
    body = json.dumps([ROW] * 5000).encode()
    assert asyncio.run(both(app, body)) == [("/livez", 200), ("/predict", 200)]


def test_a_small_request_is_answered_without_a_thread(app):
    body = json.dumps(ROW).encode()
    assert len(body) < INLINE_BYTES
    threads = set(threading.enumerate())  # of which an earlier test's may end meanwhile
    assert sorted(asyncio.run(both(app, body))) == [("/livez", 200), ("/predict", 200)]
    assert set(threading.enumerate()) <= threads


def test_requests_that_arrive_together_are_one_call_of_the_model(app):
    sizes = []
    score = app._batches._score
    app._batches._score = lambda matrix: sizes.append(len(matrix)) or score(matrix)
    body = json.dumps(ROW).encode()

    async def five() -> list[Request]:
        requests = [Request("POST", "/predict", body) for _ in range(5)]
        await asyncio.gather(*(app.__rsgi__(one, one) for one in requests))
        app.fold()
        return requests

    assert [one.status for one in asyncio.run(five())] == [200] * 5
    assert sizes == [5]


def test_what_was_answered_is_counted_by_route_time_and_input(app):
    small = Request("POST", "/predict", json.dumps(ROW | {"seats": None}).encode())
    many = Request("POST", "/v1/predict", json.dumps([ROW | {"dest": "SFO"}] * 30 + [ROW]).encode())

    async def three() -> None:
        await asyncio.gather(*(app.__rsgi__(one, one) for one in (small, many)))
        await app.__rsgi__(small, small)
        app.fold()

    asyncio.run(three())
    metrics = app._scrape()
    assert metrics.requests["predict", 200] == 3
    assert sum(metrics.latency._counts) == 3
    assert sum(metrics.scores._counts) == 33
    assert metrics.features["missing"] == [0, 2, 0, 0]
    assert metrics.features["unseen"] == [0, 0, 0, 30]
    assert metrics.log_lines == 33


def test_a_failure_of_the_server_is_a_problem_without_its_words_and_is_said_on_standard_error(app, capsys):
    async def fail(request: Request) -> None:
        app._scorer.codec._width = 3  # the matrix no longer fits the graph
        await app.__rsgi__(request, request)

    request = Request("POST", "/predict", json.dumps(ROW).encode())
    asyncio.run(fail(request))
    assert request.status == 500
    assert b"reshape" not in request.answer
    assert "reshape" in capsys.readouterr().err
