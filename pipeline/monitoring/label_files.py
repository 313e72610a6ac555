"""Labels as people and programs write them: CSV, JSON lines or Parquet with id, label, event_day and known_at.

A row that cannot be taken is named by its line, field and value, with what to write instead; the others are read on.
"""

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

from pipeline.config import ConfigError, Frozen
from pipeline.monitoring.labels import LONGEST_ID, Label
from pipeline.text import clipped, plain

REQUIRED, OPTIONAL = ("id", "label"), ("event_day", "known_at")
MOST_NAMED = 20
_FIELDS = {*REQUIRED, *OPTIONAL}
_TRUTHS = {"true": 1.0, "false": 0.0}
_ROWS_AT_ONCE = 50_000
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can write it, and nothing can store it

Row = Mapping[str, Any]


class BadRow(Frozen):
    """A row that is no label: where, which field, what is in it and what is wanted."""

    file: str
    line: int
    field: str
    value: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.field} is {self.value}; {self.fix}"


@dataclass
class BadRows:
    """How many there were, and the first of them."""

    count: int = 0
    first: list[BadRow] = field(default_factory=list)

    def add(self, row: BadRow) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < MOST_NAMED:
            self.first.append(row)


class BadFieldError(ValueError):
    """A value that is none of its field."""

    def __init__(self, field: str, value: Any, fix: str) -> None:
        super().__init__(f"{field}: {fix}")
        self.field, self.value, self.fix = field, value, fix


def label_of(row: Row, *, binary: bool) -> Label:
    """A row as a label; empty text is as good as nothing. Raises BadFieldError."""
    for name in sorted(row.keys() - _FIELDS):
        raise BadFieldError(
            clipped(plain(name), 60), row[name], f"a label has {', '.join(sorted(_FIELDS))} and nothing else"
        )
    day, known = row.get("event_day"), row.get("known_at")
    return Label.model_construct(
        id=_id(row.get("id")),
        label=_value(row.get("label"), binary=binary),
        event_day=None if day in (None, "") else _day(day),
        known_at=None if known in (None, "") else _moment(known),
    )


def read_labels(path: Path, bad: Callable[[BadRow], None], *, binary: bool) -> Iterator[Label]:
    """The labels of a file; `bad` is told of each row that is none. Raises ConfigError where the file is none."""
    for line, row in _rows(path):
        try:
            yield label_of(row, binary=binary)
        except BadFieldError as error:
            bad(BadRow(file=str(path), line=line, field=error.field, value=_shown(error.value), fix=error.fix))


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Each row with its line; in Parquet, with its number."""
    name = path.name.lower().removesuffix(".gz")
    readers = {".csv": _csv, ".jsonl": _json, ".ndjson": _json}
    if not path.is_file():
        raise ConfigError(f"{path}: no file of that name")
    if name.endswith(".parquet"):
        return _parquet(path)
    for suffix, reader in readers.items():
        if name.endswith(suffix):
            return _text(path, reader)
    raise ConfigError(f"{path}: labels come as .csv, .jsonl or .parquet, the first two gzipped or not")


def _text(path: Path, reader: Callable[[IO[str]], Iterator[tuple[int, Row]]]) -> Iterator[tuple[int, Row]]:
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from reader(file)
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: {plain(error)}; write it as UTF-8, and whole") from error
    except _HeaderError as error:
        raise ConfigError(f"{path}: {error}") from error


class _HeaderError(ValueError):
    pass


def _checked(names: Iterator[str] | list[str]) -> list[str]:
    given = list(names)
    missing, unknown = [name for name in REQUIRED if name not in given], [name for name in given if name not in _FIELDS]
    if missing or unknown:
        wrong = f"column {missing[0]!r} is missing" if missing else f"column {unknown[0]!r} is none of a label"
        raise _HeaderError(f"{wrong}; there are {', '.join((*REQUIRED, *OPTIONAL))}, the last two as you like")
    return given


def _csv(file: IO[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(file)
    names = _checked([name.strip() for name in next(reader, [])])
    for values in reader:
        if values:
            extra = {"row": ",".join(values)} if len(values) > len(names) else {}
            yield reader.line_num, {**dict(zip(names, values, strict=False)), **extra}


def _json(file: IO[str]) -> Iterator[tuple[int, Row]]:
    for line, text in enumerate(file, start=1):
        if text.strip():
            yield line, _object(text)


def _object(text: str) -> Row:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"row": text}


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import polars as pl

    line = 0
    try:
        table = pl.scan_parquet(path)
        _checked(table.collect_schema().names())
        for some in table.collect_batches(chunk_size=_ROWS_AT_ONCE):
            for line, row in enumerate(some.iter_rows(named=True), start=line + 1):  # noqa: B020 - it counts on
                yield line, row
    except (pl.exceptions.PolarsError, _HeaderError) as error:
        raise ConfigError(f"{path}: {plain(error)}") from error


def _id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or _SURROGATE.search(value):
        raise BadFieldError("id", value, f"write the row's id as it was answered, text of 1 to {LONGEST_ID} characters")
    return value


def _value(value: Any, *, binary: bool) -> float:
    fix = "write 0 or 1" if binary else "write a finite number"
    if isinstance(value, bool) and not binary:  # float() takes it for a number
        raise BadFieldError("label", value, fix)
    truths = _TRUTHS if binary else {}
    try:
        found = truths[value.lower()] if isinstance(value, str) and value.lower() in truths else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadFieldError("label", value, f"{fix}, or leave the row out while it is not known") from error
    if found not in (0, 1) if binary else found - found != 0:
        raise BadFieldError("label", value, fix)
    return found


def _day(value: Any) -> date:
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if len(value) == len("2013-04-05"):
            return date.fromisoformat(value)
    except (TypeError, ValueError):
        pass
    raise BadFieldError("event_day", value, "write the day as 2013-04-05")


def _moment(value: Any) -> datetime:
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found
    except (TypeError, ValueError):
        pass
    raise BadFieldError("known_at", value, "write date, time and zone, as 2013-04-05T10:00:00Z")


def _shown(value: Any) -> str:
    return clipped(plain(repr(value)), 60)
