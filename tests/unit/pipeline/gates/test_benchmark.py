import numpy as np
import pytest

from pipeline.config import BenchmarkGate
from pipeline.gates import benchmark, statistics
from pipeline.gates.benchmark import Comparison
from pipeline.verdict import Decision

LIMITS = BenchmarkGate(
    margin=0.02,
    slice_margin=0.03,
    resamples=2000,
    confidence=0.95,
    min_blocks=20,
    min_slice_rows=500,
    min_slice_blocks=20,
)


def scored(*, days: int = 28, rows: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """Labels that depend on a score, with a day effect in the outcome that no model can know."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    logit = random.normal(-1, 1.2, days * rows)
    luck = random.normal(0, 0.5, days)[day]
    labels = (random.random(len(day)) < 1 / (1 + np.exp(-logit - luck))).astype(float)
    return {"day": day.astype(str), "logit": logit, "labels": labels, "noise": random.normal(0, 1, len(day))}


def probability(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def log_loss(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    return -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))


def compare(data: dict[str, np.ndarray], candidate: np.ndarray, reference: np.ndarray, **changes: object) -> Comparison:
    given = {
        "candidate_loss": log_loss(data["labels"], candidate),
        "reference_loss": log_loss(data["labels"], reference),
        "candidate_scores": candidate,
        "reference_scores": reference,
        "labels": data["labels"],
        "blocks": data["day"],
        "task": "classification",
        "reference_name": "production",
    }
    return Comparison(**{**given, **changes})


def worse(data: dict[str, np.ndarray], by: float) -> np.ndarray:
    return probability(data["logit"] + by * data["noise"])


def check(result, name):
    return next(one for one in result.checks if one.name == name)


def against_constant(data, candidate):
    constant = np.full(len(data["labels"]), data["labels"].mean())
    return compare(data, candidate, constant, reference_scores=None, reference_name="the constant baseline")


def test_a_first_release_that_beats_the_constant_passes():
    data = scored()
    result = benchmark.judge(against_constant(data, probability(data["logit"])), "first release", LIMITS)
    assert result.decision is Decision.PASS
    assert result.reason.startswith("better by ")
    assert "the constant baseline" in result.reason


def test_labels_shuffled_is_stopped_as_a_first_release():
    data = scored()
    shuffled = np.random.default_rng(1).permutation(data["labels"])
    learnt_nothing = np.clip(shuffled.mean() + 0.02 * data["noise"], 0.01, 0.99)
    result = benchmark.judge(against_constant(data, learnt_nothing), "first release", LIMITS)
    assert result.decision is Decision.FAIL


@pytest.mark.parametrize("rule", ["non-inferior", "gain"])
def test_labels_shuffled_is_stopped_against_production(rule):
    data = scored()
    learnt_nothing = np.full(len(data["labels"]), data["labels"].mean())
    result = benchmark.judge(compare(data, learnt_nothing, probability(data["logit"])), rule, LIMITS)
    assert result.decision is Decision.FAIL
    assert result.reason.startswith("worse by ")


def test_a_persons_candidate_may_be_no_better():
    data = scored()
    result = benchmark.judge(compare(data, worse(data, 0.05), probability(data["logit"])), "non-inferior", LIMITS)
    assert result.decision is Decision.PASS
    assert result.reason.startswith("no worse, and no better: ")
    assert "margin" in result.reason


def test_a_retrain_that_is_no_better_is_refused():
    data = scored()
    result = benchmark.judge(compare(data, worse(data, 0.05), probability(data["logit"])), "gain", LIMITS)
    assert result.decision is Decision.FAIL
    assert "must gain at least the margin" in result.reason


def test_a_retrain_that_gains_ten_percent_passes_and_the_same_two_swapped_fail():
    data = scored()
    new, old = probability(data["logit"]), worse(data, 0.9)
    assert benchmark.judge(compare(data, new, old), "gain", LIMITS).decision is Decision.PASS
    assert benchmark.judge(compare(data, old, new), "gain", LIMITS).decision is Decision.FAIL
    assert benchmark.judge(compare(data, old, new), "non-inferior", LIMITS).decision is Decision.FAIL


def test_a_candidate_that_is_the_production_model_passes_as_no_worse():
    data = scored()
    same = probability(data["logit"])
    result = benchmark.judge(compare(data, same, same), "non-inferior", LIMITS)
    assert result.decision is Decision.PASS
    assert check(result, "loss").interval == (0.0, 0.0)


def test_a_holdout_that_cannot_tell_is_inconclusive_and_says_how_many_days_would():
    data = scored(days=20, rows=60)
    result = benchmark.judge(
        compare(data, worse(data, 0.35), worse({**data, "noise": -data["noise"]}, 0.35)), "gain", LIMITS
    )
    needed = check(result, "days needed")
    assert result.decision is Decision.INCONCLUSIVE
    assert "cannot tell better from worse" in result.reason
    assert needed.statistic > 20


def test_300_rows_are_inconclusive_with_what_to_do():
    data = scored(days=10, rows=30)
    result = benchmark.judge(compare(data, probability(data["logit"]), worse(data, 2)), "non-inferior", LIMITS)
    assert result.decision is Decision.INCONCLUSIVE
    assert "300 rows in 10 days; at least 20 days are needed" in result.reason
    assert "params.yaml" in result.reason


def test_the_number_of_blocks_asked_for_is_enough():
    data = scored(days=20)
    result = benchmark.judge(compare(data, probability(data["logit"]), worse(data, 2)), "non-inferior", LIMITS)
    assert result.decision is Decision.PASS


def test_candidate_trained_on_the_holdout_is_refused():
    data = scored()
    given = compare(data, probability(data["logit"]), worse(data, 1), unseen_by_candidate="trained until 2013-03-20")
    result = benchmark.judge(given, "non-inferior", LIMITS)
    assert result.decision is Decision.FAIL
    assert "the candidate was trained on rows of this holdout (trained until 2013-03-20)" in result.reason


def test_production_trained_on_the_holdout_is_inconclusive_with_the_fix():
    data = scored()
    given = compare(data, probability(data["logit"]), worse(data, 1), unseen_by_production="trained until 2013-05-01")
    result = benchmark.judge(given, "non-inferior", LIMITS)
    assert result.decision is Decision.INCONCLUSIVE
    assert "no fair comparison" in result.reason
    assert "hold out rows newer" in result.reason


def test_nan_scores_are_refused_and_counted():
    data = scored()
    scores = probability(data["logit"])
    scores[:7] = np.nan
    result = benchmark.judge(compare(data, scores, worse(data, 1)), "non-inferior", LIMITS)
    assert result.decision is Decision.FAIL
    assert "7 of 8,400 scores of the candidate are NaN" in result.reason


def test_an_infinite_loss_is_refused():
    data = scored()
    given = compare(data, probability(data["logit"]), worse(data, 1))
    given.candidate_loss[3] = np.inf
    result = benchmark.judge(given, "non-inferior", LIMITS)
    assert result.decision is Decision.FAIL
    assert "not finite on 1 of" in result.reason


def test_a_production_without_a_loss_is_inconclusive():
    data = scored()
    given = compare(data, probability(data["logit"]), worse(data, 1))
    given.reference_loss[3] = np.nan
    assert benchmark.judge(given, "non-inferior", LIMITS).decision is Decision.INCONCLUSIVE


def test_good_overall_but_clearly_worse_for_one_large_carrier_is_refused():
    data = scored()
    carrier = np.random.default_rng(5).choice(["UA", "DL", "AA", "HA"], len(data["labels"]), p=[0.3, 0.3, 0.39, 0.01])
    bad = np.where(carrier == "DL", data["logit"] * -0.2, data["logit"])
    given = compare(data, probability(bad), worse(data, 2.5), slices={"carrier": carrier})
    result = benchmark.judge(given, "non-inferior", LIMITS)
    table = {row[1]: row for row in result.tables[0].rows}
    assert check(result, "loss").decision is Decision.PASS
    assert check(result, "slices").decision is Decision.PASS, "production was as bad for that carrier"
    spared = np.where(carrier == "DL", data["logit"], data["logit"] + 2.5 * data["noise"])
    result = benchmark.judge(
        compare(data, probability(bad), probability(spared), slices={"carrier": carrier}), "non-inferior", LIMITS
    )
    table = {row[1]: row for row in result.tables[0].rows}
    assert check(result, "loss").decision is Decision.PASS
    assert result.decision is Decision.FAIL
    assert "clearly worse for carrier DL" in result.reason
    assert table["DL"][-1] == "fail"
    assert table["UA"][-1] == "pass"
    assert table["HA"][-1] == "listed", "84 rows are too few to judge"


def test_harm_below_significance_does_not_block():
    data = scored()
    carrier = np.where(np.arange(len(data["labels"])) % 14 == 0, "DL", "AA")
    candidate = np.where(carrier == "DL", data["logit"] + 0.5 * data["noise"], data["logit"])
    given = compare(data, probability(candidate), probability(data["logit"]), slices={"carrier": carrier})
    result = benchmark.judge(given, "non-inferior", LIMITS)
    row = next(row for row in result.tables[0].rows if row[1] == "DL")
    assert row[6] > LIMITS.slice_margin * check(result, "mean loss, reference").statistic, (
        "the estimate is beyond the margin"
    )
    assert row[-1] == "pass"
    assert result.decision is Decision.PASS


def test_significant_harm_within_the_slice_margin_does_not_block():
    data = scored()
    carrier = np.where(np.arange(len(data["labels"])) % 2 == 0, "DL", "AA")
    reference = log_loss(data["labels"], probability(data["logit"]))
    harm = np.where(carrier == "DL", 0.02 * reference.mean(), -0.02 * reference.mean())
    given = compare(
        data,
        probability(data["logit"]),
        probability(data["logit"]),
        candidate_loss=reference + harm,
        slices={"carrier": carrier},
    )
    assert benchmark.judge(given, "non-inferior", LIMITS).decision is Decision.PASS


@pytest.mark.parametrize(("rows", "days", "expected"), [(500, 20, "fail"), (499, 20, "listed"), (500, 19, "listed")])
def test_a_slice_is_judged_from_500_rows_on_20_days(rows, days, expected):
    data = scored()
    order = np.arange(len(data["labels"]))
    chosen = np.isin(data["day"], np.unique(data["day"])[:days]) & (order % 300 < rows // days + 1)
    chosen[np.flatnonzero(chosen)[rows:]] = False
    if len(np.unique(data["day"][chosen])) != days or chosen.sum() != rows:
        pytest.fail("the slice is not of the size the test is about")
    reference = log_loss(data["labels"], probability(data["logit"]))
    given = compare(
        data,
        probability(data["logit"]),
        probability(data["logit"]),
        candidate_loss=reference + np.where(chosen, 0.2 + 0.01 * data["noise"], -0.05),
        slices={"carrier": np.where(chosen, "XX", "rest")},
    )
    row = next(row for row in benchmark.judge(given, "non-inferior", LIMITS).tables[0].rows if row[1] == "XX")
    assert row[2:4] == (rows, days)
    assert row[-1] == expected


def test_rows_of_a_query_that_carry_no_loss_are_left_out():
    data = scored()
    given = compare(data, probability(data["logit"]), worse(data, 1), task="ranking", slices={"all": data["day"]})
    first = np.arange(len(data["labels"])) % 10 == 0
    given.candidate_loss[~first] = given.reference_loss[~first] = np.nan
    result = benchmark.judge(given, "non-inferior", LIMITS)
    assert result.decision is Decision.PASS
    assert result.inputs["rows"] == first.sum()


def test_the_gates_bounds_are_those_of_the_block_bootstrap():
    data = scored()
    given = compare(data, worse(data, 0.5), probability(data["logit"]))
    difference, (block, days) = given.candidate_loss - given.reference_loss, statistics.codes(given.blocks)
    sums, counts = statistics.block_sums(difference, block, np.zeros_like(block), (len(days), 1))
    boot = statistics.bootstrap(sums, counts, resamples=LIMITS.resamples, seed=LIMITS.seed)
    assert check(benchmark.judge(given, "non-inferior", LIMITS), "loss").interval == pytest.approx(
        tuple(bound[0] for bound in boot.interval(0.95))
    )
    assert sums.sum() / counts.sum() == pytest.approx(difference.mean())


def test_classification_is_drawn_for_both_models_in_at_most_200_points():
    data = scored()
    result = benchmark.judge(compare(data, probability(data["logit"]), worse(data, 1)), "non-inferior", LIMITS)
    names = {curve.name for curve in result.curves}
    assert {
        "calibration: candidate",
        "ROC: production",
        "precision by recall: candidate",
        "half-width by days",
    } <= names
    assert all(len(curve.x) == len(curve.y) <= 200 for curve in result.curves)
    assert 0.7 < check(result, "ROC AUC, candidate").statistic < 0.8
    assert check(result, "ROC AUC, candidate").decision is None


def test_the_constant_baseline_has_no_curves():
    data = scored()
    result = benchmark.judge(against_constant(data, probability(data["logit"])), "first release", LIMITS)
    assert not [curve.name for curve in result.curves if "production" in curve.name]


def test_regression_is_judged_by_its_own_loss():
    random = np.random.default_rng(0)
    blocks = np.repeat(np.arange(30), 50)
    labels = random.normal(20, 10, len(blocks))
    candidate, reference = labels + random.normal(0, 3, len(labels)), labels + random.normal(0, 5, len(labels))
    given = Comparison(
        candidate_loss=np.abs(labels - candidate),
        reference_loss=np.abs(labels - reference),
        candidate_scores=candidate,
        reference_scores=reference,
        labels=labels,
        blocks=blocks,
        task="regression",
        reference_name="production",
        unit="customers",
    )
    result = benchmark.judge(given, "gain", LIMITS)
    assert result.decision is Decision.PASS
    assert check(result, "mean absolute error, candidate").statistic == pytest.approx(2.4, abs=0.1)
    assert check(result, "customers needed").statistic >= 20
