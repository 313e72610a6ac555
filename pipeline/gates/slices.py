"""Harm in slices: a model that is better overall must not be clearly worse for one large group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.contract import Floats
from pipeline.config import BenchmarkGate
from pipeline.gates import decide, statistics
from pipeline.gates.decide import bare, plain, signed
from pipeline.verdict import Check, Table

COLUMNS = (
    "dimension",
    "group",
    "rows",
    "blocks",
    "reference loss",
    "candidate loss",
    "difference",
    "low",
    "high",
    "adjusted p",
    "decision",
)


@dataclass(frozen=True)
class Harm:
    """The one check over all slices, and the table of them."""

    check: Check
    table: Table


def judge(
    candidate: Floats,
    reference: Floats,
    block: NDArray[np.int64],
    dimensions: Mapping[str, Any],
    limits: BenchmarkGate,
) -> Harm:
    """Look for harm beyond the slice margin in every large enough group; losses and `block` numbers are (rows,).

    The margin is a share of the overall reference loss. Holm's rule holds the chance of one false alarm, over all
    judged slices together, at 1 - confidence.
    """
    margin = limits.slice_margin * abs(float(reference.mean()))
    found = _measure(candidate, reference, block, dimensions, margin, limits)
    table = Table(name="slices", columns=COLUMNS, rows=tuple(map(_cells, found.to_dict("records"))))
    return Harm(_check(found, margin), table)


def _measure(
    candidate: Floats,
    reference: Floats,
    block: NDArray[np.int64],
    dimensions: Mapping[str, Any],
    margin: float,
    limits: BenchmarkGate,
) -> pd.DataFrame:
    """One row per slice, with the columns of the table."""
    per_dimension = [_of_dimension(name, groups, candidate, reference, block) for name, groups in dimensions.items()]
    if not per_dimension:
        return pd.DataFrame(columns=[*COLUMNS, "p"])
    found = pd.concat([frame for frame, _, _ in per_dimension], ignore_index=True)
    sums, counts = (np.concatenate(parts, axis=1) for parts in zip(*[rest for _, *rest in per_dimension], strict=True))
    boot = statistics.bootstrap(sums, counts, resamples=limits.resamples, seed=limits.seed)
    low, high = boot.interval(limits.confidence)
    trusted = (found["blocks"] >= limits.min_slice_blocks).to_numpy()
    judged = trusted & (found["rows"] >= limits.min_slice_rows).to_numpy()
    adjusted = np.full(len(found), np.nan)
    adjusted[judged] = statistics.holm(boot.p_above(margin)[judged])
    verdicts = np.where(adjusted <= 1 - limits.confidence, "fail", "pass")
    return found.assign(
        low=np.where(trusted, low, np.nan),
        high=np.where(trusted, high, np.nan),
        **{"adjusted p": adjusted, "decision": np.where(judged, verdicts, "listed")},
    )


def _of_dimension(
    name: str,
    groups: Any,
    candidate: Floats,
    reference: Floats,
    block: NDArray[np.int64],
) -> tuple[pd.DataFrame, Floats, Floats]:
    """Figures of each group of one dimension, and the sums and counts (blocks, groups) of the loss difference."""
    number, names = statistics.codes(groups)
    shape = (int(block.max()) + 1, len(names))
    sums, counts = statistics.block_sums(candidate - reference, block, number, shape)
    rows = counts.sum(axis=0)
    means = {
        "reference loss": np.bincount(number, weights=reference) / rows,
        "candidate loss": np.bincount(number, weights=candidate) / rows,
        "difference": sums.sum(axis=0) / rows,
    }
    present = (counts > 0).sum(axis=0)
    figures = {"dimension": name, "group": names, "rows": rows.astype(int), "blocks": present, **means}
    return pd.DataFrame(figures), sums, counts


def _check(found: pd.DataFrame, margin: float) -> Check:
    judged = found[found["decision"] != "listed"]
    harmed = judged[judged["decision"] == "fail"]
    listed = f"{len(found) - len(judged)} too small to judge are listed"
    if len(judged) == 0:
        return decide.reported("slices", f"no slice is large enough to judge; {listed}", statistic=0)
    reason = f"no clear harm beyond {plain(margin)} in {len(judged)} slices; {listed}"
    if len(harmed):
        reason = f"clearly worse for {decide.named(map(_harm, harmed.to_dict('records')))} (allowed {plain(margin)})"
    return decide.judged("slices", harmed.empty, reason, statistic=len(harmed), threshold=0)


def _harm(row: Mapping[Any, Any]) -> str:
    return (
        f"{row['dimension']} {row['group']}: {signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}] "
        f"on {row['rows']:,} rows, adjusted p {row['adjusted p']:.2g}"
    )


def _cells(row: Mapping[Any, Any]) -> tuple[str | float | int | None, ...]:
    return tuple(bare(row[column]) for column in COLUMNS)
