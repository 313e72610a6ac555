"""What a client sees: real requests to a real server."""

import json
import re
import socket
import subprocess
from html import unescape

import httpx
import pytest

from serving import bundle
from tests.servers import Running, running

ROW = {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}
JSON = {"content-type": "application/json"}


def post(server: Running, body: object, path: str = "/predict", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(server.url + path, content=content, headers=JSON | named)


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, object]:
    found = answer.json()
    assert (answer.status_code, found["status"]) == (status, status), found
    assert answer.headers["content-type"] == "application/problem+json"
    assert found["type"] == f"/docs#{slug}"
    assert "Traceback" not in answer.text
    return found


def test_one_row_is_answered_under_both_paths(server, toy):
    for path in ("/predict", "/v1/predict"):
        answer = post(server, ROW, path, x_request_id="r1").json()
        assert answer["version"] == bundle.version(toy)
        assert answer["predictions"] == [{"id": "r1-0", "score": pytest.approx(0.6545273), "decision": True}]


def test_many_rows_are_answered_in_order(server):
    rows = [ROW | {"id": f"row {number}", "temp": number} for number in range(64)]
    answer = post(server, rows).json()["predictions"]
    assert [row["id"] for row in answer] == [row["id"] for row in rows]
    assert [row["score"] for row in answer] == sorted(row["score"] for row in answer)


def test_a_batch_large_enough_for_the_thread_is_answered_like_a_small_one(server):
    rows = [ROW | {"temp": number % 100} for number in range(5000)]
    scores = [row["score"] for row in post(server, rows).json()["predictions"]]
    assert scores[:100] == scores[100:200] == [row["score"] for row in post(server, rows[:100]).json()["predictions"]]


def test_request_ids_that_are_no_ids_are_replaced(server):
    answer = post(server, ROW, x_request_id="a b").json()
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+-0", answer["predictions"][0]["id"])


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"temp": 39.0, "seats": 149, "origin": "JFK"}, "dest", "missing"),
        (ROW | {"more": 1}, "more", "unknown"),
        (ROW | {"temp": None}, "temp", "null"),
        (ROW | {"temp": "39"}, "temp", "type"),
        (ROW | {"seats": 1.5}, "seats", "type"),
        (ROW | {"temp": 131}, "temp", "range"),
        (ROW | {"origin": "BOS"}, "origin", "category"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_the_fault_named(server, row, field, reason):
    found = problem(post(server, [ROW, row]), 422, "invalid-rows")
    (fault,) = found["errors"]
    assert (fault["row"], fault["field"], fault["reason"]) == (1, field, reason)
    assert f"Row 1: {field}" in found["detail"]


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b'{"temp": NaN}', 400, "bad-json"),
        (b'{"temp": Infinity}', 400, "bad-json"),
        (b"\xff\xfe\x00", 400, "bad-json"),
        (b'{"temp": "\xc3\x28"}', 400, "bad-json"),
        (b"[" * 500_000, 400, "bad-json"),
        (b'{"temp":' * 100_000, 400, "bad-json"),
        (b"", 400, "bad-json"),
        (b"[]", 422, "invalid-rows"),
        (b"null", 422, "invalid-rows"),
    ],
)
def test_a_body_that_is_no_request_is_refused(server, body, status, slug):
    problem(post(server, body), status, slug)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"])
def test_another_content_type_is_refused(server, kind):
    problem(httpx.post(server.url + "/predict", content=b"{}", headers={"content-type": kind}), 415, "wrong-media-type")


def test_a_compressed_body_is_refused_and_the_encoding_named(server):
    found = problem(post(server, b"\x1f\x8b\x08", content_encoding="gzip"), 415, "wrong-media-type")
    assert "content-encoding" in found["detail"]


def test_the_moment_that_rows_are_about_is_logged_with_each_of_them(toy):
    rows = [ROW, ROW | {"id": "mine"}]
    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]}
        for name, kind in (("temp", "FP64"), ("seats", "INT64"), ("origin", "BYTES"), ("dest", "BYTES"))
    ]
    with running(toy) as server:
        post(server, rows, x_event_time="2013-04-01T08:00:00.5-04:00", x_request_id="then")
        post(server, {"inputs": tensors}, "/v2/models/toy/infer", x_event_time="2013-04-02T00:00:00Z")
        post(server, [ROW] * 500, x_event_time="2013-04-03T00:00:00Z")
        post(server, ROW)
        server.stop()
        lines = [json.loads(line) for line in server.log.splitlines()]
    moments = [line.get("event_time") for line in lines]
    assert moments[:3] == ["2013-04-01T12:00:00.500000Z", "2013-04-01T12:00:00.500000Z", "2013-04-02T00:00:00Z"]
    assert moments[3:] == ["2013-04-03T00:00:00Z"] * 500 + [None]
    assert all(line["time"].startswith("20") and line["time"] > "2020" for line in lines)


def test_a_moment_that_cannot_be_read_is_refused_and_counted(toy):
    with running(toy) as server:
        found = problem(post(server, ROW, x_event_time="1 April"), 400, "bad-header")
        text = httpx.get(server.url + "/metrics").text
    assert "X-Event-Time is '1 April'" in found["detail"]
    assert "RFC 3339 with an offset" in found["detail"]
    assert 'flightline_errors_total{reason="bad-header"} 1' in text.splitlines()


@pytest.mark.parametrize("lines", [b"\xe4", b"", b"2013-04-01T12:00:00Z\r\nx-event-time: 2013-04-02T12:00:00Z"])
def test_a_moment_that_is_not_text_or_comes_twice_is_refused(server, lines):
    body = json.dumps(ROW).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\nx-event-time: %b\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(head % (len(body), lines) + body)
        answer = client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"X-Event-Time is" in answer


def test_another_api_major_is_refused_and_the_served_one_named(server):
    assert "/v1/predict" in problem(post(server, ROW, "/v7/predict"), 404, "unknown-version")["detail"]


@pytest.mark.parametrize("path", ["/v2/models/other/infer", f"/v2/models/toy/versions/{'0' * 64}/infer"])
def test_another_model_or_version_is_refused_and_the_served_one_named(server, toy, path):
    assert bundle.version(toy) in problem(post(server, {}, path), 404, "unknown-version")["detail"]


def test_an_unknown_path_is_refused(server):
    problem(httpx.get(server.url + "/nowhere"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/predict", "POST"), ("DELETE", "/predict", "POST"), ("POST", "/livez", "GET, HEAD")],
)
def test_a_wrong_method_is_refused_with_the_right_one(server, method, path, allow):
    answer = httpx.request(method, server.url + path)
    problem(answer, 405, "wrong-method")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v2", "/v2/models/toy"])
def test_head_answers_as_get_without_a_body(server, path):
    answer = httpx.head(server.url + path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_root_leads_to_the_docs(server):
    answer = httpx.get(server.url)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


def test_the_example_of_the_docs_is_answered_when_pasted_into_a_shell(server):
    page = httpx.get(server.url + "/docs").text
    command = unescape(re.search(r'<pre id="curl">(.*?)</pre>', page, re.DOTALL)[1])
    answer = subprocess.run(["sh", "-c", command.replace("curl ", "curl -s ", 1)], capture_output=True, check=True)
    assert "predictions" in json.loads(answer.stdout)


def test_the_example_of_the_openapi_document_is_answered(server):
    document = httpx.get(server.url + "/openapi.json").json()
    example = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert post(server, example).status_code == 200


def test_metrics_count_what_was_asked(toy):
    with running(toy, slo_p95_seconds=0.05) as server:
        post(server, [ROW, ROW | {"seats": None, "dest": "SFO"}])
        post(server, ROW | {"temp": 999})
        text = httpx.get(server.url + "/metrics").text
    for line in (
        'flightline_requests_total{route="predict",code="200"} 1',
        'flightline_requests_total{route="predict",code="422"} 1',
        'flightline_errors_total{reason="invalid-rows"} 1',
        'flightline_feature_missing_total{feature="seats"} 1',
        'flightline_feature_unseen_total{feature="dest"} 1',
        'flightline_feature_out_of_range_total{feature="temp"} 1',
        "flightline_score_count 2",
        "flightline_log_lines_total 2",
        "flightline_log_dropped_total 0",
        "flightline_slo_p95_seconds 0.05",
    ):
        assert line in text.splitlines()
