"""The report knows what the gates really write: every kind of curve by name, the slices by their columns."""

import numpy as np
import pandas as pd
import pytest

from pipeline.config import BenchmarkGate, DifferentialGate, LoadGate
from pipeline.gates import benchmark, differential, load
from pipeline.gates.load_measurements import QUANTILES, Burst, Measurements, ServerRun
from pipeline.report import figures
from pipeline.report.document import document
from pipeline.slo import Slo
from pipeline.verdict import GateResult
from tests import verdicts
from tests.bundles import SIGNATURE

ROWS, DAYS = 3000, 25
RANDOM = np.random.default_rng(3)
RISK = RANDOM.uniform(0.05, 0.9, ROWS)
LABELS = (RANDOM.uniform(size=ROWS) < RISK).astype(float)
OTHER = np.clip(RISK + RANDOM.normal(0, 0.1, ROWS), 0.01, 0.99)
BLOCKS = np.arange(ROWS) % DAYS


def benchmarked() -> GateResult:
    given = benchmark.Comparison(
        candidate_loss=(LABELS - RISK) ** 2,
        reference_loss=(LABELS - OTHER) ** 2,
        candidate_scores=RISK,
        labels=LABELS,
        blocks=BLOCKS,
        task="classification",
        reference_name="production",
        reference_scores=OTHER,
        slices={"carrier": pd.Series(np.where(np.arange(ROWS) % 10 == 0, "HA", "UA"))},
    )
    return benchmark.judge(given, "non-inferior", BenchmarkGate(resamples=200))


def differed() -> GateResult:
    given = differential.DifferentialInputs(
        rows=pd.DataFrame({"id": np.arange(ROWS), "temp": RISK}),
        key=("id",),
        blocks=BLOCKS,
        labels=LABELS,
        candidate=differential.Scored(SIGNATURE, RISK.astype(np.float32)),
        estimator_scores=RISK,
        production=differential.Scored(SIGNATURE, OTHER.astype(np.float32)),
    )
    return differential.judge(given, DifferentialGate())


def loaded() -> GateResult:
    burst = Burst(users=8, seconds=1.0, requests=3000, failures=0, p50=0.002, p95=0.004, p99=0.008)
    quantiles = tuple(0.001 * (1 + share) for share in QUANTILES)
    server = ServerRun(rounds=(burst,) * 5, quantiles=quantiles, ready_seconds=0.4, memory_bytes=90 << 20)
    slo = Slo(p95_seconds=0.05, error_ratio=0.01, throughput_per_second=200, memory_bytes=120 << 20)
    return load.judge(Measurements(candidate=server, production=server, stress=(burst,) * 3), slo, LoadGate())


GATES = {"benchmark": benchmarked, "differential": differed, "load": loaded}


@pytest.mark.parametrize("name", GATES)
def test_every_curve_that_a_gate_writes_is_described_and_none_is_missed(name: str) -> None:
    gate = GATES[name]()
    verdict = verdicts.verdict(gates=(gate,))
    charts = [one for one in figures.charts(gate, verdict) if isinstance(one, figures.Chart)]
    assert sum(len(chart.series) for chart in charts) == len(gate.curves) > 0
    assert [chart.title for chart in charts if chart.reading.startswith(figures.UNKNOWN)] == []
    assert figures.absent(gate, verdict) == ""


def test_slices_of_the_gate_are_drawn_and_those_not_judged_are_grey() -> None:
    gate = benchmarked()
    verdict = verdicts.verdict(gates=(gate,))
    forest = next(one for one in figures.charts(gate, verdict) if isinstance(one, figures.Forest))
    assert {bar.label: bar.kind for bar in forest.bars} == {"UA": "judged", "HA": "listed"}
    assert forest.lines


def test_headline_figures_pair_what_the_gates_measured_on_both() -> None:
    arranged = document(verdicts.verdict(gates=tuple(made() for made in GATES.values())))
    assert [row[0] for row in arranged.headline.rows] == [
        "mean loss",
        "ROC AUC",
        "average precision",
        "Brier score",
        "observed over expected",
        "latency p95, ms",
    ]
    assert all("–" not in row for row in arranged.headline.rows)  # noqa: RUF001
    assert arranged.outcome.startswith("-")
    assert "95 % interval" in arranged.outcome


def test_thresholds_drawn_across_a_picture_are_those_of_the_gate() -> None:
    gate = loaded()
    charts = {one.name: one for one in figures.charts(gate, verdicts.verdict(gates=(gate,)))}
    assert [line.at for line in charts["load-latency"].lines] == [50.0]
    assert [line.at for line in charts["load-stress-throughput"].lines] == [8.0]
