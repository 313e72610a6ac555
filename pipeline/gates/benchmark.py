"""The benchmark gate: is the candidate's loss on held-out rows good enough against the one to beat?

Pure: `judge` takes losses per row and returns the gate's result. Blocks (days) are resampled, never rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.contract import Floats, Task
from pipeline.config import BenchmarkGate
from pipeline.gates import decide, figures, rules, slices, statistics
from pipeline.gates.decide import plain
from pipeline.gates.rules import Overall
from pipeline.verdict import Check, Curve, Decision, GateResult, Rule


@dataclass(frozen=True)
class Comparison:
    """Candidate and reference on the same held-out rows; every array has shape (rows,).

    Losses are lower-is-better; NaN in both is a row that carries none (ranking). `blocks` is each row's block key and
    `unit` what a block is called. `unseen_by_*` is None where that model never saw these rows, else why that does not
    hold. `reference_scores` is None where the reference is a constant. `slices`: dimension -> group of each row.
    """

    candidate_loss: Floats
    reference_loss: Floats
    candidate_scores: Floats
    labels: Floats
    blocks: NDArray[Any]
    task: Task
    reference_name: Literal["production", "the constant baseline"]
    reference_scores: Floats | None = None
    slices: Mapping[str, "pd.Series[Any] | NDArray[Any]"] | None = None
    unseen_by_candidate: str | None = None
    unseen_by_production: str | None = None
    unit: str = "days"


def judge(comparison: Comparison, rule: Rule, limits: BenchmarkGate) -> GateResult:
    """Decide. Losses that cannot be compared fail or are inconclusive at once, without statistics."""
    inputs = {**limits.model_dump(), "rule": rule, "reference": comparison.reference_name}
    obstacle = _obstacle(comparison)
    if obstacle is not None:
        return decide.conclude("benchmark", [obstacle], "", inputs=inputs)
    kept = _rows_with_a_loss(comparison)
    block, names = statistics.codes(kept.blocks)
    inputs |= {"rows": len(block), "blocks": len(names)}
    plots = figures.of(kept.task, kept.labels, kept.candidate_scores, kept.reference_scores)
    if len(names) < limits.min_blocks:
        checks = [_too_few(len(names), kept, limits), *_losses(kept), *plots.checks]
        return decide.conclude("benchmark", checks, "", inputs=inputs, curves=plots.curves)
    overall = compare(kept, block, len(names), limits)
    main = rules.check(overall, rule, kept.reference_name)
    harm = slices.judge(kept.candidate_loss, kept.reference_loss, block, kept.slices or {}, limits)
    checks = [main, harm.check, *_losses(kept), *_power(overall, kept.unit, limits), *plots.checks]
    curves = (*plots.curves, _width_by_blocks(overall, kept.unit, limits))
    return decide.conclude("benchmark", checks, main.reason, inputs=inputs, tables=[harm.table], curves=curves)


def compare(kept: Comparison, block: NDArray[np.int64], blocks: int, limits: BenchmarkGate) -> Overall:
    """Bootstrap the mean difference over blocks; `block` (rows,) is each row's block number, 0 to `blocks` - 1."""
    difference = kept.candidate_loss - kept.reference_loss
    sums, counts = statistics.block_sums(difference, block, np.zeros_like(block), (blocks, 1))
    boot = statistics.bootstrap(sums, counts, resamples=limits.resamples, seed=limits.seed)
    low, high = boot.interval(limits.confidence)
    reference = float(kept.reference_loss.mean())
    return Overall(
        reference=reference,
        difference=float(boot.estimate[0]),
        interval=(float(low[0]), float(high[0])),
        lower=float(boot.lower(limits.confidence)[0]),
        upper=float(boot.upper(limits.confidence)[0]),
        error=float(boot.error[0]),
        blocks=blocks,
        margin=limits.margin * abs(reference),
    )


def _obstacle(comparison: Comparison) -> Check | None:
    """The first thing that makes a comparison pointless, as the check that says so."""
    if comparison.unseen_by_candidate is not None:
        return decide.judged("unseen rows", False, _trained_on("the candidate", comparison.unseen_by_candidate))
    if comparison.unseen_by_production is not None:
        reason = f"{_trained_on('production', comparison.unseen_by_production)}; no fair comparison is possible"
        return Check(name="unseen rows", decision=Decision.INCONCLUSIVE, reason=reason)
    return _not_finite(comparison)


def _trained_on(who: str, why: str) -> str:
    return f"{who} was trained on rows of this holdout ({why}); hold out rows newer than what either was trained on"


def _not_finite(comparison: Comparison) -> Check | None:
    bad = ~np.isfinite(comparison.candidate_scores)
    if bad.any():
        reason = f"{bad.sum():,} of {len(bad):,} scores of the candidate are NaN or infinite; every row needs a score"
        return decide.judged("finite scores", False, reason, statistic=float(bad.sum()), threshold=0)
    uneven = ~np.isfinite(comparison.candidate_loss) & np.isfinite(comparison.reference_loss)
    if uneven.any():
        reason = (
            f"the candidate's loss is not finite on {uneven.sum():,} of {len(uneven):,} rows where the reference's is"
        )
        return decide.judged("finite losses", False, reason, statistic=float(uneven.sum()), threshold=0)
    uneven = np.isfinite(comparison.candidate_loss) & ~np.isfinite(comparison.reference_loss)
    if uneven.any():
        reason = (
            f"the loss of {comparison.reference_name} is not finite on {uneven.sum():,} rows; nothing to compare with"
        )
        return Check(name="finite losses", decision=Decision.INCONCLUSIVE, reason=reason)
    return None


def _rows_with_a_loss(comparison: Comparison) -> Comparison:
    """Without the rows that carry no loss (ranking: all but one of a query)."""
    kept = np.isfinite(comparison.candidate_loss)
    scores = comparison.reference_scores
    groups = {name: np.asarray(group)[kept] for name, group in (comparison.slices or {}).items()}
    return replace(
        comparison,
        candidate_loss=comparison.candidate_loss[kept],
        reference_loss=comparison.reference_loss[kept],
        candidate_scores=comparison.candidate_scores[kept],
        labels=comparison.labels[kept],
        blocks=np.asarray(comparison.blocks)[kept],
        reference_scores=None if scores is None else scores[kept],
        slices=groups,
    )


def _too_few(blocks: int, kept: Comparison, limits: BenchmarkGate) -> Check:
    reason = (
        f"the holdout has {len(kept.labels):,} rows in {blocks} {kept.unit}; at least {limits.min_blocks} {kept.unit} "
        f"are needed to tell a difference from luck: hold out more of them (split in params.yaml) or wait for more data"
    )
    return Check(
        name=f"enough {kept.unit}",
        decision=Decision.INCONCLUSIVE,
        reason=reason,
        statistic=blocks,
        threshold=limits.min_blocks,
    )


def _losses(kept: Comparison) -> list[Check]:
    candidate, reference = float(kept.candidate_loss.mean()), float(kept.reference_loss.mean())
    return [
        decide.reported("mean loss, candidate", f"candidate: {plain(candidate)}", statistic=candidate),
        decide.reported("mean loss, reference", f"{kept.reference_name}: {plain(reference)}", statistic=reference),
    ]


def _power(overall: Overall, unit: str, limits: BenchmarkGate) -> list[Check]:
    low, high = overall.interval
    half = (high - low) / 2
    smallest = statistics.detectable(overall.error, overall.blocks, limits.confidence)
    checks = [
        decide.reported("half-width", f"this holdout resolves ±{plain(half)}", statistic=half),
        decide.reported(
            "smallest detectable difference",
            f"a true difference of {plain(smallest)} is found in four of five such holdouts",
            statistic=smallest,
            threshold=overall.margin,
        ),
    ]
    if overall.margin <= 0:
        return checks
    needed = max(
        statistics.blocks_needed(overall.error, overall.blocks, overall.margin, limits.confidence), limits.min_blocks
    )
    reason = (
        f"{needed:,} {unit} would find a difference of the margin, {plain(overall.margin)}, in four of five holdouts"
    )
    return [*checks, decide.reported(f"{unit} needed", reason, statistic=needed, threshold=overall.blocks)]


def _width_by_blocks(overall: Overall, unit: str, limits: BenchmarkGate) -> Curve:
    """Half-width of the interval against the number of blocks, up to four times what there is."""
    at = np.unique(np.linspace(max(2, overall.blocks // 4), 4 * overall.blocks, 40).astype(np.int64))
    widths = statistics.half_width(overall.error, overall.blocks, at, limits.confidence)
    return Curve(name=f"half-width by {unit}", x=tuple(at.astype(float).tolist()), y=tuple(widths.tolist()))
