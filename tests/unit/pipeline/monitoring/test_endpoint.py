"""What programs are told by the small HTTP server, over real connections."""

import gzip
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import requests

from pipeline.config import ConfigError
from pipeline.errors import UnavailableError
from pipeline.monitoring.endpoint import MOST_BYTES, Endpoint, RefusedError, inflated

SAID = "a-token-of-tests"
ALLOWED = {"Authorization": f"Bearer {SAID}"}


@contextmanager
def listening(work: Callable[[bytes], Mapping[str, Any]], token: str = SAID) -> Iterator[str]:
    """The address of an endpoint that does this work."""
    with Endpoint("127.0.0.1", 0, {"/do": work}, token) as endpoint:
        thread = Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{endpoint.server_port}"
        finally:
            endpoint.shutdown()
            thread.join()


def post(address: str, body: bytes = b"", path: str = "/do", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(address + path, data=body, headers={**ALLOWED, **named}, timeout=10)


def refusing(error: Exception) -> Callable[[bytes], Mapping[str, Any]]:
    def work(body: bytes) -> Mapping[str, Any]:
        raise error

    return work


def test_work_is_done_before_it_is_answered() -> None:
    done: list[bytes] = []

    def work(body: bytes) -> dict[str, int]:
        done.append(body)
        return {"bytes": len(body)}

    with listening(work) as address:
        answer = post(address, b"abc")
        assert (answer.status_code, answer.json(), done) == (200, {"bytes": 3}, [b"abc"])


def test_what_was_gzipped_is_inflated_first() -> None:
    with listening(lambda body: {"said": body.decode()}) as address:
        assert post(address, gzip.compress(b"hello"), Content_Encoding="gzip").json() == {"said": "hello"}


@pytest.mark.parametrize(
    "error", [UnavailableError("the store is away"), OSError("disk full"), RuntimeError("nobody foresaw it")]
)
def test_what_cannot_be_done_now_is_to_be_tried_again(error: Exception) -> None:
    """The collector throws away what is answered with any other code than 429, 502, 503 and 504."""
    with listening(refusing(error)) as address:
        answer = post(address)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert str(error) in answer.json()["message"]


def test_what_is_wrong_every_time_is_not_to_be_tried_again() -> None:
    with listening(refusing(RefusedError(400, "body: no JSON"))) as address:
        answer = post(address)
        assert (answer.status_code, answer.json()) == (400, {"message": "body: no JSON"})
        assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer a-token-of-others", SAID, "Basic YTpi"])
def test_whoever_lacks_the_token_keeps_what_it_has(given: str) -> None:
    done: list[bytes] = []
    with listening(lambda body: {"done": done.append(body)}) as address:
        answer = post(address, b"abc", Authorization=given)
        assert answer.status_code == 503
        assert not done


def test_other_paths_are_told_which_one_there_is() -> None:
    with listening(lambda _: {}) as address:
        assert post(address, path="/elsewhere").json() == {"message": "there is /do"}


def test_probes_need_no_token() -> None:
    with listening(lambda _: {}) as address:
        assert requests.get(f"{address}/livez", timeout=10).status_code == 200
        assert requests.get(f"{address}/do", timeout=10).status_code == 404


def test_a_connection_is_used_again_after_a_refusal() -> None:
    with listening(lambda body: {"bytes": len(body)}) as address, requests.Session() as session:
        session.post(f"{address}/do", data=b"unread" * 1000, timeout=10)
        assert session.post(f"{address}/do", data=b"ab", headers=ALLOWED, timeout=10).json() == {"bytes": 2}


def test_length_is_asked_for() -> None:
    with listening(lambda _: {}) as address:
        chunked = requests.post(f"{address}/do", data=iter([b"ab"]), headers=ALLOWED, timeout=10)
        assert chunked.status_code == 411


def test_too_long_a_body_is_not_read() -> None:
    with listening(lambda _: {}) as address:
        answer = requests.post(
            f"{address}/do", data=b"", headers={**ALLOWED, "Content-Length": str(MOST_BYTES + 1)}, timeout=10
        )
        assert answer.status_code == 413


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(1_000_000))
    with pytest.raises(RefusedError, match="inflates to more than 1000 bytes") as caught:
        inflated(bomb, 1000)
    assert caught.value.status == 413


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"hello world")[:-9]], ids=["plain", "cut"])
def test_what_is_no_whole_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError, match="gzip"):
        inflated(body)


def test_nobody_outside_reaches_it_without_a_token() -> None:
    with pytest.raises(ConfigError, match=r"host: '0\.0\.0\.0' can be reached from outside"):
        Endpoint("0.0.0.0", 0, {}, "")  # noqa: S104 - refused
    with listening(lambda _: {"done": 1}, token="") as address:
        assert requests.post(f"{address}/do", data=b"", timeout=10).status_code == 200


def test_a_taken_port_is_named() -> None:
    with Endpoint("127.0.0.1", 0, {}) as first:
        taken = first.server_port
        with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{taken}: .*in use; name another port"):
            Endpoint("127.0.0.1", taken, {})
