"""Leakage: what a model could know in training, or in this test of it, that it will not know in service."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from model.contract import Column, Floats, Schema, Task
from pipeline.gates import decide
from pipeline.gates.schema_checks import times
from pipeline.verdict import Check, Decision

_BINS, _ROWS_PER_BIN, _PRIOR = 64, 20, 10


def known_after(schema: Schema) -> Check:
    """Whether a request carries a column that is only known once the outcome is."""
    late = [column.name for column in schema.columns if column.known == "after"]
    reason = "every request column is known before the prediction"
    if late:
        reason = f"request columns known only after the event: {decide.named(late)}; a request cannot carry them"
    return decide.judged("known before", not late, reason, statistic=len(late), threshold=0)


def predictors(train: pd.DataFrame, holdout: pd.DataFrame, schema: Schema, task: Task) -> dict[str, float]:
    """How well each request column alone predicts the held-out label: .5 not at all, 1 perfectly; empty if unknowable.

    The column is cut into bins (a category is one, null is one), each bin predicts its mean training label, and that is
    held against the holdout: by AUC, or (1 + |Spearman's rho|) / 2 where the label is not a class.
    """
    outcome = holdout[schema.label].to_numpy(float)
    if len(np.unique(outcome)) < 2:  # noqa: PLR2004
        return {}
    labels = train[schema.label].to_numpy(float)
    return {
        column.name: _strength(_by_bin_mean(train[column.name], holdout[column.name], labels, column), outcome, task)
        for column in schema.columns
    }


def single_feature(found: Mapping[str, float], limit: float) -> Check:
    """Whether one column alone predicts the label too well to be honest."""
    if not found:
        reason = "the held-out labels do not differ, or are not legal: no column can be tried alone; hold out more rows"
        return Check(name="single feature", decision=Decision.INCONCLUSIVE, reason=reason, threshold=limit)
    best = max(found, key=lambda name: found[name])
    leaking = sorted((name for name in found if found[name] > limit), key=lambda name: -found[name])
    reason = f"the best single column is {best!r} at {found[best]:.3f}, allowed {limit}"
    if leaking:
        listed = decide.named(f"{name!r} at {found[name]:.3f}" for name in leaking)
        reason = f"a column alone predicts the label: {listed}, allowed {limit}; it probably carries the outcome"
    return decide.judged("single feature", not leaking, reason, statistic=found[best], threshold=limit)


def shared_keys(train: pd.DataFrame, holdout: pd.DataFrame, key: tuple[str, ...]) -> Check:
    """Whether a row that trains is also held out."""
    names = list(key)
    shared = holdout[names].merge(train[names].drop_duplicates(), on=names)
    reason = "no key is both in training and in the holdout"
    if len(shared):
        first = decide.row_key(shared.iloc[0], key)
        reason = f"{len(shared):,} held-out rows have a key that trains too, first {first}; the holdout is no test"
    return decide.judged("train and holdout apart", shared.empty, reason, statistic=len(shared), threshold=0)


def order(train: pd.DataFrame, holdout: pd.DataFrame, schema: Schema, rule: Mapping[str, str | float]) -> Check:
    """Whether training ends before the holdout begins; for a split by group, whether no group is on both sides."""
    if rule.get("kind") == "group":
        return _groups_apart(train, holdout, str(rule.get("column", schema.block)))
    if schema.event_time is None:
        return decide.reported("training before holdout", "the rows have no time, so neither side comes first")
    trained, held = times(train[schema.event_time]), times(holdout[schema.event_time])
    first_block = holdout[schema.block].iloc[int(held.argmin())]
    inside = (trained >= held.min()) | (train[schema.block] == first_block)
    reason = f"training ends {trained.max():%Y-%m-%d %H:%M}, the holdout begins {held.min():%Y-%m-%d %H:%M} (UTC)"
    if inside.any():
        reason = (
            f"{inside.sum():,} training rows are not before the holdout's first block, {first_block} (they reach to "
            f"{trained.max():%Y-%m-%d}); held-out rows inside the training window are no test"
        )
    return decide.judged("training before holdout", not inside.any(), reason, statistic=int(inside.sum()), threshold=0)


def _groups_apart(train: pd.DataFrame, holdout: pd.DataFrame, column: str) -> Check:
    if column not in train or column not in holdout:
        return decide.judged("groups apart", False, f"the split is by group, and its column {column!r} is missing")
    both = sorted(set(train[column]) & set(holdout[column]), key=str)
    reason = f"no {column!r} is both in training and in the holdout"
    if both:
        reason = f"{len(both):,} groups of {column!r} are both in training and in the holdout: {decide.named(both)}"
    return decide.judged("groups apart", not both, reason, statistic=len(both), threshold=0)


def _by_bin_mean(train: "pd.Series[Any]", holdout: "pd.Series[Any]", labels: Floats, column: Column) -> Floats:
    """The mean training label of each held-out row's bin, drawn a little towards the overall mean."""
    if column.type == "category":
        known = {name: number for number, name in enumerate(pd.unique(train.dropna()))}
        bins, asked = (values.map(known).fillna(len(known)).to_numpy(int) for values in (train, holdout))
    else:
        edges = _edges(train.to_numpy(float))
        bins, asked = (_bin(values.to_numpy(float), edges) for values in (train, holdout))
    size = int(max(bins.max(), asked.max())) + 1
    sums, counts = np.bincount(bins, weights=labels, minlength=size), np.bincount(bins, minlength=size)
    means = (sums + _PRIOR * labels.mean()) / (counts + _PRIOR)
    found: Floats = means[asked]
    return found


def _edges(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    if not len(known):
        return np.empty(0)
    bins = int(np.clip(len(known) // _ROWS_PER_BIN, 2, _BINS))
    return np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)))


def _bin(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """The number of each value's bin; null has one of its own, the last."""
    found = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, found).astype(np.int64)


def _strength(predicted: Floats, outcome: Floats, task: Task) -> float:
    if np.ptp(predicted) == 0:
        return 0.5
    if task == "classification":
        return float(metrics.roc_auc_score(outcome, predicted))
    return (1 + abs(float(stats.spearmanr(predicted, outcome).statistic))) / 2
