"""Verdicts made on the spot, shaped as the gates shape them, for tests of whatever renders or reads a verdict."""

import math
from typing import Any

from pipeline.gates.slices import COLUMNS
from pipeline.verdict import (
    BundleRef,
    Check,
    Curve,
    Decision,
    GateResult,
    Holdout,
    Table,
    Verdict,
)

BOTH = ("candidate", "production")
PASS, FAIL, INCONCLUSIVE = Decision.PASS, Decision.FAIL, Decision.INCONCLUSIVE
CANDIDATE = BundleRef(
    version="3f9a1c27e4b8d05566aa90c1d27e8f4413b2a9c0de71f2384c5b6a7980e1d2f3",
    model="flight-delay",
    estimator="logistic",
    rule={"kind": "time", "trained_until": "2013-05-03"},
    training_rows=104_512,
    loss=0.4587,
)
PRODUCTION = BundleRef(
    version="b07d55e1902c43af8e6d1f7a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e",
    model="flight-delay",
    estimator="logistic",
    rule={"kind": "time", "trained_until": "2013-03-03"},
    training_rows=51_903,
    loss=0.5214,
)
HOLDOUT = Holdout(
    id="9c41d2ab77e0f3124c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3",
    rows=25_306,
    blocks=28,
    first="2013-05-04",
    last="2013-05-31",
    looks=1,
)


def verdict(**changes: Any) -> Verdict:
    """A candidate that is better than production by 10 % and passes every gate; fields given replace its own."""
    fields: dict[str, Any] = {
        "key": "5d1f0b6e8c2a47930d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e",
        "candidate": CANDIDATE,
        "production": PRODUCTION,
        "production_note": "k8s/releases/production/bundle.dvc on main names it",
        "task": "classification",
        "title": "Arrives more than 15 minutes late",
        "rule": "non-inferior",
        "holdout": HOLDOUT,
        "decision": PASS,
        "reason": "better by 10 %: -.0508 [-.0831, -.0214] against production, margin .0102",
        "next_step": "merge; main releases it to staging",
        "gates": (data(), benchmark(), differential(), load()),
    }
    return Verdict(**{**fields, **changes})


def first_release() -> Verdict:
    """Nothing is in production: only the candidate's figures, against the constant baseline, and no differential."""
    bench = benchmark(reference="the constant baseline")
    return verdict(
        production=None,
        production_note="nothing has been released to production yet",
        rule="first release",
        gates=(data(), bench, load(production=False)),
    )


def regression() -> Verdict:
    """Minutes of delay: no ROC, no precision and recall, no flips."""
    result = benchmark()
    kept = tuple(one for one in result.curves if one.name.startswith(("calibration", "half-width")))
    checks = tuple(one for one in result.checks if not one.name.startswith(("ROC", "average", "Brier")))
    return verdict(task="regression", gates=(data(), result.model_copy(update={"curves": kept, "checks": checks})))


def inconclusive() -> Verdict:
    """Too few days: one check, no statistics, and a sentence that says what to do."""
    reason = "the holdout has 300 rows in 9 days; at least 20 days are needed to tell a difference from luck"
    few = Check(name="enough days", decision=INCONCLUSIVE, reason=reason, statistic=9, threshold=20)
    gate = GateResult(gate="benchmark", decision=INCONCLUSIVE, reason=reason, checks=(few,))
    step = "hold out more days (split in params.yaml) or wait for more data, then run `flightline gate` again"
    return verdict(decision=INCONCLUSIVE, reason=reason, next_step=step, gates=(data(), gate))


def data() -> GateResult:
    """The data gate: everything sound."""
    checks = (
        Check(name="schema", decision=PASS, reason="15 columns, all there and of their type"),
        Check(
            name="out of range", decision=PASS, reason="2 of 25,306 values of seats", statistic=8e-05, threshold=0.0005
        ),
        Check(name="relation dewp <= temp", decision=PASS, reason="holds in every row", statistic=0.0, threshold=0.001),
        Check(name="labelled", decision=PASS, reason="97.2 % of rows have a label", statistic=0.972, threshold=0.8),
        Check(name="leakage", decision=PASS, reason="no feature alone reaches AUC .90", statistic=0.66, threshold=0.9),
        Check(name="freshness", decision=None, reason="the newest label is 1 day old", statistic=1),
    )
    columns = Table(
        name="columns",
        columns=("column", "unit", "null in training", "null in holdout", "out of range", "unseen", "alone predicts"),
        rows=(("hour", None, 0.0, 0.0, 0, 0, 0.66), ("seats", None, 0.151, 0.149, 2, 0, 0.53)),
    )
    inputs = {"max_out_of_range_share": 0.0005, "min_labelled_share": 0.8}
    reason = "130,218 rows are sound: 104,512 train, 25,306 are held out"
    return GateResult(gate="data", decision=PASS, reason=reason, checks=checks, inputs=inputs, tables=(columns,))


def benchmark(*, reference: str = "production") -> GateResult:
    """The benchmark gate: a clear gain, every judged slice without clear harm."""
    names = BOTH if reference == "production" else ("candidate",)
    low, high = -0.0831, -0.0214
    main = Check(
        name="loss",
        decision=PASS,
        reason=f"better by 10 %: -.0508 [-.0831, -.0214] against {reference}, margin .0102",
        statistic=-0.0508,
        threshold=0.0102,
        interval=(low, high),
    )
    harm = Check(
        name="slices",
        decision=PASS,
        reason="no clear harm beyond .0153 in 19 slices; 4 too small to judge are listed",
        statistic=0,
        threshold=0,
    )
    checks = (
        main,
        harm,
        _reported("mean loss, candidate", 0.4587, "candidate: .4587"),
        _reported("mean loss, reference", 0.5095, f"{reference}: .5095"),
        _reported("half-width", 0.0309, "this holdout resolves ±.0309"),
        Check(
            name="smallest detectable difference",
            decision=None,
            reason="a true difference of .0384 is found in four of five such holdouts",
            statistic=0.0384,
            threshold=0.0102,
        ),
        Check(
            name="days needed",
            decision=None,
            reason="367 days would find a difference of the margin, .0102, in four of five holdouts",
            statistic=367,
            threshold=28,
        ),
        *(_reported(f"ROC AUC, {name}", 0.712 - 0.021 * at, f"{name}") for at, name in enumerate(names)),
        *(_reported(f"average precision, {name}", 0.441 - 0.03 * at, f"{name}") for at, name in enumerate(names)),
        *(_reported(f"Brier score, {name}", 0.1432 + 0.017 * at, f"{name}") for at, name in enumerate(names)),
    )
    days = range(7, 113, 3)
    curves = [curve for at, name in enumerate(names) for curve in _of_classification(name, at)]
    widths = Curve(
        name="half-width by days",
        x=tuple(map(float, days)),
        y=tuple(2.05 * 0.0151 * math.sqrt(28 / day) * (1 + 1.2 / day) for day in days),
    )
    return GateResult(
        gate="benchmark",
        decision=PASS,
        reason=main.reason,
        checks=checks,
        inputs={"margin": 0.02, "slice_margin": 0.03, "resamples": 2000, "confidence": 0.95, "rule": "non-inferior"},
        tables=(slices(),),
        curves=(*curves, widths),
        seconds=4.1,
    )


def differential() -> GateResult:
    """The differential gate: 6 % of decisions flip, within the budget."""
    checks = (
        Check(
            name="flips", decision=PASS, reason="6.1 % of decisions flip, 20 % allowed", statistic=0.061, threshold=0.2
        ),
        Check(name="parity", decision=PASS, reason="ONNX equals the estimator", statistic=4.3e-07, threshold=1e-05),
        Check(name="request and response", decision=PASS, reason="requests and responses are those of API 1"),
        _reported("score distance", 0.112, "the two distributions of scores are at most .1120 apart (KS)"),
        _reported("score shift", 0.0004, "scores moved by -.0412 on average over 28 days, p .0004"),
        *(_reported(f"observed over expected, {name}", 1.02 - 0.2 * at, name) for at, name in enumerate(BOTH)),
    )
    flips = Table(
        name="largest flips",
        columns=("date", "carrier", "flight", "origin", "production", "candidate", "outcome", "hour", "visib"),
        rows=(
            ("2013-05-08", "UA", "1545", "EWR", 0.183, 0.694, 1.0, 18, 0.25),
            ("2013-05-23", "EV", "4412", "EWR", 0.204, 0.688, 1.0, 19, 1.5),
            ("2013-05-11", "B6", "683", "JFK", 0.611, 0.172, 0.0, 7, 10.0),
        ),
    )
    middles = [(at + 0.5) / 40 for at in range(40)]
    curves = tuple(
        Curve(name=f"scores: {name}", x=tuple(middles), y=tuple(_bell(x, mean) for x in middles))
        for name, mean in (("candidate", 0.2), ("production", 0.26))
    )
    return GateResult(
        gate="differential",
        decision=PASS,
        reason="6.1 % of decisions flip, 20 % allowed",
        checks=checks,
        inputs={"max_flip_share": 0.2, "largest_flips": 10, "parity_tolerance": 1e-05},
        tables=(flips,),
        curves=curves,
        seconds=0.9,
    )


def load(*, production: bool = True) -> GateResult:
    """The load gate: within the SLO, as fast as production."""
    checks = [
        Check(name="candidate serves", decision=PASS, reason="ready .31 s after its start", statistic=0.31),
        Check(
            name="p95",
            decision=PASS,
            reason="p95 is 1.9 ms; the SLO allows 50.0 ms",
            statistic=0.0019,
            threshold=0.05,
        ),
        Check(
            name="throughput",
            decision=PASS,
            reason="6,120 answers/s; the SLO asks for 200",
            statistic=6120.0,
            threshold=200.0,
        ),
        Check(
            name="memory",
            decision=PASS,
            reason="88 MiB resident; the SLO allows 120 MiB",
            statistic=92_274_688,
            threshold=125_829_120,
        ),
        Check(name="knee", decision=None, reason="6,480 answers/s with 16 users", statistic=16.0),
    ]
    names = BOTH if production else ("candidate",)
    if production:
        slower = "p95 is 1.02x production's [.97, 1.08] over 5 paired rounds; 1.25x is allowed"
        checks.append(
            Check(name="slower", decision=PASS, reason=slower, statistic=1.02, threshold=1.25, interval=(0.97, 1.08))
        )
    servers = Table(
        name="servers under load",
        columns=("server", "rounds", "requests", "failed", "p50 ms", "p95 ms", "answers/s", "memory MiB"),
        rows=tuple((name, 5, 30_600 - 400 * at, 0, 1.24, 1.9 + at / 25, 6120, 88) for at, name in enumerate(names)),
    )
    users, rates = (1, 2, 4, 8, 16, 32, 64), (1400, 2750, 4900, 6120, 6480, 6510, 6390)
    waits = tuple(at / rate for at, rate in zip(users, rates, strict=True))
    stress = Table(
        name="stress",
        columns=("users", "answers/s", "p50 ms", "p95 ms", "failed"),
        rows=tuple((at, rate, wait * 1e3, wait * 1.6e3, 0) for at, rate, wait in zip(users, rates, waits, strict=True)),
    )
    quantiles = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
    curves = (
        *(
            Curve(
                name=f"latency {name}",
                x=quantiles,
                y=tuple((0.8 + at / 20 + 0.5 * q**3 / (1.02 - q) ** 0.4) / 1e3 for q in quantiles),
            )
            for at, name in enumerate(names)
        ),
        Curve(name="stress throughput", x=tuple(map(float, users)), y=tuple(map(float, rates))),
        Curve(name="stress p95", x=tuple(map(float, users)), y=tuple(wait * 1.6 for wait in waits)),
    )
    return GateResult(
        gate="load",
        decision=PASS,
        reason="p95 is 1.9 ms; the SLO allows 50.0 ms",
        checks=tuple(checks),
        inputs={"slo": {"p95_seconds": 0.05, "error_ratio": 0.01}, "limits": {"users": 8, "stress_users": users}},
        tables=(servers, stress),
        curves=curves,
        seconds=17.2,
    )


def slices(*, names: dict[str, tuple[str, ...]] | None = None) -> Table:
    """The table of slices: groups of `names` by dimension, the last of each dimension with 6 or more too small."""
    chosen = names or {
        "carrier": ("9E", "AA", "B6", "DL", "EV", "F9", "MQ", "UA", "US", "VX", "WN", "HA"),
        "origin": ("EWR", "JFK", "LGA"),
        "part of day": ("morning", "afternoon", "evening"),
        "visibility": ("clear", "haze", "fog", "unknown", "mist", "none"),
    }
    rows = [row for dimension, groups in chosen.items() for row in _slices_of(dimension, groups)]
    return Table(name="slices", columns=COLUMNS, rows=tuple(rows))


def _slices_of(dimension: str, groups: tuple[str, ...]) -> list[tuple[str | float | int | None, ...]]:
    rows: list[tuple[str | float | int | None, ...]] = []
    for at, group in enumerate(groups):
        small = len(groups) > 5 and at >= len(groups) - 2
        few = small and at == len(groups) - 1
        size = 90 if few else 420 if small else 5400 - 390 * at
        difference = -0.05 + 0.06 * math.sin(1.7 * at + len(dimension))
        half = 2.4 / math.sqrt(size)
        bounds = (None, None) if few else (difference - half, difference + half)
        tested = (None, "listed") if small else (1.0, "pass")
        rows.append((dimension, group, size, 11 if few else 28, 0.51, 0.51 + difference, difference, *bounds, *tested))
    return rows


def _of_classification(name: str, at: int) -> tuple[Curve, Curve, Curve]:
    x = [point / 60 for point in range(61)]
    means = [0.03 + 0.75 * (bin_ / 20) ** 2 for bin_ in range(20)]
    observed = tuple(min(0.98, mean * (1.02 - 0.3 * at) + 0.012 * math.sin(7 * mean)) for mean in means)
    return (
        Curve(name=f"calibration: {name}", x=tuple(means), y=observed, weight=(1265.0,) * 20),
        Curve(name=f"ROC: {name}", x=tuple(x), y=tuple(point ** (0.45 + 0.06 * at) for point in x)),
        Curve(
            name=f"precision by recall: {name}",
            x=tuple(x),
            y=tuple(0.2 + (0.7 - 0.1 * at) * (1 - point) ** 2 for point in x),
        ),
    )


def _bell(x: float, mean: float) -> float:
    return 0.11 * math.exp(-(((x - mean) / 0.13) ** 2))


def _reported(name: str, statistic: float, reason: str) -> Check:
    return Check(name=name, decision=None, reason=reason, statistic=statistic)
