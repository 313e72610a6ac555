"""The differential gate: what changes for callers if the candidate replaces production, and is the bundle the model?

Pure: `judge` takes scores of the same held-out rows and returns the gate's result.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.contract import Floats
from pipeline.config import DifferentialGate
from pipeline.gates import compatibility, decide, figures, statistics
from pipeline.gates.decide import bare, percent, plain, signed
from pipeline.verdict import Check, Curve, Decision, GateResult, Table
from serving.signature import Signature


@dataclass(frozen=True)
class Scored:
    """A bundle's signature and its scores (rows,) of the held-out rows, as ONNX gives them."""

    signature: Signature
    scores: Floats


@dataclass(frozen=True)
class DifferentialInputs:
    """The held-out rows (key, request columns) and what was said of them; arrays have shape (rows,).

    `estimator_scores` are the candidate's own, from before its conversion to ONNX. `production` is None before the
    first release. `unit` is what a block is called.
    """

    rows: pd.DataFrame
    key: tuple[str, ...]
    blocks: NDArray[Any]
    labels: Floats
    candidate: Scored
    estimator_scores: Floats
    production: Scored | None = None
    unit: str = "days"


def judge(given: DifferentialInputs, limits: DifferentialGate) -> GateResult:
    """Decide. Scores that are not finite or not one per row fail at once; nothing else could be computed."""
    inputs = {**limits.model_dump(), "rows": len(given.rows), "production": given.production is not None}
    usable = _usable(given)
    if usable is not None:
        return decide.conclude("differential", [usable], "", inputs=inputs)
    checks = [_varies(given), _in_range(given), _parity(given, limits), _observed("candidate", given, given.candidate)]
    if given.production is None:
        checks.append(decide.reported("against production", "no production yet: there is nothing to differ from"))
        tables: tuple[Table, ...] = ()
    else:
        against, tables = _against(given, given.production, limits)
        checks += against
    passed = "; ".join(check.reason for check in checks if check.name in {"parity", "flips", "request and response"})
    return decide.conclude("differential", checks, passed, inputs=inputs, tables=tables, curves=_histograms(given))


def _usable(given: DifferentialInputs) -> Check | None:
    """The check that fails where scores are missing, NaN or infinite, else None."""
    for who, scores in (("the candidate's bundle", given.candidate.scores), ("the estimator", given.estimator_scores)):
        if scores.shape != (len(given.rows),):
            reason = f"{who} gave {scores.size:,} scores for {len(given.rows):,} rows; train and bundle again"
            return decide.judged("finite scores", False, reason)
        bad = int((~np.isfinite(scores)).sum())
        if bad:
            reason = f"{bad:,} of {len(scores):,} scores of {who} are NaN or infinite; every row needs a score"
            return decide.judged("finite scores", False, reason, statistic=bad, threshold=0)
    if not len(given.rows):
        return decide.judged("finite scores", False, "there are no held-out rows to score")
    return None


def _varies(given: DifferentialInputs) -> Check:
    scores = given.candidate.scores
    distinct = len(np.unique(scores))
    reason = f"{distinct:,} different scores on {len(scores):,} rows"
    if distinct == 1:
        reason = f"every one of {len(scores):,} rows scores {plain(float(scores[0]))}: a constant is not a model"
    return decide.judged("scores vary", distinct > 1, reason, statistic=distinct, threshold=1)


def _in_range(given: DifferentialInputs) -> Check:
    output, scores = given.candidate.signature.output, given.candidate.scores
    low = -np.inf if output.minimum is None else output.minimum
    high = np.inf if output.maximum is None else output.maximum
    outside = int(((scores < low) | (scores > high)).sum())
    reason = f"{outside:,} scores are outside the promised {low:g} to {high:g}"
    return decide.judged("score range", not outside, reason, statistic=outside, threshold=0)


def _parity(given: DifferentialInputs, limits: DifferentialGate) -> Check:
    """ONNX against estimator; scores above one are compared relative to their size, as float32 is."""
    wanted = given.estimator_scores
    apart = np.abs(given.candidate.scores.astype(float) - wanted) / np.maximum(1, np.abs(wanted))
    worst = int(apart.argmax())
    limit = limits.parity_tolerance
    reason = f"ONNX equals the estimator within {apart[worst]:.1e}, allowed {limit:.0e}"
    if apart[worst] > limit:
        reason = (
            f"ONNX is not the estimator: {(apart > limit).sum():,} rows differ by more than {limit:.0e}, most by "
            f"{apart[worst]:.2g} ({decide.row_key(given.rows.iloc[worst], given.key)}: ONNX "
            f"{given.candidate.scores[worst]:.6g}, estimator {wanted[worst]:.6g}); the conversion or the order "
            "of features is wrong"
        )
    return decide.judged("parity", bool(apart[worst] <= limit), reason, statistic=float(apart[worst]), threshold=limit)


def _observed(name: str, given: DifferentialInputs, scored: Scored) -> Check:
    """Mean outcome over mean score: 1 where the scores are right on average."""
    title = f"observed over expected, {name}"
    if scored.signature.task == "ranking":
        return decide.reported(title, "a ranking score expects no outcome")
    observed, expected = float(given.labels.mean()), float(scored.scores.mean(dtype=float))
    ratio = observed / expected if expected else float("nan")
    return decide.reported(title, f"{name}: observed {plain(observed)}, expected {plain(expected)}", statistic=ratio)


def _against(
    given: DifferentialInputs, production: Scored, limits: DifferentialGate
) -> tuple[list[Check], tuple[Table, ...]]:
    compatible = compatibility.judge(given.candidate.signature, production.signature)
    bad = int((~np.isfinite(production.scores)).sum())
    if bad:
        reason = f"{bad:,} of production's scores of these rows are NaN or infinite; nothing can be compared with them"
        return [compatible, Check(name="finite scores", decision=Decision.INCONCLUSIVE, reason=reason)], ()
    flips, tables = _flips(given, production, limits)
    measured = [_distance(given, production), _shift(given, production), _observed("production", given, production)]
    return [flips, compatible, *measured], tables


def _flips(given: DifferentialInputs, production: Scored, limits: DifferentialGate) -> tuple[Check, tuple[Table, ...]]:
    """Decisions that change, held against the budget, and the largest of them."""
    new, old = _decisions(given.candidate), _decisions(production)
    if new is None or old is None:
        return decide.reported("flips", "no decisions to flip: a signature has no threshold"), ()
    flipped = new != old
    share = float(flipped.mean())
    to_yes, to_no = int((flipped & new).sum()), int((flipped & old).sum())
    budget = percent(limits.max_flip_share)
    reason = f"{percent(share)} of decisions flip ({to_yes:,} to yes, {to_no:,} to no), budget {budget}"
    within = share <= limits.max_flip_share
    check = decide.judged("flips", within, reason, statistic=share, threshold=limits.max_flip_share)
    return check, (_largest(given, production, flipped, limits.largest_flips),)


def _decisions(scored: Scored) -> NDArray[np.bool_] | None:
    threshold = scored.signature.output.threshold
    return None if threshold is None else scored.scores >= threshold


def _largest(given: DifferentialInputs, production: Scored, flipped: NDArray[np.bool_], most: int) -> Table:
    """The flips with the largest difference in score: key, both scores, the outcome and the request."""
    apart = np.where(flipped, np.abs(given.candidate.scores - production.scores), -1)
    rows = [int(row) for row in np.argsort(-apart, kind="stable")[:most] if flipped[row]]
    features = [name for name in given.candidate.signature.names if name in given.rows and name not in given.key]
    columns = (*given.key, "production", "candidate", "outcome", *features)
    cells = [
        tuple(
            bare(value)
            for value in (
                *given.rows.iloc[row][list(given.key)],
                production.scores[row],
                given.candidate.scores[row],
                given.labels[row],
                *given.rows.iloc[row][features],
            )
        )
        for row in rows
    ]
    return Table(name="largest flips", columns=columns, rows=tuple(cells))


def _distance(given: DifferentialInputs, production: Scored) -> Check:
    distance = statistics.ks_distance(given.candidate.scores, production.scores)
    reason = f"the two distributions of scores are at most {plain(distance)} apart (KS)"
    return decide.reported("score distance", reason, statistic=distance)


def _shift(given: DifferentialInputs, production: Scored) -> Check:
    """Whether scores moved as a whole, by flipping the signs of whole blocks; reported: a shift may be intended."""
    block, names = statistics.codes(given.blocks)
    difference = given.candidate.scores.astype(float) - production.scores
    means = np.bincount(block, weights=difference) / np.bincount(block)
    p = statistics.sign_flip_p(means)
    reason = f"scores moved by {signed(float(means.mean()))} on average over {len(names)} {given.unit}, p {p:.2g}"
    return decide.reported("score shift", reason, statistic=p)


def _histograms(given: DifferentialInputs) -> tuple[Curve, ...]:
    """Both distributions of scores over the same bins."""
    every = {"candidate": given.candidate.scores}
    if given.production is not None and np.isfinite(given.production.scores).all():
        every["production"] = given.production.scores
    low = min(float(scores.min()) for scores in every.values())
    high = max(float(scores.max()) for scores in every.values())
    return tuple(figures.histogram(f"scores: {name}", scores, low, high) for name, scores in every.items())
