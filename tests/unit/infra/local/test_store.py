import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from infra.local import store

WRITER = (store.USER, "s3cret")


def name(content: bytes, ending: str = "") -> str:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return f"files/md5/{digest[:2]}/{digest[2:]}{ending}"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with store.Server(tmp_path, WRITER[1], 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_written_is_read_by_everybody(address: str) -> None:
    path = f"{address}/{name(b'rows')}"
    assert requests.head(path, timeout=5).status_code == 404
    assert requests.post(path, b"rows", auth=WRITER, timeout=5).status_code == 201
    assert requests.head(path, timeout=5).headers["Content-Length"] == "4"
    assert requests.get(path, timeout=5).content == b"rows"


def test_list_of_a_folder_is_named_by_its_hash_too(address: str) -> None:
    listed = f"{address}/{name(b'[]', '.dir')}"
    assert requests.put(listed, b"[]", auth=WRITER, timeout=5).status_code == 201
    assert requests.get(listed, timeout=5).content == b"[]"


def test_body_may_come_in_chunks(address: str) -> None:
    path = f"{address}/{name(b'abcdef')}"
    assert requests.put(path, iter([b"abc", b"def"]), auth=WRITER, timeout=5).status_code == 201
    assert requests.get(path, timeout=5).content == b"abcdef"


@pytest.mark.parametrize("who", [None, ("main", "wrong"), ("other", "s3cret"), ("main", "")])
def test_nobody_writes_without_the_password(address: str, tmp_path: Path, who: tuple[str, str] | None) -> None:
    answer = requests.put(f"{address}/{name(b'rows')}", b"rows", auth=who, timeout=5)
    assert answer.status_code == 403
    assert not list(tmp_path.iterdir())


def test_nobody_writes_where_there_is_no_password(tmp_path: Path) -> None:
    with store.Server(tmp_path, "", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = f"http://127.0.0.1:{server.server_port}/{name(b'rows')}"
        assert requests.put(path, b"rows", auth=(store.USER, ""), timeout=5).status_code == 403
        server.shutdown()


def test_what_is_not_what_its_name_says_is_refused(address: str, tmp_path: Path) -> None:
    refused = requests.put(f"{address}/{name(b'rows')}", b"others", auth=WRITER, timeout=5)
    assert refused.status_code == 400
    assert hashlib.md5(b"others", usedforsecurity=False).hexdigest() in refused.text
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_changed(address: str, tmp_path: Path) -> None:
    path = name(b"rows")
    requests.put(f"{address}/{path}", b"rows", auth=WRITER, timeout=5)
    (tmp_path / path).write_bytes(b"kept")
    assert requests.put(f"{address}/{path}", b"rows", auth=WRITER, timeout=5).status_code == 200
    assert (tmp_path / path).read_bytes() == b"kept"


@pytest.mark.parametrize("path", ["files/md5/../../out", "credentials.json", "runs/aa/bb", "files/md5/ab/cd"])
def test_there_is_nothing_but_objects(address: str, path: str) -> None:
    prepared = requests.Request("PUT", f"{address}/x", data=b"x", auth=WRITER).prepare()
    prepared.url = f"{address}/{path}"
    assert requests.Session().send(prepared, timeout=5).status_code == 400
    assert requests.get(f"{address}/{path}", timeout=5).status_code == 404
