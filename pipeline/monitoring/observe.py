"""One look at the logged rows: reads the store, asks feed, drift and decay, and writes what they say."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from pipeline import paths, production
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.frames import write_text
from pipeline.monitoring import decay, drift, feed, rescoring
from pipeline.monitoring.config import Monitoring, read_monitoring
from pipeline.monitoring.labels import LabelCounts
from pipeline.monitoring.log import DAY, SCORE
from pipeline.monitoring.observation import PATH, BrokenDay, Observation, Reading
from pipeline.monitoring.reference import read_reference
from pipeline.monitoring.scan import Looker, Scanned, scan, tallies
from pipeline.monitoring.store import Store, open_store
from pipeline.monitoring.tally import Tally, total
from pipeline.verdict import Curve, Table
from serving import bundle

HISTORY = Path("build/observations.jsonl")
_DRIFT_DAYS, _FEED_HISTORY_DAYS = 28, 28
_BULKY = {"history", "tables", "curves"}


@dataclass(frozen=True)
class Look:
    """When to look, with which settings, at what is known of production.

    `parity` is how far a logged score may be from the bundle's own, `gates.differential.parity_tolerance`.
    """

    looker: Looker
    rules: Monitoring
    as_of: date
    parity: float

    @property
    def data_end(self) -> date | None:
        """The last day of production's own data."""
        blocks = self.looker.reference.blocks
        return blocks.until if blocks else None

    @property
    def first(self) -> date:
        """The first day to be read: after production's data, or as far back as the feed needs, within the history."""
        needed = self.as_of - timedelta(days=max(_DRIFT_DAYS, self.rules.feed.days + _FEED_HISTORY_DAYS))
        oldest = self.as_of - timedelta(days=self.rules.decay.history_days)
        after = self.data_end + timedelta(days=1) if self.data_end else oldest
        return max(oldest, min(after, needed))

    @property
    def since(self) -> date:
        """The first day that a retraining would newly learn, however long ago: a broken one forbids it."""
        return self.data_end + timedelta(days=1) if self.data_end else date.min

    @property
    def oldest(self) -> date:
        """The first day whose faults are told: `since` or before; `first` where no day says what is new."""
        return min(self.first, self.since) if self.data_end else self.first

    @property
    def last(self) -> date:
        """The last full day."""
        return self.as_of - timedelta(days=1)


def run(context: Context, as_of: date, say: Callable[[str], None], served: Path | None = None) -> Observation:
    """Look at what the store holds before `as_of`, in the light of production's bundle, and write it down.

    `served` is a bundle's folder where main does not say what is in production. Raises UnavailableError, BundleError.
    """
    say("production's bundle")
    parity = context.params.gates.differential.parity_tolerance
    look = Look(_looker(context, served), read_monitoring(context.root), as_of, parity)
    store = open_store(context)
    say(f"rows from {look.first} to {look.last}")
    scanned = scan(store.batches(look.first, look.last), look.looker)
    say("feed, drift and decay")
    new = new_labels(store.days(look.since, look.last), look)
    observation = judge(scanned, look, new, store.label_counts(), _older(store, look, say))
    write(context.root, observation)
    return observation


def _older(store: Store, look: Look, say: Callable[[str], None]) -> dict[date, Tally]:
    """Counts of the days that a retraining would learn and that are too old for anything else to be said of them."""
    if look.oldest == look.first:
        return {}
    before = look.first - timedelta(days=1)
    say(f"faults in rows to {before}")
    return tallies(store.batches(look.oldest, before, (DAY, SCORE, *store.features)), look.looker)


def _looker(context: Context, served: Path | None) -> Looker:
    opened = bundle.load(served or production_bundle(context))
    return Looker(context.model, opened, read_reference(opened.path, opened.version))


def production_bundle(context: Context) -> Path:
    """Production's bundle as main names it; before the first release the one that was built here."""
    found = production.restore(context)
    if found.path is not None:
        return found.path
    if not found.reachable:
        raise UnavailableError(found.note)
    return context.root / paths.BUNDLE


def new_labels(days: pl.DataFrame, look: Look) -> int:
    """Labelled rows since production's own data ended, of those before `as_of`; `days` as `Store.days` gives them."""
    new = days.filter(pl.col("day") < look.as_of)
    if look.data_end is not None:
        new = new.filter(pl.col("day") > look.data_end)
    return int(new["labelled"].sum())


def judge(
    scanned: Scanned, look: Look, new: int, labels: LabelCounts | None, older: Mapping[date, Tally] | None = None
) -> Observation:
    """Everything that is said, from what was read. Pure. Of the days in `older` faults alone are told."""
    model, reference = look.looker.model, look.looker.reference
    known = feed.Known(model.schema, reference, look.rules.feed)
    setting = decay.Setting(look.data_end, look.as_of, model.schema.label_delay_days, look.rules.decay)
    broken = feed.broken_days(scanned.tallies, known)
    found = decay.judge(scanned.days, scanned.outcomes, reference, model.card.task, setting, broken)
    all_broken = {**feed.broken_days(older or {}, known), **broken}
    newest = newest_days(scanned.tallies, look.as_of, _DRIFT_DAYS)
    when = f"{look.as_of - timedelta(days=_DRIFT_DAYS)} to {look.last}"
    return Observation(
        version=reference.version,
        task=model.card.task,
        title=model.card.title,
        as_of=look.as_of,
        data_end=look.data_end,
        window=found.window,
        feed=feed.judge(scanned.tallies, known, look.as_of, (_logged_scores(scanned, look),)),
        broken=tuple(BrokenDay(day=day, fault=fault) for day, fault in sorted(all_broken.items())),
        drift=drift.judge(newest, model.schema, reference, when),
        decay=found.section,
        labels=labels,
        new_labels=new,
        history=found.history,
        tables=tuple(_tables(scanned, look, known, found)),
        curves=tuple(_curves(scanned, look, newest)),
    )


def _logged_scores(scanned: Scanned, look: Look) -> Reading:
    """Whether the newest week's scores are the bundle's own; a canary's are among them, as main names its bundle."""
    days = [look.as_of - timedelta(days=back) for back in range(look.rules.feed.days, 0, -1)]
    samples = [scanned.samples[day] for day in days if day in scanned.samples]
    return rescoring.reading(look.looker.bundle, samples, look.parity)


def newest_days(tallies: dict[date, Tally], as_of: date, days: int) -> Tally | None:
    """The newest full days together."""
    first = as_of - timedelta(days=days)
    return total(one for day, one in tallies.items() if first <= day < as_of)


def _tables(scanned: Scanned, look: Look, known: feed.Known, found: decay.Found) -> Iterator[Table]:
    if found.table is not None:
        yield found.table
    week = newest_days(scanned.tallies, look.as_of, look.rules.feed.days)
    if week is not None:
        yield feed.table(week, known)


def _curves(scanned: Scanned, look: Look, newest: Tally | None) -> Iterator[Curve]:
    """Points of the report's pictures; days are counted as Python's ordinals."""
    days = sorted(scanned.tallies.items())
    x = tuple(float(day.toordinal()) for day, _ in days)
    yield Curve(name="rows by day", x=x, y=tuple(float(one.rows) for _, one in days))
    for name, count in (("missing", "nulls"), ("out of range", "out_of_range")):
        y = tuple(sum(getattr(seen, count) for seen in one.columns.values()) / one.rows for _, one in days)
        yield Curve(name=f"{name} by day", x=x, y=y)
    known = look.looker.reference.score
    middles = tuple(((known.edges[:-1] + known.edges[1:]) / 2).tolist())
    held = known.counts / max(known.counts.sum(), 1)
    yield Curve(name="score: held-out rows", x=middles, y=tuple(held.tolist()))
    if newest is not None:
        yield Curve(name="score: newest days", x=middles, y=tuple((newest.score.bins[1:-1] / newest.rows).tolist()))


def write(root: Path, observation: Observation) -> None:
    """The observation, its line in the history, its metrics and its page, each whole or not at all."""
    from pipeline.monitoring import metrics, report

    write_text(root / PATH, observation.model_dump_json(indent=2) + "\n")
    write_text(root / HISTORY, "\n".join(_remembered(root / HISTORY, observation)) + "\n")
    write_text(root / metrics.PATH, metrics.text(observation))
    report.render(observation, root / "build")


def _remembered(path: Path, observation: Observation) -> list[str]:
    """The lines of earlier looks, without an earlier one of the same day and version, and this one's."""
    lines = path.read_text().splitlines() if path.is_file() else []
    mine = (observation.version, observation.as_of.isoformat())
    kept = [line for line in lines if _key(line) != mine]
    return [*kept, observation.model_dump_json(exclude=_BULKY)]


def _key(line: str) -> tuple[str, str]:
    document = json.loads(line)
    return document["version"], document["as_of"]
