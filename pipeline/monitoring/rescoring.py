"""Is what was logged what the bundle says? A sample of the logged requests is asked of the bundle again."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import Frozen
from pipeline.monitoring import recent
from pipeline.monitoring.observation import Reading
from pipeline.monitoring.wrapped import whole
from pipeline.text import number, said
from serving.bundle import Bundle
from serving.signature import encode

if TYPE_CHECKING:
    import polars as pl

    from pipeline.monitoring.store import Store

SCORES = "logged scores"
A_DAY = 200  # rows of a day that a look asks again

_ID, _VERSION, _SCORE = "id", "version", "score"


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

    Lines are as the server wrote them, or as Kubernetes keeps them on its nodes. The sample is drawn over all of them
    (reservoir, seeded), so that it does not matter when traffic was how much.
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

    days = recent.newest_days(store.days().filter(pl.col(_VERSION) == bundle.version))
    if not days:
        return Rescored(version=bundle.version, seen=0, allowed=allowed)
    names = bundle.signature.names
    frames = store.batches(days[0], days[-1], [_ID, _VERSION, _SCORE, *names])
    first, *rest = (Sample.of(frame, bundle.version, names, sample) for frame in frames)
    return _again(bundle, sum(rest, first), allowed)


@dataclass(frozen=True)
class Sample:
    """Up to `most` rows of those that a version answered, by their ids alone, and how many there were.

    Rows that lack a column are `seen`, and none of the sample: nobody knows what was asked. `lost` are such columns.
    """

    seen: int
    rows: "pl.DataFrame"
    most: int
    lost: tuple[str, ...] = ()

    @classmethod
    def of(cls, frame: "pl.DataFrame", version: str, names: Collection[str], most: int = A_DAY) -> "Sample":
        """Of a frame of the store: id, version, score, and `names`."""
        import polars as pl

        kept = [_ID, _SCORE, *(name for name in names if name in frame.columns)]
        ours = frame.filter(pl.col(_VERSION) == version).select(kept)
        lost = tuple(name for name in names if name not in frame.columns) if ours.height else ()
        return cls(ours.height, ours.clear() if lost else recent.drawn(ours, most), most, lost)

    def __add__(self, other: "Sample") -> "Sample":
        """Of both together."""
        import polars as pl

        rows = pl.concat([self.rows, other.rows], how="diagonal")
        lost = tuple(dict.fromkeys([*self.lost, *other.lost]))
        return Sample(self.seen + other.seen, recent.drawn(rows, self.most), self.most, lost)


def reading(bundle: Bundle, samples: Sequence[Sample], allowed: float) -> Reading:
    """What a look says of the samples of some days: whether production answered what its bundle says."""
    import polars as pl

    seen = sum(one.seen for one in samples)
    if not seen:
        reason = f"none of the logged requests was answered by {bundle.version[:12]}"
        return Reading(name=SCORES, value=None, high=allowed, reason=reason)
    rows = pl.concat([one.rows for one in samples], how="diagonal")
    if rows.is_empty():
        lost = dict.fromkeys(name for one in samples for name in one.lost)
        reason = f"not checked: the log does not carry {', '.join(lost)}"
        return Reading(name=SCORES, value=None, high=allowed, reason=reason)
    found = _again(bundle, Sample(seen, rows, rows.height), allowed)
    reason = found.summary if found.holds else f"{SCORES}: {found.difference}"
    return Reading(name=SCORES, value=found.largest, high=allowed, alarm=not found.holds, reason=reason)


def _again(bundle: Bundle, sample: Sample, allowed: float) -> Rescored:
    """The sample's rows asked of the bundle."""
    rows = sample.rows
    if rows.is_empty():
        return Rescored(version=bundle.version, seen=sample.seen, allowed=allowed)
    columns = {name: rows[name].to_list() for name in bundle.signature.names}
    asked = Rescored(version=bundle.version, seen=sample.seen, checked=rows.height, allowed=allowed)
    return _compared(bundle, columns, rows[_ID].to_list(), rows[_SCORE].to_list(), asked)


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

    for line in whole(lines):
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
