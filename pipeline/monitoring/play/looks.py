"""One look a day without reading everything again: each day is read once, and again when its labels have come."""

from collections.abc import Iterable
from datetime import date, timedelta

from pipeline.monitoring import observe
from pipeline.monitoring.config import Monitoring
from pipeline.monitoring.observation import Observation
from pipeline.monitoring.observe import Look
from pipeline.monitoring.scan import Looker, Scanned, scan
from pipeline.monitoring.store import Store


class Looks:
    """What is known of the store's days, in the light of one bundle in production."""

    def __init__(self, store: Store, looker: Looker, rules: Monitoring, parity: float) -> None:
        self.looker = looker
        self._store, self._rules, self._parity = store, rules, parity
        self._days: dict[date, Scanned] = {}

    def changed(self, day: date) -> None:
        """That day has new rows or labels."""
        self._days.pop(day, None)

    def at(self, as_of: date) -> Observation:
        """What `observe` says on that day, from the same rows by the same code; without the counts of all labels."""
        look = Look(self.looker, self._rules, as_of, self._parity)
        older, seen = self._between(look.oldest, look.first), self._between(look.first, as_of)
        new = sum(one.labelled for one in (*older.days, *seen.days) if one.day >= look.since)
        return observe.judge(seen, look, new, None, older.tallies)

    def _between(self, first: date, end: date) -> Scanned:
        """The days from the first to the one before the end, each read if it was not yet."""
        within = [first + timedelta(days=at) for at in range((end - first).days)]
        for day in within:
            if day not in self._days:
                self._days[day] = scan(self._store.batches(day, day), self.looker)
        return together(self._days[day] for day in within)


def together(parts: Iterable[Scanned]) -> Scanned:
    """What was read of different days, as if it had been read at once."""
    found = Scanned()
    for one in parts:
        found.tallies |= one.tallies
        found.labelled |= one.labelled
        found.cells |= one.cells
        found.samples |= one.samples
        found.carried |= one.carried
        found.lacked |= one.lacked
    return found
