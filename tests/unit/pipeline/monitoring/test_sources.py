import gzip
import json
from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.monitoring.sources import sources
from tests.observed import line, store


def test_a_folder_is_all_files_below_it_in_order_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/1.log", "a/2.log.gz", "a/1.log", ".hidden/x", "a/.part"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(line(name))
    (tmp_path / "a/2.log.gz").write_bytes(gzip.compress(line("a/2.log.gz")))
    found = sources(".", tmp_path)
    assert [one.name for one in found] == ["a/1.log", "a/2.log.gz", "b/1.log"]
    assert [json.loads(text)["id"] for one in found for text in one.lines()] == ["a/1.log", "a/2.log.gz", "b/1.log"]


def test_a_file_larger_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"\n".join(line(f"r{number}") for number in range(10_000)))
    (found,) = sources("a.log", tmp_path)
    assert store(tmp_path / "kept").add_predictions(found.lines()).kept == 10_000


@pytest.mark.parametrize(
    ("content", "said"),
    [(gzip.compress(line("a"), mtime=0)[:-9], "cut short"), (b"\x28\xb5\x2f\xfdrest", "zstd")],
    ids=["half a gzip", "zstd"],
)
def test_what_cannot_be_unpacked_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.log").write_bytes(content)
    with pytest.raises(ConfigError, match=f"a.log.*{said}"):
        list(sources("a.log", tmp_path)[0].lines())


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given in ("nowhere", "empty"):
        with pytest.raises(ConfigError, match=given):
            sources(given, tmp_path)
