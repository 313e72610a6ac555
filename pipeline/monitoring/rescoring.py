"""Is what was logged what the bundle says? A sample of the logged requests is asked of the bundle again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import Frozen
from pipeline.monitoring import recent
from pipeline.text import number, said
from serving.bundle import Bundle
from serving.signature import encode

if TYPE_CHECKING:
    from pipeline.monitoring.store import Store

_ID, _VERSION, _SCORE = "id", "version", "score"
_LOT, _SEED = "lot", 1


class Rescored(Frozen):
    """A sample of logged requests, asked of their bundle again.

    `largest` is the largest difference of a score, relative to the score where that is above one, as float32 is.
    `worst` is that request's id, which was logged with `logged` and for which the bundle gives `given`.
    """

    version: str
    seen: int
    checked: int = 0
    largest: float = 0
    worst: str = ""
    logged: float = 0
    given: float = 0
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether every score is the bundle's own."""
        return self.checked > 0 and self.largest <= self.allowed

    @property
    def exit_code(self) -> int:
        """0 it holds, 1 it does not, 2 there was nothing to check."""
        return 2 if not self.checked else int(not self.holds)

    @property
    def text(self) -> str:
        """For people."""
        if not self.checked:
            return f"none of {self.seen:,} logged requests is of bundle {self.version[:12]}"
        return self.summary if self.holds else f"{self.summary}; {self.difference}"

    @property
    def summary(self) -> str:
        """How many were asked again, and how far apart the scores are at most."""
        return (
            f"{self.checked:,} of {self.seen:,} logged requests re-scored from the bundle: greatest difference "
            f"{number(self.largest)} ({self.allowed:g} allowed)"
        )

    @property
    def difference(self) -> str:
        """The worst request with both its scores."""
        return (
            f"request {said(self.worst, 80)} was logged with {self.logged:.7g}, and bundle {self.version[:12]} gives "
            f"{self.given:.7g}"
        )


def rescore(bundle: Bundle, lines: Iterable[bytes], sample: int, allowed: float, seed: int = 0) -> Rescored:
    """Ask the bundle again about a sample of the log lines that name its version; lines of others are passed over.

    The sample is drawn over all lines (reservoir, seeded), so that it does not matter when traffic was how much.
    """
    kept, seen = _sampled(_rows(lines, bundle.version), sample, np.random.default_rng(seed))
    if not kept:
        return Rescored(version=bundle.version, seen=seen, allowed=allowed)
    columns = {name: [row["features"].get(name) for row in kept] for name in bundle.signature.names}
    ids = [str(row.get(_ID) or row.get("request")) for row in kept]
    return _compared(
        bundle,
        columns,
        ids,
        [row[_SCORE] for row in kept],
        Rescored(version=bundle.version, seen=seen, checked=len(kept), allowed=allowed),
    )


def rescore_stored(bundle: Bundle, store: "Store", sample: int, allowed: float) -> Rescored:
    """The same about the newest rows of the store that this version answered; `seen` counts those.

    Which rows are drawn depends on their ids alone. Raises UnavailableError.
    """
    import polars as pl

    ours = pl.col(_VERSION) == bundle.version
    days = recent.newest_days(store.days().filter(ours))
    if not days:
        return Rescored(version=bundle.version, seen=0, allowed=allowed)
    names = [_ID, _SCORE, *bundle.signature.names]
    parts: list[pl.DataFrame] = []
    seen = 0
    for frame in store.batches(days[0], days[-1], [_VERSION, *names]):
        found = frame.filter(ours).select(*names, pl.col(_ID).hash(_SEED).alias(_LOT))
        seen += found.height
        parts = [pl.concat([*parts, found]).bottom_k(sample, by=_LOT)]
    rows = parts[0].sort(_LOT)
    columns = {name: rows[name].to_list() for name in bundle.signature.names}
    return _compared(
        bundle,
        columns,
        rows[_ID].to_list(),
        rows[_SCORE].to_list(),
        Rescored(version=bundle.version, seen=seen, checked=rows.height, allowed=allowed),
    )


def _compared(
    bundle: Bundle, columns: Mapping[str, Sequence[Any]], ids: Sequence[str], logged: Sequence[float], found: Rescored
) -> Rescored:
    """With the largest difference and whose it is; a score that is no number differs most."""
    given, was = bundle.score(encode(bundle.signature, columns)).astype(np.float64), np.asarray(logged, np.float64)
    apart = np.abs(given - was) / np.maximum(1, np.abs(given))
    at = int(apart.argmax())
    return found.model_copy(
        update={"largest": float(apart[at]), "worst": ids[at], "logged": float(was[at]), "given": float(given[at])}
    )


def _rows(lines: Iterable[bytes], version: str) -> Iterator[dict[str, Any] | None]:
    """Each line that is a prediction: its row, or None where it is of another version."""
    import msgspec

    for line in lines:
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(row, dict) and isinstance(row.get("features"), dict) and _SCORE in row:
            yield row if row.get(_VERSION) == version else None


def _sampled(
    rows: Iterable[dict[str, Any] | None], most: int, random: np.random.Generator
) -> tuple[list[dict[str, Any]], int]:
    """Up to `most` rows, each as likely as any other, and how many lines there were."""
    kept: list[dict[str, Any]] = []
    seen = ours = 0
    for row in rows:
        seen += 1
        if row is None:
            continue
        ours += 1
        if len(kept) < most:
            kept.append(row)
        elif (at := int(random.integers(0, ours))) < most:
            kept[at] = row
    return kept, seen
