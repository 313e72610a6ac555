"""The data gate: can these rows be trusted to train a model and to judge it?

Pure: `judge` takes the prepared rows and their schema and returns the gate's result; a broken table fails, it does not
raise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from model.contract import Column, Relation, Schema, Task
from pipeline.config import DataGate
from pipeline.gates import decide, freshness, leakage, schema_checks
from pipeline.gates.decide import bare, percent
from pipeline.gates.schema_checks import LABEL, NULL, RANGE, UNSEEN, Faults
from pipeline.verdict import Check, Decision, GateResult, Table


@dataclass(frozen=True)
class DataInputs:
    """`prepared` is every row, with or without a label; `train` and `holdout` are the labelled rows of each side.

    `rule` is the split's (see `model.contract.Split`); `window_end` the last day that rows are expected for
    (`model.contract.Model.history_end`), None where rows have no time.
    """

    prepared: pd.DataFrame
    train: pd.DataFrame
    holdout: pd.DataFrame
    schema: Schema
    task: Task
    rule: Mapping[str, str | float]
    window_end: date | None


def judge(given: DataInputs, limits: DataGate) -> GateResult:
    """Decide. Where the columns themselves are wrong nothing else is looked at."""
    inputs = {
        **limits.model_dump(),
        "rows": len(given.prepared),
        "training rows": len(given.train),
        "holdout rows": len(given.holdout),
    }
    sound, structure = _structure(given)
    if structure.decision is Decision.FAIL:
        return decide.conclude("data", [structure], "", inputs=inputs)
    faults = schema_checks.values(sound.prepared, sound.schema, sound.task)
    usable = all(one.check != LABEL for one in faults)
    strength = leakage.predictors(sound.train, sound.holdout, sound.schema, sound.task) if usable else {}
    checks = [
        structure,
        *_values(faults, sound, limits),
        _null_increase(sound, limits),
        _duplicates(sound),
        *(_relation(sound.prepared, relation, limits) for relation in sound.schema.relations),
        *freshness.judge(sound.prepared, sound.schema, sound.window_end, limits),
        leakage.known_after(sound.schema),
        leakage.single_feature(strength, limits.max_single_feature_auc),
        leakage.shared_keys(sound.train, sound.holdout, sound.schema.key),
        leakage.order(sound.train, sound.holdout, sound.schema, sound.rule),
    ]
    passed = f"{len(sound.prepared):,} rows are sound: {len(sound.train):,} train, {len(sound.holdout):,} are held out"
    return decide.conclude("data", checks, passed, inputs=inputs, tables=[_columns(sound, faults, strength)])


def _structure(given: DataInputs) -> tuple[DataInputs, Check]:
    """The inputs with numbers as numbers, and whether that was possible."""
    parts = {"prepared": given.prepared, "train": given.train, "holdout": given.holdout}
    empty = [f"there are no {name} rows" for name, frame in parts.items() if not len(frame)]
    read = {
        name: schema_checks.structure(frame, given.schema, labelled=name != "prepared")
        for name, frame in parts.items()
        if not empty
    }
    wrong = list(dict.fromkeys([*empty, *(fault for _, faults in read.values() for fault in faults)]))
    if wrong:
        return given, decide.judged("structure", False, "; ".join(wrong), statistic=len(wrong), threshold=0)
    check = decide.judged("structure", True, f"all {len(given.schema.columns)} request columns are there and readable")
    prepared, train, holdout = (read[name][0] for name in parts)
    return replace(given, prepared=prepared, train=train, holdout=holdout), check


def _values(faults: tuple[Faults, ...], given: DataInputs, limits: DataGate) -> list[Check]:
    """One check per kind of illegal value, naming the columns where there are too many."""
    columns = {column.name: column for column in given.schema.columns}
    refused = [one for one in faults if one.check == UNSEEN and columns[one.column].unseen == "refuse"]
    other = [one for one in faults if one.check == UNSEEN and columns[one.column].unseen == "other"]
    rows = len(given.prepared)
    out = [one for one in faults if one.check == RANGE]
    usual = "; a changed unit is the usual cause"
    checks = [
        _within("ranges", out, rows, limits.max_out_of_range_share, "outside their range", columns, usual),
        _within("categories", refused, rows, limits.max_unseen_category_share, "in no known category", columns),
        _within(
            "nulls", [one for one in faults if one.check == NULL], rows, 0, "null though they must not be", columns
        ),
        _within("labels", [one for one in faults if one.check == LABEL], rows, 0, _illegal_label(given.task), columns),
    ]
    if other:
        seen = decide.named(f"{one.column} {bare(one.worst)!r} ({percent(one.rows / rows)} of rows)" for one in other)
        checks.append(decide.reported("new categories", f"encoded as one shared 'other': {seen}"))
    return checks


def _illegal_label(task: Task) -> str:
    return "labelled neither 0 nor 1" if task == "classification" else "labelled with what is not finite"


def _within(
    name: str, faults: list[Faults], rows: int, limit: float, what: str, columns: Mapping[str, Column], hint: str = ""
) -> Check:
    share = max((one.rows / rows for one in faults), default=0.0)
    over = sorted((one for one in faults if one.rows / rows > limit), key=lambda one: -one.rows)
    reason = f"at most {percent(share)} of a column's rows are {what}, allowed {percent(limit)}"
    if over:
        listed = decide.named(_fault(one, rows, columns.get(one.column)) for one in over)
        reason = f"{what}: {listed}; allowed {percent(limit)} of rows{hint}"
    return decide.judged(name, not over, reason, statistic=share, threshold=limit)


def _fault(one: Faults, rows: int, column: Column | None) -> str:
    value = "" if bare(one.worst) is None else f", such as {bare(one.worst)!r}"
    allowed = f" (range {_range(column)})" if one.check == RANGE and column is not None else ""
    return f"{one.column} in {percent(one.rows / rows)} of rows{value}{allowed}"


def _range(column: Column) -> str:
    low = "-∞" if column.minimum is None else f"{column.minimum:g}"
    high = "∞" if column.maximum is None else f"{column.maximum:g}"
    whole = "whole numbers, " if column.type == "integer" else ""
    return f"{whole}{low} to {high}{f' {column.unit}' if column.unit else ''}"


def _null_increase(given: DataInputs, limits: DataGate) -> Check:
    """Whether a column lost its values between training and holdout."""
    names = list(given.schema.names)
    increase = given.holdout[names].isna().mean() - given.train[names].isna().mean()
    over = increase[increase > limits.max_null_share_increase].sort_values(ascending=False)
    worst_name, most = str(increase.idxmax()), float(increase.max())
    allowed = percent(limits.max_null_share_increase)
    reason = (
        f"nulls rose most in {worst_name!r}, by {100 * most:.1f} points from training to holdout, allowed {allowed}"
    )
    if len(over):
        listed = decide.named(f"{name!r} by {100 * rise:.1f} points" for name, rise in over.items())
        reason = f"nulls rose from training to holdout: {listed}, allowed {allowed}; a source may have stopped"
    return decide.judged("null increase", over.empty, reason, statistic=most, threshold=limits.max_null_share_increase)


def _duplicates(given: DataInputs) -> Check:
    key = given.schema.key
    twice = given.prepared.duplicated(list(key))
    reason = f"the key ({', '.join(key)}) names each row once"
    if twice.any():
        example = decide.row_key(given.prepared[twice].iloc[0], key)
        reason = f"{twice.sum():,} rows repeat a key, first {example}; a join or an append ran twice"
    return decide.judged("duplicate keys", not twice.any(), reason, statistic=int(twice.sum()), threshold=0)


def _relation(prepared: pd.DataFrame, relation: Relation, limits: DataGate) -> Check:
    limit, name = limits.max_relation_violation_share, f"relation {relation.name}"
    try:
        holds = np.asarray(relation.holds(prepared), dtype=bool)
    except (KeyError, TypeError, ValueError) as error:
        return decide.judged(name, False, f"{relation.description}: cannot be evaluated ({error!r})")
    share = float((~holds).mean())
    reason = f"{relation.description}: broken in {percent(share)} of rows, allowed {percent(limit)}"
    hint = "" if share <= limit else "; a changed unit or swapped columns are the usual causes"
    return decide.judged(name, share <= limit, reason + hint, statistic=share, threshold=limit)


def _columns(given: DataInputs, faults: tuple[Faults, ...], strength: Mapping[str, float]) -> Table:
    """What was found in each request column, for people."""
    rows_of = {(one.column, one.check): one.rows for one in faults}
    rows: list[tuple[Any, ...]] = [
        (
            column.name,
            column.unit,
            bare(given.train[column.name].isna().mean()),
            bare(given.holdout[column.name].isna().mean()),
            rows_of.get((column.name, RANGE), 0),
            rows_of.get((column.name, UNSEEN), 0),
            strength.get(column.name),
        )
        for column in given.schema.columns
    ]
    header = ("column", "unit", "null in training", "null in holdout", "out of range", "unseen", "alone predicts")
    return Table(name="columns", columns=header, rows=tuple(rows))
