"""The statistics of the gates: everything is resampled by block, because rows of one block (a day) share their luck.

The interval is the studentised block bootstrap. Chosen by simulation over the percentile interval, its widened form
and a t interval: at 20 to 28 blocks of unequal size all of them are near the nominal 5 % when days are symmetric, but
with skewed days the others err up to 12 % on one side, the studentised one up to 8 %.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model.contract import Floats

_CELLS = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """Means of several series and how far they may be off. All arrays are over series but `pivots` (resamples, series).

    `error` is the standard error of the mean, `blocks` how many blocks the series has rows in, and `pivots` the
    resampled (mean - estimate) / error. A series with fewer than two blocks has no error: NaN.
    """

    estimate: Floats
    error: Floats
    blocks: NDArray[np.int64]
    pivots: Floats

    def lower(self, confidence: float) -> Floats:
        """One-sided bound: the true mean is above it with this confidence."""
        return self.estimate - np.quantile(self.pivots, confidence, axis=0) * self.error

    def upper(self, confidence: float) -> Floats:
        """One-sided bound: the true mean is below it with this confidence."""
        return self.estimate - np.quantile(self.pivots, 1 - confidence, axis=0) * self.error

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        """Two-sided interval, as much in doubt on one side as on the other."""
        each_side = (1 + confidence) / 2
        return self.lower(each_side), self.upper(each_side)

    def p_above(self, limit: float) -> Floats:
        """One-sided p of each mean being above `limit`: the larger of Student's and the bootstrap's.

        The bootstrap's own p cannot be smaller than one in its resamples, too coarse after Holm; Student's has no such
        floor but ignores skew. Taking the larger never claims more than either.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            pivot = (self.estimate - limit) / self.error
        student = stats.t.sf(pivot, np.maximum(self.blocks - 1, 1))
        counted = (self.pivots >= pivot).mean(axis=0)
        return np.where(np.isnan(pivot), 1.0, np.maximum(student, counted))


def block_sums(
    values: Floats, blocks: NDArray[np.int64], groups: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Sum and count of the values (rows,) in each cell of (block, group), both of `shape`."""
    cells = blocks * shape[1] + groups
    size = shape[0] * shape[1]
    sums = np.bincount(cells, weights=values, minlength=size).astype(np.float64).reshape(shape)
    counts = np.bincount(cells, minlength=size).astype(np.float64).reshape(shape)
    return sums, counts


def bootstrap(sums: Floats, counts: Floats, *, resamples: int, seed: int) -> Bootstrap:
    """Resample whole blocks; `sums` and `counts` of shape (blocks, series) hold each block's sum and number of rows.

    Every series is resampled by the same draws. Same seed, same result.
    """
    estimate, error = _ratio(np.ones((1, len(sums))), sums, counts)
    present = (counts > 0).sum(axis=0)
    pivots = np.concatenate(
        [
            _pivots(weights, sums, counts, estimate[0])
            for weights in _draws(sums.shape[0], sums.shape[1], resamples, seed)
        ]
    )
    return Bootstrap(estimate[0], np.where(present > 1, error[0], np.nan), present, pivots)


def _pivots(weights: Floats, sums: Floats, counts: Floats, estimate: Floats) -> Floats:
    """(resampled mean - estimate) / its own error; 0 where a resample has no error to divide by."""
    mean, error = _ratio(weights, sums, counts)
    usable = np.isfinite(mean) & (error > 0)
    return np.divide(mean - estimate, error, out=np.zeros_like(mean), where=usable)


def _ratio(weights: Floats, sums: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Mean per row and its linearised standard error: weights (draws, blocks) -> two arrays (draws, series)."""
    present = (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = weights @ counts
        mean = (weights @ sums) / rows
        squares = weights @ sums**2 - 2 * mean * (weights @ (sums * counts)) + mean**2 * (weights @ counts**2)
        squares[squares < 1e-12 * (weights @ sums**2)] = 0  # what is left when equal numbers cancel is rounding
        error = np.sqrt(squares * present / (present - 1)) / rows
    return mean, error


def _draws(blocks: int, series: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each block is drawn, (some resamples, blocks) at a time so that memory stays bounded."""
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS // max(blocks, series))
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = random.integers(0, blocks, (size, blocks)) + blocks * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * blocks).reshape(size, blocks).astype(float)


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values: reject those at or under a level, and the whole family errs no more often than that."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def half_width(error: float, blocks: int, at: NDArray[np.int64], confidence: float) -> Floats:
    """Half-width of the interval with `at` blocks instead of `blocks`, of the same kind."""
    return stats.t.ppf((1 + confidence) / 2, at - 1) * error * np.sqrt(blocks / at)


def detectable(error: float, blocks: int, confidence: float, power: float = 0.8) -> float:
    """The smallest true difference that the one-sided test finds with this power."""
    return float((stats.t.ppf(confidence, blocks - 1) + stats.t.ppf(power, blocks - 1)) * error)


def blocks_needed(error: float, blocks: int, margin: float, confidence: float, power: float = 0.8) -> int:
    """How many blocks would find a true difference of `margin` with this power."""
    normal = stats.norm.ppf(confidence) + stats.norm.ppf(power)
    return int(np.ceil(blocks * (normal * error / margin) ** 2))


def sign_flip_p(values: Floats, *, flips: int = 4999, seed: int = 0) -> float:
    """Two-sided p that the mean of independent values (one per block) is zero, by flipping their signs at random."""
    random = np.random.default_rng(seed)
    total, reached = abs(values.sum()), 0
    at_once = max(1, _CELLS // max(1, len(values)))
    for start in range(0, flips, at_once):
        signs = random.integers(0, 2, (min(at_once, flips - start), len(values))) * 2 - 1
        reached += int((np.abs(signs @ values) >= total * (1 - 1e-12)).sum())
    return (1 + reached) / (1 + flips)


def ks_distance(one: Floats, other: Floats) -> float:
    """Largest difference between two cumulative distributions, 0 (alike) to 1 (apart)."""
    return float(stats.ks_2samp(one, other, method="asymp").statistic)


def codes(values: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Each value's number, and the distinct values in order: (rows,) -> (rows,), (distinct,)."""
    distinct, number = np.unique(np.asarray(values).astype(str), return_inverse=True)
    return number.astype(np.int64), distinct
