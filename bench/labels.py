"""Ten million predictions and their labels: kept, labelled and joined by the store, each in a process of its own.

Lines and labels are made as they are taken, a day after the other, so the memory measured is the store's and that of
the interpreter. Ids are as long as those of the flights. The folder is under build/ and removed afterwards.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from bench.alone import alone
from bench.figures import Figure
from pipeline.context import Context
from pipeline.monitoring.labels import Label
from pipeline.monitoring.store import VARIABLE, Store, open_store

ROWS, DAYS = 10_000_000, 300
MOST_BYTES = 1.5e9
FOLDER = Path("build/bench-labels")
FIRST = date(2013, 1, 1)
PHASES = ("keep", "label", "join")

_FEATURES = (
    '"carrier":"UA","origin":"EWR","dest":"IAH","hour":%d,"weekday":5,"distance":1400.0,"temp":%.2f,"dewp":28.0,'
    '"humid":64.4,"wind_dir":240.0,"wind_speed":11.5,"precip":0.0,"pressure":null,"visib":10.0,"age":15.0,"seats":149'
)
_LINE = (
    '{"time":"%s","id":"%s","request":"r-%d","model":"flight-delays","version":"%s","features":{' + _FEATURES + "},"
    '"score":%.6f,"latency":0.000512}\n'
)


def measure(rows: int, say: Callable[[str], None]) -> list[Figure]:
    """Time and peak memory of each phase. Raises BenchError."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    figures: list[Figure] = []
    try:
        for phase in PHASES:
            say(f"labels: {phase} {rows:,} rows over {DAYS} days")
            spent, what = alone("bench.labels", phase, str(rows)), f"{phase} {rows:,} rows"
            figures.append(Figure(what, (spent.seconds,), "s"))
            figures.append(Figure(f"{what}, processor time", (spent.worked,), "s"))
            figures.append(Figure(f"{what}, peak memory", (spent.peak / 1e6,), "MB", MOST_BYTES / 1e6, "<="))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    return figures


def main(phase: str, rows: int) -> None:
    """One phase, in this process."""
    os.environ[VARIABLE] = str(FOLDER)
    store = open_store(Context(Path.cwd()))
    {"keep": _keep, "label": _label, "join": _join}[phase](store, rows)


def _keep(store: Store, rows: int) -> None:
    counts = store.add_predictions(_lines(rows))
    _check("predictions kept", counts.kept, rows)


def _label(store: Store, rows: int) -> None:
    names = (
        Label.model_construct(id=name, label=float(number % 4 == 0), event_day=when.date(), known_at=None)
        for number, name, when in _rows(rows)
    )
    as_of = datetime.combine(FIRST + timedelta(days=DAYS), datetime.min.time(), UTC)
    _check("labels joined", store.add_labels(names, as_of).new, rows)


def _join(store: Store, rows: int) -> None:
    table = store.joined(date.min, date.max)
    blocks = table.group_by("day").agg(pl.len(), pl.col("label").sum(), pl.col("score", "temp").mean())
    found = blocks.collect(engine="streaming")
    _check("rows joined", int(found["len"].sum()), rows)
    _check("labels among them", int(found["label"].sum()), (rows + 3) // 4)


def _check(what: str, found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"{what}: {found:,}, expected {expected:,}")


def _rows(rows: int) -> Iterator[tuple[int, str, datetime]]:
    """Number, id and time of each row; days one after the other."""
    start, step = datetime.combine(FIRST, datetime.min.time(), UTC), timedelta(days=DAYS) / rows
    for number in range(rows):
        when = start + number * step
        yield number, f"{when:%Y-%m-%d}-UA-{number:08d}-EWR", when


def _lines(rows: int) -> Iterator[bytes]:
    version = "0123456789abcdef" * 4
    for number, name, when in _rows(rows):
        spread = number * 2_654_435_761 % 10_000
        moment = f"{when:%Y-%m-%dT%H:%M:%S.%fZ}"
        yield (_LINE % (moment, name, number, version, spread % 24, spread / 100, spread / 10_000)).encode()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
