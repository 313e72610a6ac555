"""What a label is, what can become of one, and which of several about one prediction holds.

Tables here are polars frames of labels: id str, label f64, known_at datetime[us, UTC], corrects bool; those that were
just handed over have event_day date, too.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import polars as pl
from pydantic import AwareDatetime, Field

from pipeline.config import Frozen
from pipeline.monitoring.log import DAY, ID, LABEL, MOMENT, TIME

KNOWN_AT, CORRECTS, EVENT_DAY, FATE, KEEP, LATE = "known_at", "corrects", "event_day", "fate", "keep", "late"
SCHEMA = pl.Schema({ID: pl.String(), LABEL: pl.Float64(), KNOWN_AT: MOMENT, CORRECTS: pl.Boolean()})
GIVEN = pl.Schema({**SCHEMA, EVENT_DAY: pl.Date()})
LONGEST_ID = 200

_ORDER = "order"


class Label(Frozen):
    """The outcome of one prediction, joined by the row's id.

    `event_day` (UTC) narrows the search for the prediction to the days around it. `known_at` is when the outcome
    became known; without it, when it was handed over.
    """

    id: str = Field(min_length=1, max_length=LONGEST_ID)
    label: float = Field(allow_inf_nan=False)
    event_day: date | None = None
    known_at: AwareDatetime | None = None


class LabelCounts(Frozen):
    """What became of the labels that were handed over; each is counted once, but `late`, which is part of `new`.

    `new` are joined from now on; `late` those of them that came more than `label_delay_days` after their event.
    `duplicate` says again what is known. `contradictory` says otherwise; what was known first is kept. `corrected` says
    otherwise as a correction, and holds from now on. `unknown` names no logged prediction yet, and waits for it.
    `expired` is of a day older than retention, `skewed` was known before its event or is of the future; neither is
    kept.
    """

    new: int = 0
    late: int = 0
    duplicate: int = 0
    contradictory: int = 0
    corrected: int = 0
    unknown: int = 0
    expired: int = 0
    skewed: int = 0

    @property
    def read(self) -> int:
        """How many labels there were."""
        return sum(self.model_dump(exclude={LATE}).values())

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        """Both together."""
        return LabelCounts(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class Rules(Frozen):
    """What decides about a label: how late it may be, how long it is kept, how far clocks may differ."""

    delay_days: int
    retention_days: int | None
    tolerance: timedelta

    def horizon(self, today: date) -> date:
        """The oldest day that is kept."""
        return date.min if self.retention_days is None else today - timedelta(days=self.retention_days)


def given(labels: Iterable[Label], as_of: datetime, *, corrects: bool) -> pl.DataFrame:
    """Labels as a table; without a `known_at` of its own, one became known now."""
    rows = [(one.id, one.label, one.known_at or as_of, corrects, one.event_day) for one in labels]
    return pl.DataFrame(rows, schema=GIVEN, orient="row")


def at_first_sight(labels: pl.DataFrame, as_of: datetime, rules: Rules) -> pl.DataFrame:
    """With `fate`: expired or skewed where the label itself says so, else null."""
    latest = as_of + rules.tolerance
    skewed = (pl.col(KNOWN_AT) > latest) | (pl.col(EVENT_DAY) > as_of.date() + timedelta(days=1))
    expired = pl.col(EVENT_DAY) < rules.horizon(as_of.date())
    return labels.with_columns(pl.when(expired).then(pl.lit("expired")).when(skewed).then(pl.lit("skewed")).alias(FATE))


def located(labels: pl.DataFrame, found: pl.DataFrame, as_of: datetime, rules: Rules) -> pl.DataFrame:
    """With `day` and `time` of the prediction, null where there is none; `found` has id, day and time of candidates.

    Where an id was used more than once, it is the newest of those that came before the outcome was known.
    """
    numbered = labels.with_row_index(_ORDER)
    pairs = numbered.select(_ORDER, ID, KNOWN_AT).join(found, on=ID)
    possible = pairs.filter(pl.col(TIME) <= pl.col(KNOWN_AT) + rules.tolerance)
    newest = possible.sort(TIME).unique(_ORDER, keep="last").select(_ORDER, DAY, TIME)
    early = pl.col(_ORDER).is_in(pairs[_ORDER].implode()) & pl.col(DAY).is_null()
    expired = pl.col(DAY) < rules.horizon(as_of.date())
    fate = pl.when(early).then(pl.lit("skewed")).when(expired).then(pl.lit("expired")).otherwise(FATE).alias(FATE)
    return numbered.join(newest, on=_ORDER, how="left").with_columns(fate).drop(_ORDER)


def judged(labels: pl.DataFrame, known: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """With a `fate` for every label, `keep` where it is to be stored and `late`.

    `known` is what is stored already for these ids: day (null for what waits) and the columns of a label.
    """
    before = resolved(known, [DAY, ID]).select(DAY, ID, pl.col(LABEL).alias("held"), pl.col(KNOWN_AT).alias("since"))
    open_ones = labels.filter(pl.col(FATE).is_null()).with_row_index(_ORDER)
    first = resolved(open_ones, [DAY, ID]).select(_ORDER, pl.lit(value=True).alias("first"))
    own = resolved(open_ones, [DAY, ID]).select(DAY, ID, pl.col(LABEL).alias("own"))
    table = (
        open_ones.join(before, on=[DAY, ID], how="left", nulls_equal=True)
        .join(own, on=[DAY, ID], how="left", nulls_equal=True)
        .join(first, on=_ORDER, how="left")
        .with_columns(_fate(), _keep(), _late(rules))
    )
    decided = labels.filter(pl.col(FATE).is_not_null()).with_columns(keep=pl.lit(value=False), late=pl.lit(value=False))
    return pl.concat([table.select(decided.columns), decided])


def _fate() -> pl.Expr:
    """Against what is stored; where that is nothing, against the one of them that holds."""
    first, corrects = pl.col("first").fill_null(value=False), pl.col(CORRECTS)
    same = pl.col(LABEL) == pl.coalesce("held", "own")
    return (
        pl.when(pl.col("held").is_null() & first & pl.col(DAY).is_null())
        .then(pl.lit("unknown"))
        .when(pl.col("held").is_null() & first)
        .then(pl.lit("new"))
        .when(same)
        .then(pl.lit("duplicate"))
        .when(corrects & first)
        .then(pl.lit("corrected"))
        .otherwise(pl.lit("contradictory"))
        .alias(FATE)
    )


def _keep() -> pl.Expr:
    """What is new; and what says otherwise, but only where it holds: known earlier than what is stored, or corrects."""
    first, differs = pl.col("first").fill_null(value=False), pl.col(LABEL) != pl.col("held")
    earlier = pl.col(KNOWN_AT) < pl.col("since")
    return (first & (pl.col("held").is_null() | (differs & (pl.col(CORRECTS) | earlier)))).alias(KEEP)


def _late(rules: Rules) -> pl.Expr:
    """In calendar days, in UTC."""
    due = pl.col(DAY) + pl.duration(days=rules.delay_days)
    return (pl.col(KNOWN_AT).dt.date() > due).fill_null(value=False).alias(LATE)


def resolved(labels: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """One label for each key: the newest correction, else the one known first.

    Where these are even, it is the first of what was handed over together, and of what is stored the smaller value: the
    order in which two writers came does not matter.
    """
    known = pl.col(KNOWN_AT).dt.epoch("us")
    order = pl.when(CORRECTS).then(-known).otherwise(known)
    even = _ORDER if _ORDER in labels.columns else LABEL
    return labels.sort(pl.col(CORRECTS).not_(), order, even).unique(key, keep="first", maintain_order=True)


def attached(predictions: pl.DataFrame, labels: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Predictions (with id and time) and the `label` of each, null where none is known; rows are once for an id."""
    sound = (
        labels.join(predictions.select(ID, TIME), on=ID)
        .filter(pl.col(KNOWN_AT) + rules.tolerance >= pl.col(TIME))
        .pipe(resolved, [ID])
    )
    return predictions.join(sound.select(ID, LABEL), on=ID, how="left")


def counted(judged: pl.DataFrame) -> LabelCounts:
    """How many labels met which fate."""
    fates: dict[str, int] = dict(judged.group_by(FATE).len().iter_rows())
    late = judged.filter((pl.col(FATE) == "new") & pl.col(LATE)).height
    return LabelCounts(**fates, late=late)
