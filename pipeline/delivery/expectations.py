"""How a canary's scores should differ from the stable ones: said before it takes traffic, judged by the analysis.

The distance is Kolmogorov-Smirnov's over the very buckets of the server's `flightline_score` histogram, so that it is
the figure that Prometheus will give. The traffic is each environment's own: the newest logged rows for production, or
those held out where none are kept; the replay for the others, which have no users.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from pipeline import paths, production, signature
from pipeline.config import Frozen, read_yaml, validated
from pipeline.context import Context
from pipeline.delivery.models import Expects
from pipeline.errors import UnavailableError
from pipeline.evidence import check_same_meaning
from pipeline.frames import HOLDOUT, PART, TableError, columns_of, read_rows
from pipeline.production import PRODUCTION
from serving import bundle, replay
from serving.bundle import Bundle
from serving.metrics import score_bounds
from serving.signature import Output, Signature, encode

if TYPE_CHECKING:
    from model.contract import Floats

LOCK = "dvc.lock"
REPLAYED = 5000
CANARY = Path("k8s/base/canary.yaml")
ANYTHING = 1.0
_DECIMALS = 4

_BLOCK_ROWS = 100

Columns = Mapping[str, Sequence[Any]]
Blocks = NDArray[Any] | None
Say = Callable[[str], None]


@dataclass(frozen=True)
class Traffic:
    """Request columns, the block of each row, and which rows they are, for people; the last day of logged ones."""

    columns: Columns
    blocks: Blocks
    which: str
    logged_to: date | None = None


class Canary(Frozen):
    """What people set for the canary: how far beyond the expected distance its scores may be.

    It covers the noise of few rows: two samples of n rows from one distribution are further apart than .1 in one of
    370 cases at n = 660, in one of 8 at n = 275.
    """

    ks_tolerance: float = Field(0.10, gt=0, le=1)


def read_canary(root: Path) -> Canary:
    """The `data` of the ConfigMap `k8s/base/canary.yaml`, or the defaults without one. Raises ConfigError."""
    path = root / CANARY
    if not path.is_file():
        return Canary()
    document = read_yaml(path)
    return validated(Canary, document.get("data") if isinstance(document, dict) else document, path)


def expect(
    context: Context,
    env: str,
    candidate: Path,
    released: Path | None,
    say: Say = lambda _: None,
    said: Expects | None = None,
) -> Expects:
    """What analysis in `env` shall hold this candidate to, against what is released there.

    `say` is told over which rows: those of `said`, or the best there are. Raises BundleError, UnavailableError.

    Where the released bundle means something else by its score or cannot read the traffic, no distance says anything,
    and any is allowed.
    """
    if released is None:
        return Expects(released=None, ks=0, max_ks=ANYTHING, rows=0)
    new, old = bundle.load(candidate), bundle.load(released)
    if not comparable(new, old):
        return Expects(released=old.version, ks=ANYTHING, max_ks=ANYTHING, rows=0)
    found = traffic(context, env, new, said)
    output, scores = new.signature.output, (_scores(new, found.columns), _scores(old, found.columns))
    say(f"{env}: what the canary is held to is measured over {len(scores[0]):,} {found.which}")
    distance = bucket_distance(output, *scores)
    furthest = max([distance, *block_distances(output, *scores, found.blocks)])
    most = min(ANYTHING, round(furthest + read_canary(context.root).ks_tolerance, _DECIMALS))
    return Expects(
        released=old.version,
        ks=round(distance, _DECIMALS),
        max_ks=most,
        rows=len(scores[0]),
        logged_to=found.logged_to,
    )


def comparable(new: Bundle, old: Bundle) -> bool:
    """Whether both read the same columns in the same way and score in the same unit and range."""
    same_scale = _scale(new.signature.output) == _scale(old.signature.output)
    return same_scale and _same_meaning(old.signature, new.signature)


def _same_meaning(theirs: Signature, ours: Signature) -> bool:
    """Whether a bundle of the one signature reads rows of the other as what they are."""
    try:
        check_same_meaning(theirs, ours)
    except TableError:
        return False
    return True


def _scale(output: Output) -> tuple[Any, ...]:
    return output.unit, output.minimum, output.maximum


def bucket_distance(output: Output, one: "Floats", other: "Floats") -> float:
    """The largest difference of cumulative shares over the score histogram's buckets: 0 alike, 1 apart."""
    bounds = score_bounds(output)
    return float(np.abs(_cumulative(one, bounds) - _cumulative(other, bounds)).max())


def block_distances(output: Output, one: "Floats", other: "Floats", blocks: Blocks) -> list[float]:
    """The distance within each block (day) of enough rows: a canary sees one day's weather, not a month's.

    On the flights two models are .39 apart over 28 days and more than .6 on some of them.
    """
    if blocks is None:
        return []
    of = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    return [bucket_distance(output, one[rows], other[rows]) for rows in of if len(rows) >= _BLOCK_ROWS]


def _cumulative(scores: "Floats", bounds: Sequence[float]) -> "Floats":
    """Per bound, the share of scores that are not above it: as Histogram counts, inclusive."""
    return np.searchsorted(np.sort(scores), np.asarray(bounds), side="right") / len(scores)


def traffic(context: Context, env: str, candidate: Bundle, said: Expects | None = None) -> Traffic:
    """Request columns as `env` will see them, or once more those that `said` was measured over.

    For production the newest rows that were logged, else those held out; for the others what the replay sends. Raises
    UnavailableError where no rows can be had: the replay's scores are much less apart, and would abort a good canary.
    """
    if env != PRODUCTION:
        return Traffic(replayed(candidate), None, "rows of the replay")
    if said is not None and said.logged_to is not None:
        return _logged_again(context, candidate, said.logged_to)
    if said is None:
        with suppress(UnavailableError):
            return _logged(context, candidate)
    unlogged = f"as no store here has {REPLAYED:,} logged rows with all its columns"
    if any((context.root / one).is_file() for one in (paths.ROWS, LOCK)):
        held_out = _held_out(context)
        if len(held_out) and is_of_model(context, candidate):
            columns = columns_of(held_out, candidate.signature.names)
            return Traffic(columns, held_out[context.model.schema.block].to_numpy(), f"held-out rows, {unlogged}")
    return Traffic(replayed(candidate), None, f"rows of the replay, {unlogged}, nor are held-out rows of it here")


def _held_out(context: Context) -> pd.DataFrame:
    with production.rows(context) as table:
        frame = read_rows(table, context.model.schema)
    return frame[frame[PART] == HOLDOUT]


def is_of_model(context: Context, candidate: Bundle) -> bool:
    """Whether the candidate reads this checkout's rows as what they are."""
    return _same_meaning(candidate.signature, signature.of_model(context.model.card, context.model.schema))


def _logged(context: Context, candidate: Bundle, last: date | None = None) -> Traffic:
    """The newest logged rows, with all that the candidate takes. Raises UnavailableError unless there are enough."""
    from pipeline.monitoring.recent import newest

    if not (context.root / paths.PARAMS).is_file() or not is_of_model(context, candidate):
        raise UnavailableError("the version reads other columns than this checkout's model")
    frame = newest(context, candidate.signature.names, last)
    if len(frame) < REPLAYED:
        raise UnavailableError(f"the store has {len(frame):,} such rows, {REPLAYED:,} are needed")
    first, newest_day = frame["day"].min(), frame["day"].max()
    columns, days = columns_of(frame, candidate.signature.names), frame["day"].astype(str).to_numpy()
    return Traffic(columns, days, f"logged rows, {first} to {newest_day}", newest_day)


def _logged_again(context: Context, candidate: Bundle, last: date) -> Traffic:
    """The logged rows up to that day. Raises UnavailableError with what to do."""
    try:
        return _logged(context, candidate, last)
    except UnavailableError as error:
        raise UnavailableError(
            f"expects was measured over logged rows to {last}, which are not here: {error}; set FLIGHTLINE_STORE and "
            "install `monitor` (`make setup FOR=monitor`) where this is checked, or prepare it again without a store"
        ) from error


def replayed(candidate: Bundle) -> Columns:
    """The first rows that the replay of this bundle sends."""
    reference = msgspec.json.decode((candidate.path / "reference.json").read_bytes())
    sent = list(islice(replay.rows(candidate.signature, reference), REPLAYED))
    return {name: [row[name] for row in sent] for name in candidate.signature.names}


def _scores(one: Bundle, columns: Columns) -> "Floats":
    return one.score(encode(one.signature, columns))
