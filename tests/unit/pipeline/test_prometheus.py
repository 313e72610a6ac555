from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.errors import UnavailableError
from pipeline.prometheus import Prometheus, QueryError
from tests.servers import answering


def answer(data: Any) -> dict[str, Any]:
    return {"status": "success", "data": data}


def test_series_come_with_their_labels_and_without_what_is_no_number() -> None:
    asked: list[dict[str, list[str]]] = []

    def reply(request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        asked.append(parse_qs(urlsplit(request.path).query))
        values = [[10, "1.5"], [20, "NaN"], [30, "+Inf"], [40, "2"]]
        return 200, answer({"resultType": "matrix", "result": [{"metric": {"pod": "a"}, "values": values}]})

    with answering(reply) as address:
        found = Prometheus(f"{address}/").range("up", 10, 40, 10)
    assert found == (({"pod": "a"}, ((10.0, 1.5), (40.0, 2.0))),)
    assert asked == [{"query": ["up"], "start": ["10"], "end": ["40"], "step": ["10"]}]


def test_a_value_now_is_a_vector_or_a_scalar() -> None:
    def reply(request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        if "vector" in request.path:
            return 200, answer({"resultType": "vector", "result": [{"metric": {"le": "1"}, "value": [5, "7"]}]})
        return 200, answer({"resultType": "scalar", "result": [5, "3"]})

    with answering(reply) as address:
        server = Prometheus(address)
        assert server.now("vector") == (({"le": "1"}, 7.0),)
        assert server.now("scalar", at=5) == (({}, 3.0),)


def test_alerts_have_state_labels_and_annotations() -> None:
    one = {"state": "firing", "labels": {"alertname": "A"}, "annotations": {"summary": "b"}, "value": "1"}
    with answering(lambda _: (200, answer({"alerts": [one]}))) as address:
        (found,) = Prometheus(address).alerts()
    assert (found.state, found.labels["alertname"], found.annotations["summary"]) == ("firing", "A", "b")


def test_a_refused_query_is_said_in_prometheus_words() -> None:
    said = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}
    with answering(lambda _: (400, said)) as address, pytest.raises(QueryError, match=r"'sum\('.*unexpected end"):
        Prometheus(address).now("sum(")


@pytest.mark.parametrize("reply", [(200, []), (200, {"status": "success"}), (502, "gone")])
def test_what_is_no_prometheus_is_said_with_its_address(reply: tuple[int, Any]) -> None:
    with answering(lambda _: reply) as address, pytest.raises(UnavailableError, match=f"Prometheus.*{address}"):
        Prometheus(address).range("up", 0, 1, 1)


def test_one_that_is_away_is_said_with_its_address() -> None:
    with pytest.raises(UnavailableError, match=r"no Prometheus answers at http://127.0.0.1:9 "):
        Prometheus("http://127.0.0.1:9").alerts()
