"""What a server does not let clients do to it."""

import http.client
import json
import socket
import time

import httpx
import pytest

from tests.servers import Running, running

pytestmark = pytest.mark.alone

ROW = json.dumps({"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}).encode()
JSON = {"content-type": "application/json"}
HEAD = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_a_body_said_to_be_too_large_is_refused_before_it_is_sent(server):
    with connect(server) as client:
        client.sendall(HEAD + b"content-length: 10000000\r\n\r\n")
        answer = client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"at most 1048576 bytes" in answer


def test_a_ten_megabyte_body_is_refused_and_its_sender_sees_why(server):
    answer = httpx.post(server.url + "/predict", content=b" " * 10_000_000, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (413, "/docs#too-large")


def test_a_body_that_does_not_say_its_size_is_refused_once_it_is_too_large(server):
    chunks = (b" " * 100_000 for _ in range(100))
    answer = httpx.post(server.url + "/predict", content=chunks, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (413, "/docs#too-large")


def test_a_small_body_in_chunks_is_answered(server):
    answer = httpx.post(server.url + "/predict", content=iter([ROW[:10], ROW[10:]]), headers=JSON)
    assert answer.status_code == 200


def test_a_hundred_thousand_rows_are_refused(toy):
    with running(toy, max_body_bytes=20_000_000) as server:
        answer = httpx.post(server.url + "/predict", content=b"[" + b",".join([ROW] * 100_000) + b"]", headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#too-many-rows")
    assert "100000 rows; at most 10000" in answer.json()["detail"]


def test_a_body_that_does_not_arrive_is_given_up(toy):
    with running(toy, request_timeout=0.5) as server, connect(server) as client:
        client.sendall(HEAD + b"content-length: 100\r\n\r\n{")
        assert client.recv(10_000).startswith(b"HTTP/1.1 408")


def test_more_requests_than_allowed_at_once_are_shed_and_told_to_return(toy):
    with running(toy, max_concurrency=2) as server:
        waiting = [connect(server) for _ in range(2)]
        for client in waiting:
            client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(ROW))
        _wait_for(server, "flightline_requests_in_flight 2")
        answer = httpx.post(server.url + "/predict", content=ROW, headers=JSON)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        for client in waiting:
            client.sendall(ROW)
            assert client.recv(10_000).startswith(b"HTTP/1.1 200")
            client.close()


def _wait_for(server: Running, line: str) -> None:
    deadline = time.monotonic() + 10
    while line not in httpx.get(server.url + "/metrics").text:
        assert time.monotonic() < deadline


def test_a_connection_is_closed_after_its_share_of_requests(toy):
    with running(toy, max_requests_per_connection=3) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port)
        closes = []
        for _ in range(3):
            client.request("POST", "/predict", ROW, JSON)
            answer = client.getresponse()
            closes.append(answer.getheader("connection"))
            answer.read()
        assert closes == [None, None, "close"]


@pytest.mark.parametrize(
    "junk", [b"\x00\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"]
)
def test_what_is_no_http_does_not_stop_the_server(server, junk):
    with connect(server) as client:
        client.sendall(junk)
        client.recv(1000)
    assert httpx.get(server.url + "/livez").status_code == 200
