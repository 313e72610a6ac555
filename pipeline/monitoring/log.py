"""From lines of a log to rows: what the server wrote, as it is or wrapped (`pipeline.monitoring.wrapped`)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, date, datetime
from itertools import islice
from typing import Annotated, Any

import msgspec
import polars as pl
from msgspec import Meta

from model.contract import Schema
from pipeline.config import Frozen
from pipeline.monitoring.wrapped import opened, whole
from pipeline.text import clipped, plain

ROWS_AT_ONCE = 100_000
MOST_EXAMPLES = 5
DAY, ID, TIME, LOGGED, VERSION, SCORE, LABEL = "day", "id", "time", "logged", "version", "score", "label"
MOMENT = pl.Datetime("us", "UTC")

_DEEPEST = 3  # a collector's line with a runtime's line in it


class LogCounts(Frozen):
    """What became of log lines: every line read is one of kept, duplicate, malformed and foreign.

    `duplicate` is a row whose id is in the store or came before, on its day or one beside it. `malformed` is a
    prediction that cannot be read, `foreign` a line of something or someone else. `days` are those that got rows;
    `examples` say of the first lines that were skipped which and why.
    """

    read: int = 0
    kept: int = 0
    duplicate: int = 0
    malformed: int = 0
    foreign: int = 0
    days: tuple[date, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def skipped(self) -> int:
        """Lines that are no prediction of this model."""
        return self.malformed + self.foreign

    def __add__(self, other: "LogCounts") -> "LogCounts":
        """Both together."""
        counts = ("read", "kept", "duplicate", "malformed", "foreign")
        return LogCounts(
            **{name: getattr(self, name) + getattr(other, name) for name in counts},
            days=tuple(sorted({*self.days, *other.days})),
            examples=(*self.examples, *other.examples)[:MOST_EXAMPLES],
        )


@dataclass
class Skipped:
    """Lines that were none of ours, as they are come across."""

    read: int = 0
    malformed: int = 0
    foreign: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, line: bytes, why: str) -> None:
        """A line that looks like a prediction is a malformed one, anything else is somebody's."""
        ours = b"features" in line and b"score" in line
        self.read += 1
        self.malformed, self.foreign = self.malformed + ours, self.foreign + (not ours)
        if ours and len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"line {self.read}: {clipped(plain(why), 200)}")


class Form:
    """What a line of this model's log looks like. `features` are those kept of each row, by name, with their types."""

    def __init__(self, model: str, features: Mapping[str, pl.DataType]) -> None:
        self.model, self.features = model, dict(features)
        self.schema = pl.Schema(
            {ID: pl.String(), TIME: MOMENT, LOGGED: MOMENT, VERSION: pl.String(), SCORE: pl.Float64(), **self.features}
        )
        self._decoder = msgspec.json.Decoder(_line_type(self.features))

    def frames(self, lines: Iterable[bytes], skipped: Skipped) -> Iterator[pl.DataFrame]:
        """Rows by the `schema`, so many at a time, in the order of the lines."""
        rows = self._rows(lines, skipped)
        while some := tuple(islice(rows, ROWS_AT_ONCE)):
            yield self._frame(some)

    def _rows(self, lines: Iterable[bytes], skipped: Skipped, depth: int = 0) -> Iterator[Any]:
        for line in whole(lines):
            try:
                row = self._decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                if inside := opened(line) if depth < _DEEPEST else []:
                    yield from self._rows(inside, skipped, depth + 1)
                else:
                    skipped.add(line, str(error))
                continue
            if row.model != self.model:
                skipped.add(b"", "another model")
            elif not (_in_calendar(row.time) and (row.event_time is None or _in_calendar(row.event_time))):
                skipped.add(line, "a time that is outside of the calendar in UTC")
            else:
                skipped.read += 1
                yield row

    def _frame(self, rows: tuple[Any, ...]) -> pl.DataFrame:
        features = zip(*(msgspec.structs.astuple(row.features) for row in rows), strict=True)
        columns: dict[str, Any] = {
            ID: [row.id for row in rows],
            TIME: [row.time if row.event_time is None else row.event_time for row in rows],
            LOGGED: [row.time for row in rows],
            VERSION: [row.version for row in rows],
            SCORE: [row.score for row in rows],
            **dict(zip(self.features, features, strict=True)),
        }
        return pl.DataFrame(columns, schema=self.schema)


def kept(schema: Schema, fields: Iterable[str]) -> dict[str, pl.DataType]:
    """The columns of these features: numbers and integers as float64, categories as text."""
    wanted = set(fields)
    return {
        column.name: pl.String() if column.type == "category" else pl.Float64()
        for column in schema.columns
        if column.name in wanted
    }


def _line_type(features: Mapping[str, pl.DataType]) -> Any:
    """A struct that takes what is kept of a line and skips the rest unread. A feature that is not there is null."""
    kinds: dict[bool, Any] = {True: str | None, False: float | None}
    values = [(f"c{at}", kinds[kind == pl.String()], None) for at, kind in enumerate(features.values())]
    row = msgspec.defstruct("Features", values, rename={f"c{at}": name for at, name in enumerate(features)}, gc=False)
    moment = Annotated[datetime, Meta(tz=True)]
    name = Annotated[str, Meta(min_length=1)]
    fields: list[Any] = [("time", moment), ("id", name), ("model", str), ("version", name), ("score", float)]
    return msgspec.defstruct("Line", [*fields, ("features", row), ("event_time", moment | None, None)], gc=False)


def _in_calendar(moment: datetime) -> bool:
    """Whether it is a moment in UTC, too: with an offset the calendar's first and last hours may be none."""
    return MINYEAR < moment.year < MAXYEAR or not moment.utcoffset()
