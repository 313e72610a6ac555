"""The benchmark and differential gates on a holdout of the shipped size, with made-up scores."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.figures import Figure
from model.contract import Floats
from pipeline.config import BenchmarkGate, DifferentialGate
from pipeline.gates import benchmark, differential
from serving import bundle

ROWS, DAYS = 28_000, 28
SLICES = {"origin": 3, "carrier": 12, "hour": 18, "month": 2}


def measure(path: Path, progress: Callable[[str], None], times: int = 3) -> list[Figure]:
    """Seconds for both gates together: 28,000 rows, 28 days, 35 slices, 2,000 resamples."""
    compared, differing = _benchmark_inputs(), _differential_inputs(path)
    seconds = []
    for number in range(times):
        progress(f"gates: {number + 1} of {times}")
        started = time.perf_counter()
        benchmark.judge(compared, "non-inferior", BenchmarkGate())
        differential.judge(differing, DifferentialGate())
        seconds.append(time.perf_counter() - started)
    return [Figure("benchmark and differential gates, 28 days", tuple(seconds), "s", 15, "<=")]


def _benchmark_inputs() -> benchmark.Comparison:
    candidate, production, labels = _scores()
    random = np.random.default_rng(2)
    return benchmark.Comparison(
        candidate_loss=_log_loss(candidate, labels),
        reference_loss=_log_loss(production, labels),
        candidate_scores=candidate,
        labels=labels,
        blocks=_days(),
        task="classification",
        reference_name="production",
        reference_scores=production,
        slices={name: random.integers(0, count, ROWS).astype(str) for name, count in SLICES.items()},
    )


def _differential_inputs(path: Path) -> differential.DifferentialInputs:
    candidate, production, labels = _scores()
    signature = bundle.load(path).signature
    rows = pd.DataFrame({name: np.arange(ROWS) for name in signature.names} | {"row": np.arange(ROWS)})
    return differential.DifferentialInputs(
        rows=rows,
        key=("row",),
        blocks=_days(),
        labels=labels,
        candidate=differential.Scored(signature, candidate),
        estimator_scores=candidate,
        production=differential.Scored(signature, production),
    )


def _scores() -> tuple[Floats, Floats, Floats]:
    """Two similar models' probabilities and the outcomes; shape (rows,) each."""
    random = np.random.default_rng(1)
    margin = random.normal(-1.2, 1.0, ROWS)
    candidate, production = (1 / (1 + np.exp(-margin - random.normal(0, 0.1, ROWS))) for _ in range(2))
    return candidate, production, (random.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(float)


def _log_loss(scores: Floats, labels: Floats) -> Floats:
    return -np.log(np.where(labels > 0, scores, 1 - scores))


def _days() -> np.ndarray:
    return np.arange(ROWS) * DAYS // ROWS
