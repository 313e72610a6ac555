"""Tables in a place, in parts by day: KIND=YYYY-MM-DD/HASH.parquet, where HASH is of the content.

Files are only ever added, but for two cases: a day beyond retention is removed, and many small files of a day become
one. Whoever reads meanwhile may find a file gone, and looks again.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias, TypeVar

import polars as pl

from pipeline.errors import UnavailableError
from pipeline.monitoring.place import Place

# Many small files are slow to read: so many that are smaller than this become one.
MOST_SMALL_FILES, SMALL_BYTES = 32, 1 << 20
_ATTEMPTS = 5
_NAME = re.compile(r"(.+)=(\d{4}-\d\d-\d\d)/[0-9a-f]{32}\.[a-z]+")

Files: TypeAlias = dict[str, int]
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Partitions:
    """Parts of tables, kept in a place."""

    place: Place

    def days(self, kind: str) -> dict[date, Files]:
        """Files with their sizes in bytes, by day, oldest first. Raises UnavailableError."""
        return _by_day(self.place.files(f"{kind.partition('/')[0]}/"), kind)

    def day(self, kind: str, day: date) -> Files:
        """Those of one day."""
        return self.place.files(f"{kind}={day}/")

    def around(self, kind: str, days: Iterable[date]) -> Files:
        """Those of some days."""
        return {name: size for day in days for name, size in self.day(kind, day).items()}

    def all(self) -> dict[date, list[str]]:
        """Every file of every kind, by day, oldest first."""
        found: dict[date, list[str]] = {}
        for name in self.place.files():
            if match := _NAME.fullmatch(name):
                found.setdefault(date.fromisoformat(match[2]), []).append(name)
        return dict(sorted(found.items()))

    def put(self, kind: str, day: date, rows: pl.DataFrame) -> None:
        """Add rows to a day. The same rows are the same file. Raises UnavailableError."""
        content = _parquet(rows)
        self.place.put(f"{kind}={day}/{hashlib.sha256(content).hexdigest()[:32]}.parquet", content)

    def tidy(self, kind: str, day: date, schema: pl.Schema) -> None:
        """Make one of a day's small files where there are many. Two at once make the same one.

        Files of other columns stay as they are: with these columns they would say that what was not kept was null.
        """
        small = [name for name, size in self.day(kind, day).items() if size < SMALL_BYTES]
        if len(small) <= MOST_SMALL_FILES:
            return
        small = [name for name in small if self.place.columns(name) == set(schema)]
        if len(small) > MOST_SMALL_FILES:
            self.put(kind, day, self.read(small, schema))
            self.place.delete(small)

    def read(self, names: Iterable[str], schema: pl.Schema, chosen: pl.Expr | None = None) -> pl.DataFrame:
        """The rows of these files, or those chosen. Raises FileNotFoundError where one has gone, UnavailableError."""
        some = [*names]
        if not some:
            return schema.to_frame()
        table = self.place.scan(some, schema)
        return self.place.collect(table if chosen is None else table.filter(chosen))

    def by_columns(self, names: Iterable[str], wanted: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
        """The files by which of the wanted columns they have."""
        asked, found = tuple(wanted), dict[tuple[str, ...], list[str]]()
        for name in names:
            there = self.place.columns(name)
            found.setdefault(tuple(one for one in asked if one in there), []).append(name)
        return found

    def settled(self, attempt: Callable[[], _Found]) -> _Found:
        """What an attempt that looks and then reads finds; it begins anew where a file has gone in between."""
        for _ in range(_ATTEMPTS):
            try:
                return attempt()
            except FileNotFoundError:
                continue
        raise UnavailableError(f"{self.place.where}: its files keep changing; run it again when nothing tidies it up")


def _by_day(files: Files, kind: str) -> dict[date, Files]:
    found: dict[date, Files] = {}
    for name, size in files.items():
        match = _NAME.fullmatch(name)
        if match and match[1] == kind:
            found.setdefault(date.fromisoformat(match[2]), {})[name] = size
    return dict(sorted(found.items()))


def _parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()
