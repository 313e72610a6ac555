"""What decay's limits are worth, how soon the real April was noticed, and what a look at a million rows costs.

The million are the rows of build/rows, again and again over 112 days, kept and labelled by the store and answered by
another version than production's: every one is scored again. The look is a process of its own.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain, cycle, islice
from pathlib import Path

import msgspec
import pandas as pd

from bench.alone import alone
from bench.figures import Figure
from model.contract import Model
from pipeline import paths
from pipeline.context import Context
from pipeline.frames import read_rows
from pipeline.monitoring import backtest, decay
from pipeline.monitoring.config import read_monitoring
from pipeline.monitoring.decay import Setting
from pipeline.monitoring.labels import Label
from pipeline.monitoring.observe import Look, judge, new_labels
from pipeline.monitoring.played import batches
from pipeline.monitoring.reference import Reference, read_reference
from pipeline.monitoring.scan import Looker, scan
from pipeline.monitoring.store import VARIABLE, open_store
from serving import bundle as bundles

ROWS, DAYS, STREAMS = 1_000_000, 112, 200
MOST_SECONDS, MOST_BYTES = 60, 2e9
PLAYED_UNTIL = "2013-08-31"
FOLDER = Path("build/bench-monitoring")


def measure(bundle: Path, say: Callable[[str], None]) -> list[Figure]:
    """The backtest's figures, then seconds and peak memory of one look."""
    context = Context(Path.cwd())
    opened = bundles.load(bundle)
    reference = read_reference(bundle, opened.version)
    return [*_worth(context, opened, reference, say), *_cost(bundle, say)]


def _worth(
    context: Context, opened: bundles.Bundle, reference: Reference, say: Callable[[str], None]
) -> Iterator[Figure]:
    rules = read_monitoring(context.root).decay
    say(f"monitoring: {STREAMS} streams")
    found = backtest.run(reference, context.model.card.task, rules, STREAMS)
    goal = 100 * rules.alarms_per_stream
    yield Figure("unchanged streams of 84 days that alarm", (100 * found.given.per_stream,), "%", goal, "<=")
    yield Figure("unchanged windows that alarm", (100 * found.given.per_window,), "%")
    yield Figure("unchanged streams, held-out days a sample", (100 * found.sampled.per_stream,), "%")
    yield Figure("unchanged windows, held-out days a sample", (100 * found.sampled.per_window,), "%")
    for one in found.delays:
        if one.median_days is not None:
            yield Figure(f"days until {one.change} x {one.factor:g} are noticed", (one.median_days,), "days")
    say(f"monitoring: the flights until {PLAYED_UNTIL}")
    yield Figure(
        "full window in which the real April is noticed", (float(_april(context, opened, reference)),), "", 1, "<="
    )


def _april(context: Context, opened: bundles.Bundle, reference: Reference) -> int:
    """Which of the windows after production's own data was the first to alarm, counted from one; 0 for none."""
    looker = Looker(_until(context, PLAYED_UNTIL), opened, reference)
    frame = looker.model.prepare(looker.model.fetch())
    scanned = scan(batches(frame, looker.model.schema, opened), looker)
    until = reference.blocks.until if reference.blocks else None
    setting = Setting(until, date.fromisoformat(PLAYED_UNTIL), 1, read_monitoring(context.root).decay)
    found = decay.judge(scanned.days, scanned.outcomes, reference, looker.model.card.task, setting, {})
    return next((at for at, one in enumerate(found.history, 1) if one.alarm), 0)


def _until(context: Context, end: str) -> Model:
    """The model with a longer history."""
    import model

    given = context.params.of_model()
    return model.load({**given, "data": {**given["data"], "end": end}})


def _cost(bundle: Path, say: Callable[[str], None]) -> Iterator[Figure]:
    shutil.rmtree(FOLDER, ignore_errors=True)
    where = {VARIABLE: str(FOLDER)}
    try:
        say(f"monitoring: {ROWS:,} rows into a store")
        alone("bench.monitoring", "keep", str(bundle), **where)
        say("monitoring: one look")
        spent = alone("bench.monitoring", "look", str(bundle), **where)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    what = f"feed, drift and decay over {ROWS:,} rows"
    yield Figure(what, (spent.seconds,), "s", MOST_SECONDS, "<=")
    yield Figure(f"{what}, peak memory", (spent.peak / 1e6,), "MB", MOST_BYTES / 1e6, "<=")


def _first(bundle: Path) -> date:
    blocks = read_reference(bundle, bundles.version(bundle)).blocks
    end = blocks.until if blocks else None
    return (end or date(2013, 3, 31)) + timedelta(days=1)


def _keep(bundle: Path) -> None:
    context = Context(Path.cwd())
    store, first = open_store(context), _first(bundle)
    rows = read_rows(context.root / paths.ROWS, context.model.schema)
    rows = rows[rows[context.model.schema.label].notna()]
    store.add_predictions(_lines(context.model, rows, first))
    labels = rows[context.model.schema.label].tolist()
    known = (Label(id=_id(at), label=labels[at % len(rows)], event_day=_day(at, first)) for at in range(ROWS))
    store.add_labels(known, datetime.combine(first + timedelta(days=DAYS + 1), time(), UTC))


def _lines(model: Model, rows: pd.DataFrame, first: date) -> Iterator[bytes]:
    names = list(model.schema.names)
    features = [
        {name: None if pd.isna(value) else value for name, value in zip(names, values, strict=True)}
        for values in rows[names].itertuples(index=False, name=None)
    ]
    encoder = msgspec.json.Encoder()
    for at, row in enumerate(islice(chain.from_iterable(cycle([features])), ROWS)):
        moment = f"{_day(at, first)}T12:00:00Z"
        yield encoder.encode(
            {
                "time": moment,
                "event_time": moment,
                "id": _id(at),
                "request": _id(at),
                "model": model.card.name,
                "version": "0" * 64,
                "features": row,
                "score": 0.2,
                "latency": 0.0005,
            }
        )


def _id(at: int) -> str:
    return f"2013-04-01-UA-{at:07d}-EWR"


def _day(at: int, first: date) -> date:
    return first + timedelta(days=at * DAYS // ROWS)


def _look(bundle: Path) -> None:
    context = Context(Path.cwd())
    opened = bundles.load(bundle)
    looker = Looker(context.model, opened, read_reference(bundle, opened.version))
    parity = context.params.gates.differential.parity_tolerance
    look = Look(looker, read_monitoring(context.root), _first(bundle) + timedelta(days=DAYS + 1), parity)
    store = open_store(context)
    scanned = scan(store.batches(look.first, look.last), looker)
    found = judge(scanned, look, new_labels(store.days(), look), store.label_counts())
    if found.new_labels != ROWS or found.window is None:
        raise SystemExit(f"{found.new_labels:,} labelled rows of {ROWS:,} were seen: {found.decay.reason}")


if __name__ == "__main__":
    {"keep": _keep, "look": _look}[sys.argv[1]](Path(sys.argv[2]))
