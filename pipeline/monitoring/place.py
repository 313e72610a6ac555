"""Files by name in a folder or in a bucket of an object store: the same calls for both, and errors that name the place.

For a bucket, endpoint and credentials come from the usual AWS_* variables.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.config import ConfigError
from pipeline.errors import UnavailableError
from pipeline.text import clipped, plain

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEME = "s3://"
_PATIENCE = "20s"
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Place:
    """`where` is a folder's path or s3://bucket/prefix; a folder is made when something is first put there."""

    where: str

    @property
    def remote(self) -> bool:
        """Whether it is a bucket."""
        return self.where.startswith(SCHEME)

    def files(self, prefix: str = "") -> dict[str, int]:
        """Every file below a folder and its size in bytes, by name. Raises UnavailableError."""
        if not self.remote and not Path(self.where).is_dir():
            return {}
        with self._asking():
            found = {one["path"]: one["size"] for some in self._objects.list(prefix or None) for one in some}
        return dict(sorted(found.items()))

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, over one of the same name. Raises UnavailableError."""
        with self._asking():
            self._objects.put(name, content)

    def get(self, name: str) -> bytes:
        """A file's content. Raises FileNotFoundError, UnavailableError."""
        with self._asking():
            return bytes(self._objects.get(name).bytes())

    def open(self, name: str) -> io.BufferedReader:
        """A file to read from its beginning, without holding it. Raises FileNotFoundError, UnavailableError."""
        with self._asking():
            chunks = self._objects.get(name).stream(min_chunk_size=_AT_ONCE)
        return io.BufferedReader(_Chunks(map(bytes, self._each(chunks))), _AT_ONCE)

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; what is not there is well. Raises UnavailableError."""
        for name in names:
            with self._asking():
                try:
                    self._objects.delete(name)
                except FileNotFoundError:
                    continue

    def scan(self, names: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
        """Parquet files as one table of this schema: a column that a file lacks is null, one too many is left out."""
        return pl.scan_parquet(
            [f"{self.where}/{name}" for name in names],
            schema=schema,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            glob=False,
            **self._reach,
        )

    def columns(self, name: str) -> frozenset[str]:
        """The columns that a Parquet file has; what is in a file never changes. Raises as `collect` does."""
        if name not in self._columns:
            with self._asking():
                found = pl.scan_parquet(f"{self.where}/{name}", hive_partitioning=False, glob=False, **self._reach)
                self._columns[name] = frozenset(found.collect_schema())
        return self._columns[name]

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """What a query over files of this place finds. Raises FileNotFoundError, UnavailableError."""
        with self._asking():
            return frame.collect(engine="streaming")

    @property
    def _reach(self) -> dict[str, Any]:
        return {"storage_options": _options(_PATIENCE) if self.remote else None}

    @cached_property
    def _columns(self) -> dict[str, frozenset[str]]:
        return {}

    @cached_property
    def _objects(self) -> "ObjectStore":
        from obstore.store import LocalStore, S3Store

        if not self.remote:
            return LocalStore(Path(self.where), mkdir=True, automatic_cleanup=True)
        config: Any = {"client_options": {"allow_http": _plain_http(), "timeout": _PATIENCE}}
        return S3Store.from_url(self.where, **config, retry_config={"max_retries": 3})

    def _each(self, chunks: Iterable[Any]) -> Iterator[Any]:
        with self._asking():
            yield from chunks

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Whatever the libraries raise becomes one sentence that names the place and what to do."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise
        except (BaseError, pl.exceptions.PolarsError, OSError) as error:
            raise UnavailableError(f"{self.where}: {_said(error)}; {self._fix}") from error

    @property
    def _fix(self) -> str:
        if self.remote:
            return "check the bucket, AWS_ENDPOINT_URL and the credentials, and run it again: nothing is lost or twice"
        return "make room or give access, and run it again: nothing is lost or twice"


class _Chunks(io.RawIOBase):
    """Chunks of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def place(where: str, root: Path) -> Place:
    """The place that a setting names; a folder is relative to `root`. Raises ConfigError."""
    if where.startswith(SCHEME):
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#*]*)?", where):
            raise ConfigError(f"{where!r} names no bucket; write s3://bucket or s3://bucket/prefix")
        return Place(where.rstrip("/"))
    if "://" in where:
        raise ConfigError(f"{where!r} is neither a folder nor s3://bucket/prefix")
    return Place(str((root / where).absolute()))


def _plain_http() -> bool:
    """An endpoint that is written with http:// is meant so."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def _options(timeout: str) -> Any:
    return {"aws_allow_http": str(_plain_http()).lower(), "timeout": timeout, "max_retries": 3}


def _said(error: Exception) -> str:
    """What a library says first; what the server sent and what is for its authors comes after it."""
    return clipped(plain(str(error).split("\n\n")[0].partition(": <?xml")[0]), 300)
