"""Where log lines come from: files, folders and buckets, gzipped or not, in the order of their names."""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ConfigError
from pipeline.monitoring.place import SCHEME, Place, place

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Source:
    """A file of lines, in a folder or a bucket."""

    place: Place
    name: str

    def __str__(self) -> str:
        return f"{self.place.where}/{self.name}"

    def lines(self) -> Iterator[bytes]:
        """Its lines, read as they are asked for. Raises UnavailableError; ConfigError where it is packed otherwise."""
        with self.place.open(self.name) as raw:
            yield from self._unpacked(raw)

    def _unpacked(self, raw: io.BufferedReader) -> Iterator[bytes]:
        start = raw.peek(len(_ZSTD))
        if start.startswith(_ZSTD):
            raise ConfigError(f"{self}: packed with zstd; `unzstd` it first, or have the collector write gzip")
        if not start.startswith(_GZIP):
            yield from raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                yield from file
        except (EOFError, gzip.BadGzipFile) as error:
            raise ConfigError(f"{self}: {error}; it is still being written, or was cut short; run it again") from error


def sources(given: str, root: Path) -> list[Source]:
    """What a file, a folder or s3://bucket/prefix stands for; hidden files are left out. Raises ConfigError."""
    if given.startswith(SCHEME):
        return _below(place(given, root), given)
    path = (root / given).absolute()
    if path.is_file():
        return [Source(Place(str(path.parent)), path.name)]
    if not path.is_dir():
        raise ConfigError(f"{given}: no file or folder of that name; s3://bucket/prefix names a bucket")
    return _below(Place(str(path)), given)


def _below(where: Place, given: str) -> list[Source]:
    found = [name for name in where.files() if not any(part.startswith(".") for part in name.split("/"))]
    if not found:
        raise ConfigError(f"{given}: nothing is in there")
    return [Source(where, name) for name in found]
