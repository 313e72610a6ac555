"""Logged predictions and their labels as a dataset: Parquet by day, in a folder or an object store.

`predictions/day=YYYY-MM-DD/HASH.parquet` and `labels/day=YYYY-MM-DD/HASH.parquet`; the day is that of the prediction's
event time, or of its log time where it has none, in UTC. Labels whose prediction is not here yet wait in
`waiting/day=.../` by the event day that they say, else in `waiting/known=.../`; they are joined when it comes.
`counts/day=.../` says what became of all labels.

A row is kept once for an id on its day or one beside it, and readers join what they find: adding again, after an
interruption or twice at once ends in the same rows.
"""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from itertools import islice, repeat

import polars as pl

from pipeline.config import ConfigError, Frozen
from pipeline.context import Context
from pipeline.monitoring import labels as fates
from pipeline.monitoring.config import read_monitoring
from pipeline.monitoring.keeping import Keeping
from pipeline.monitoring.labels import EVENT_DAY, FATE, KEEP, KNOWN_AT, Label, LabelCounts, Rules
from pipeline.monitoring.log import DAY, ID, LABEL, LOGGED, SCORE, TIME, VERSION, Form, LogCounts, Skipped, kept
from pipeline.monitoring.partitions import Partitions
from pipeline.monitoring.place import Place, place

__all__ = ["Expired", "Label", "LabelCounts", "LogCounts", "Store", "open_store"]

VARIABLE = "FLIGHTLINE_STORE"
LABELS_AT_ONCE = 100_000
# A day of more bytes than this is read in parts, by hashes of ids.
PART_BYTES = 48 << 20

_PREDICTIONS, _LABELS, _WAITING, _KNOWN = "predictions/day", "labels/day", "waiting/day", "waiting/known"
_COUNTS = "counts/day"
_KEPT = "__kept"
_MOST_CACHED_IDS = 2_000_000
_A_DAY = timedelta(days=1)
_ROW, _THERE = "row", "there"
_PLACES = pl.Schema({ID: pl.String(), TIME: pl.Datetime("us", "UTC")})
_Say = Callable[[str], None]


class Expired(Frozen):
    """A day that was removed, or would be, and how many files it had."""

    day: date
    files: int


@dataclass(frozen=True)
class Store:
    """Predictions and labels in a place."""

    place: Place
    form: Form
    rules: Rules
    _writer: str = field(default_factory=lambda: uuid.uuid4().hex)
    _counted: dict[date, LabelCounts] = field(default_factory=dict)
    _ids: dict[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def features(self) -> Mapping[str, pl.DataType]:
        """The features that are kept of each row, by name: f64 for numbers and integers, str for categories."""
        return self.form.features

    def add_predictions(self, lines: Iterable[bytes], say: _Say | None = None) -> LogCounts:
        """Keep what log lines say, of lines with one id within a day of each other the first.

        Raises UnavailableError where the store is away.
        What was kept before that is there; run it again, and nothing is lost or twice.
        """
        skipped, counts = Skipped(), LogCounts()
        for frame in self.form.frames(lines, skipped):
            counts += self._add(frame)
            if say:
                say(f"{skipped.read:,} lines read, {counts.kept:,} predictions kept")
        lines_read = {"read": skipped.read, "malformed": skipped.malformed, "foreign": skipped.foreign}
        return counts.model_copy(update={**lines_read, "examples": tuple(skipped.examples)})

    def add_labels(
        self, labels: Iterable[Label], as_of: datetime, *, corrects: bool = False, say: _Say | None = None
    ) -> LabelCounts:
        """Keep labels; `as_of` (aware) is now, in whatever time is played. Raises UnavailableError, as above.

        With `corrects` a label that says otherwise than what is known takes its place.
        """
        as_of, counts, rest = as_of.astimezone(UTC), LabelCounts(), iter(labels)
        while some := list(islice(rest, LABELS_AT_ONCE)):
            counts += self._label(fates.given(some, as_of, corrects=corrects), as_of)
            if say:
                say(f"{counts.read:,} labels read, {counts.new:,} new")
        return counts

    def joined(self, first: date, last: date) -> pl.LazyFrame:
        """Predictions of these days with their labels, by day and time; read a day at a time when collected.

        Columns: id str, day date, time datetime[us, UTC], version str, score f64, label f64 (null: not known), and one
        for each of `features` (null: was null, or not kept when the row was).
        """
        from polars.io.plugins import register_io_source

        def source(
            columns: list[str] | None, predicate: pl.Expr | None, most: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            asked = [*self._schema] if columns is None else columns
            needed = {*asked, *(() if predicate is None else predicate.meta.root_names())}
            for frame in map(self._filled, self.batches(first, last, needed), repeat(needed)):
                found = (
                    (frame if predicate is None else frame.filter(predicate)).select(asked).head(most or frame.height)
                )
                yield found
                if most is not None and (most := most - found.height) <= 0:
                    return

        return register_io_source(source, schema=self._schema)

    def batches(self, first: date, last: date, columns: Iterable[str] | None = None) -> Iterator[pl.DataFrame]:
        """The same rows, or these columns of them, a day at a time: no more than a day, or a part of it, is held.

        A feature that was not kept when the rows of a frame were is not in that frame; days may have several.
        """
        wanted = set(self._schema if columns is None else columns)
        names = [name for name in self._schema if name in wanted]
        for day, files in self._parts.days(_PREDICTIONS).items():
            if first <= day <= last:
                parts = sum(files.values()) // PART_BYTES + 1
                for part in range(parts):
                    yield from self._joined_part(day, names, pl.col(ID).hash(seed=0) % parts == part)

    def days(self, first: date = date.min, last: date = date.max) -> pl.DataFrame:
        """day, version, predictions, labelled: counts for each of these days and version, sorted by both."""
        empty = pl.DataFrame(schema={DAY: pl.Date, VERSION: pl.String, "predictions": pl.Int64, "labelled": pl.Int64})
        counts = {"predictions": pl.len().cast(pl.Int64), "labelled": pl.col(LABEL).count().cast(pl.Int64)}
        found = self.batches(first, last, (DAY, VERSION, LABEL))
        parts = pl.concat([empty, *(frame.group_by(DAY, VERSION).agg(**counts) for frame in found)])
        return parts.group_by(DAY, VERSION).agg(pl.col("predictions", "labelled").sum()).sort(DAY, VERSION)

    def label_counts(self) -> LabelCounts:
        """What became of all labels that were handed over, within retention."""
        return self._parts.settled(self._label_counts)

    def _label_counts(self) -> LabelCounts:
        total = LabelCounts()
        for files in self._parts.days(_COUNTS).values():
            for name in files:
                total += LabelCounts.model_validate_json(self.place.get(name))
        return total

    def expire(self, as_of: date, *, dry_run: bool = False) -> tuple[Expired, ...]:
        """Remove whole days older than retention, or only say which."""
        horizon = self.rules.horizon(as_of)
        gone = {day: names for day, names in self._parts.all().items() if day < horizon}
        for names in [] if dry_run else gone.values():
            self.place.delete(names)
        return tuple(Expired(day=day, files=len(names)) for day, names in gone.items())

    @property
    def _parts(self) -> Partitions:
        return Partitions(self.place)

    @cached_property
    def _schema(self) -> pl.Schema:
        form = self.form.schema
        first = {ID: form[ID], DAY: pl.Date(), TIME: form[TIME], VERSION: form[VERSION], SCORE: form[SCORE]}
        return pl.Schema({**first, LABEL: pl.Float64(), **self.features})

    def _add(self, rows: pl.DataFrame) -> LogCounts:
        """Rows that came together; an id is looked for on the days around its own, too, where a retry may have been."""
        dated = rows.with_columns(pl.col(TIME).dt.date().alias(DAY))
        days = tuple(dated[DAY].unique().sort())
        known = self._parts.settled(lambda: self._ids_of(_around(days)))
        fresh = dated[_fresh(dated.select(ID, DAY), known.select(ID, pl.col(TIME).dt.date().alias(DAY)))]
        self._write(_PREDICTIONS, fresh, self.form.schema)
        written = tuple(fresh[DAY].unique().sort())
        return LogCounts(kept=fresh.height, duplicate=rows.height - fresh.height, days=written)

    def _ids_of(self, days: Iterable[date]) -> pl.DataFrame:
        """Ids and times of the predictions of some days. What a file has never changes, so it is read once."""
        files = self._parts.around(_PREDICTIONS, days)
        if sum(ids.height for ids in self._ids.values()) > _MOST_CACHED_IDS:
            self._ids.clear()
        for name in files.keys() - self._ids.keys():
            self._ids[name] = self._parts.read([name], _PLACES)
        return pl.concat([_PLACES.to_frame(), *(self._ids[name] for name in files)])

    def _label(self, given: pl.DataFrame, as_of: datetime) -> LabelCounts:
        """Labels that came together: find their predictions, compare with what is known, keep what holds."""
        seen = fates.at_first_sight(given, as_of, self.rules)
        found = self._parts.settled(lambda: self._candidates(seen.filter(pl.col(FATE).is_null())))
        placed = fates.located(seen, found, as_of, self.rules)
        known = self._parts.settled(lambda: self._known(placed.filter(pl.col(FATE).is_null())))
        judged = fates.judged(placed, known, self.rules)
        self._keep(judged.filter(KEEP))
        counts = fates.counted(judged)
        self._count(as_of.date(), counts)
        return counts

    def _candidates(self, labels: pl.DataFrame) -> pl.DataFrame:
        """id, day and time of the predictions that the labels may be of: near the day that they say, else of any."""
        near = _around(labels[EVENT_DAY].drop_nulls().unique())
        days = near if labels[EVENT_DAY].null_count() == 0 else self._parts.days(_PREDICTIONS)
        empty = pl.Schema({**_PLACES, DAY: pl.Date()}).to_frame()
        wanted = labels.select(ID, EVENT_DAY)
        return pl.concat([empty, *(self._candidates_of(day, wanted) for day in days)])

    def _candidates_of(self, day: date, wanted: pl.DataFrame) -> pl.DataFrame:
        close = (pl.col(EVENT_DAY) - pl.lit(day)).abs() <= _A_DAY
        here = wanted.filter(pl.col(EVENT_DAY).is_null() | close)
        return self._ids_of([day]).join(here, on=ID, how="semi").with_columns(pl.lit(day).alias(DAY))

    def _known(self, labels: pl.DataFrame) -> pl.DataFrame:
        """What is stored for the ids of these labels: by the prediction's day, or null for those that wait for one."""
        parts = [pl.Schema({**fates.SCHEMA, DAY: pl.Date()}).to_frame()]
        for (day,), some in labels.group_by(DAY):
            files = self._waiting_any(some) if day is None else self._labels_of(day)
            table = self._parts.read(files, fates.SCHEMA, pl.col(ID).is_in(some[ID].implode()))
            parts.append(table.with_columns(pl.lit(day, pl.Date).alias(DAY)))
        return pl.concat(parts)

    def _labels_of(self, day: date) -> list[str]:
        """Files of labels that may be of predictions of this day."""
        near = _around([day])
        return [*self._parts.day(_LABELS, day), *self._waiting(near, near[0])]

    def _waiting_any(self, labels: pl.DataFrame) -> list[str]:
        """Files of labels that wait, for the days that these say; of all where one says none."""
        if labels[EVENT_DAY].null_count():
            return [name for kind in (_WAITING, _KNOWN) for files in self._parts.days(kind).values() for name in files]
        return self._waiting(_around(labels[EVENT_DAY].unique()), date.min)

    def _waiting(self, days: Iterable[date], since: date) -> list[str]:
        said = self._parts.around(_WAITING, days)
        return [*said, *(name for day, names in self._parts.days(_KNOWN).items() if day >= since for name in names)]

    def _keep(self, labels: pl.DataFrame) -> None:
        said = pl.col(DAY).is_null() & pl.col(EVENT_DAY).is_not_null()
        unsaid = pl.col(DAY).is_null() & pl.col(EVENT_DAY).is_null()
        self._write(_LABELS, labels.filter(pl.col(DAY).is_not_null()), fates.SCHEMA)
        self._write(_WAITING, labels.filter(said).with_columns(pl.col(EVENT_DAY).alias(DAY)), fates.SCHEMA)
        self._write(_KNOWN, labels.filter(unsaid).with_columns(pl.col(KNOWN_AT).dt.date().alias(DAY)), fates.SCHEMA)

    def _write(self, kind: str, rows: pl.DataFrame, schema: pl.Schema) -> None:
        for (day,), some in sorted(rows.group_by(DAY, maintain_order=True), key=lambda one: str(one[0])):
            self._parts.put(kind, day, some.select(schema.names()))
            self._parts.settled(partial(self._parts.tidy, kind, day, schema))

    def _count(self, day: date, counts: LabelCounts) -> None:
        """Each writer has a file for a day, which it writes anew: small, and no two write the same."""
        total = self._counted.get(day, LabelCounts()) + counts
        self.place.put(f"{_COUNTS}={day}/{self._writer}.json", total.model_dump_json().encode())
        self._counted[day] = total

    def _filled(self, frame: pl.DataFrame, names: set[str]) -> pl.DataFrame:
        """With a null wherever a feature was not kept."""
        lost = [name for name in self._schema if name in names and name not in frame.columns]
        return frame.with_columns(pl.lit(None, self._schema[name]).alias(name) for name in lost)

    def _joined_part(self, day: date, wanted: list[str], chosen: pl.Expr) -> Iterator[pl.DataFrame]:
        rows, kept = self._parts.settled(lambda: self._rows(day, wanted, chosen))
        if LABEL in wanted:
            read = self._parts.read
            labels = self._parts.settled(lambda: read(self._labels_of(day), fates.SCHEMA, chosen))
            rows = fates.attached(rows, labels, self.rules)
        ordered = rows.sort(TIME, ID).with_columns(pl.lit(day).alias(DAY))
        for number, there in enumerate(kept):
            names = [name for name in wanted if name not in self.features or name in there]
            some = ordered if len(kept) == 1 else ordered.filter(pl.col(_KEPT) == number)
            if len(kept) == 1 or some.height:
                yield some.select(names)

    def _rows(self, day: date, wanted: list[str], chosen: pl.Expr) -> tuple[pl.DataFrame, list[tuple[str, ...]]]:
        """Predictions of a day, once for an id: two writers at once may have kept it twice.

        Column `_KEPT` has the number of the features that were kept of the row, in the list of such.
        """
        names = {ID, TIME, LOGGED, *wanted}
        schema = pl.Schema({name: kind for name, kind in self.form.schema.items() if name in names})
        features = [name for name in wanted if name in self.features]
        files = self._parts.day(_PREDICTIONS, day)
        found = self._parts.by_columns(files, features) if files and features else {tuple(features): [*files]}
        parts = [
            self._parts.read(some, schema, chosen).with_columns(pl.lit(number).alias(_KEPT))
            for number, some in enumerate(found.values())
        ]
        rows = pl.concat(parts) if len(parts) > 1 else parts[0]
        return rows.sort(LOGGED, TIME).unique(ID, keep="first", maintain_order=True), [*found]


def _around(days: Iterable[date]) -> list[date]:
    """These days, those before and those after, as far as the calendar goes."""
    numbers = {day.toordinal() + step for day in days for step in (-1, 0, 1)}
    return [date.fromordinal(number) for number in sorted(numbers) if 1 <= number <= date.max.toordinal()]


def _fresh(rows: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """Which rows (id, day) are kept, in their order: those near no known one, nor near one that is kept before them."""
    kept, rest = [], _away(rows.with_row_index(_ROW), known)
    while rest.height:
        kept.append(rest.unique(ID, keep="first", maintain_order=True))
        # The same id again may be of a distant day.
        rest = _away(rest, kept[-1]) if kept[-1].height < rest.height else rest.clear()
    return pl.concat([rest, *kept])[_ROW].sort()


def _away(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows whose id is not known on their day or one beside it, in their order."""
    same = rows.join(known.select(ID, pl.col(DAY).alias(_THERE)), on=ID)
    near = same.filter((pl.col(DAY) - pl.col(_THERE)).abs() <= _A_DAY)
    return rows.join(near, on=_ROW, how="anti", maintain_order="left")


def open_store(context: Context) -> Store:
    """The store that FLIGHTLINE_STORE names, else `monitoring.store`. Raises ConfigError naming the field."""
    keeping, schema = read_monitoring(context.root), context.model.schema
    rules = Rules(
        delay_days=schema.label_delay_days,
        retention_days=keeping.retention_days,
        tolerance=timedelta(minutes=keeping.clock_tolerance_minutes),
    )
    form = Form(context.model.card.name, kept(schema, _fields(keeping, schema.names)))
    return Store(place(os.environ.get(VARIABLE) or keeping.store, context.root), form, rules)


def _fields(keeping: Keeping, names: tuple[str, ...]) -> tuple[str, ...]:
    if keeping.fields == "all":
        return names
    for name in keeping.fields:
        if name not in names:
            raise ConfigError(f"params.yaml: monitoring.fields: {name!r} is no column; there are {', '.join(names)}")
    return keeping.fields
