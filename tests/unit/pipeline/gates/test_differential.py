from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import pytest

from pipeline.config import DifferentialGate
from pipeline.gates import differential
from pipeline.gates.differential import DifferentialInputs, Scored
from pipeline.verdict import Decision
from serving.bundle import open_session
from serving.signature import Signature, encode
from tests.bundles import SIGNATURE, graph, stamp

LIMITS = DifferentialGate(max_flip_share=0.2, largest_flips=10, parity_tolerance=1e-5)
REGRESSION = msgspec.structs.replace(
    SIGNATURE,
    task="regression",
    output=msgspec.structs.replace(SIGNATURE.output, threshold=None, minimum=None, maximum=None),
)


def given(
    rows: int = 2000, *, noise: float = 0.05, signature: Signature = SIGNATURE, **changes: object
) -> DifferentialInputs:
    """A candidate that differs from production by a little noise, over 20 days."""
    random = np.random.default_rng(0)
    scores = random.uniform(0.1, 0.9, rows)
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "temp": random.uniform(0, 90, rows),
            "seats": random.integers(1, 300, rows).astype(float),
            "origin": random.choice(["EWR", "JFK"], rows),
            "dest": random.choice(["ATL", "ORD"], rows),
        }
    )
    fields = {
        "rows": frame,
        "key": ("id",),
        "blocks": np.arange(rows) % 20,
        "labels": (random.random(rows) < scores).astype(float),
        "candidate": Scored(signature, scores.astype(np.float32)),
        "estimator_scores": scores,
        "production": Scored(signature, (scores + random.normal(0, noise, rows)).astype(np.float32)),
    }
    return DifferentialInputs(**{**fields, **changes})


def judge(inputs: DifferentialInputs):
    return differential.judge(inputs, LIMITS)


def check(result, name):
    return next(one for one in result.checks if one.name == name)


def refused(result, name):
    """The reason, where this check and no other refused the candidate."""
    assert result.decision is Decision.FAIL
    assert [one.name for one in result.checks if one.decision is Decision.FAIL] == [name]
    return result.reason


def candidate_scoring(inputs: DifferentialInputs, scores: np.ndarray) -> DifferentialInputs:
    return replace(inputs, candidate=replace(inputs.candidate, scores=scores), estimator_scores=scores.astype(float))


def test_a_candidate_much_like_production_passes():
    result = judge(given())
    assert result.decision is Decision.PASS
    assert "ONNX equals the estimator within" in result.reason
    assert {curve.name for curve in result.curves} == {"scores: candidate", "scores: production"}


def test_shares_of_a_score_histogram_add_up_to_one():
    assert [sum(curve.y) for curve in judge(given()).curves] == pytest.approx([1, 1])


def test_a_constant_score_is_refused():
    inputs = given(production=None)
    assert "every one of 2,000 rows scores .2250" in refused(
        judge(candidate_scoring(inputs, np.full(2000, 0.225, np.float32))), "scores vary"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_scores_are_refused_and_counted(bad):
    inputs = given()
    scores = inputs.candidate.scores.copy()
    scores[:3] = bad
    assert "3 of 2,000 scores of the candidate's bundle" in refused(
        judge(candidate_scoring(inputs, scores)), "finite scores"
    )


def test_nan_scores_of_the_estimator_are_refused():
    inputs = given()
    inputs.estimator_scores[5] = np.nan
    assert "1 of 2,000 scores of the estimator" in refused(judge(inputs), "finite scores")


def test_scores_for_other_rows_than_these_are_refused():
    inputs = given()
    assert "gave 1,999 scores for 2,000 rows" in refused(
        judge(replace(inputs, estimator_scores=inputs.estimator_scores[1:])), "finite scores"
    )


def test_no_rows_are_refused():
    inputs = given(rows=0, production=None)
    assert "no held-out rows" in refused(judge(inputs), "finite scores")


def test_scores_outside_the_promised_range_are_refused():
    inputs = given(production=None)
    scores = inputs.candidate.scores.copy()
    scores[0] = 1.5
    assert "1 scores are outside the promised 0 to 1" in refused(
        judge(candidate_scoring(inputs, scores)), "score range"
    )


def test_onnx_that_is_not_the_estimator_is_refused_with_the_worst_row():
    inputs = given()
    inputs.estimator_scores[77] += 0.01
    reason = refused(judge(inputs), "parity")
    assert "1 rows differ by more than 1e-05" in reason
    assert "(id 77: ONNX" in reason


@pytest.mark.parametrize(("apart", "sound"), [(8e-6, True), (1.2e-5, False)])
def test_parity_is_held_to_its_tolerance(apart, sound):
    inputs = given(production=None)
    exact = inputs.candidate.scores.astype(float)
    exact[4] += apart
    assert (judge(replace(inputs, estimator_scores=exact)).decision is Decision.PASS) is sound


def test_parity_of_large_scores_is_relative_to_their_size():
    minutes = np.linspace(100, 2000, 2000)
    inputs = given(signature=REGRESSION, production=None)
    inputs = replace(inputs, candidate=Scored(REGRESSION, minutes.astype(np.float32)), estimator_scores=minutes)
    assert np.abs(inputs.candidate.scores - minutes).max() > LIMITS.parity_tolerance
    assert judge(inputs).decision is Decision.PASS


def test_features_in_another_order_break_parity(tmp_path):
    inputs = given(production=None)
    weights = np.array([0.01, 0.001, 0.2, -0.1])
    swapped = msgspec.structs.replace(SIGNATURE, inputs=SIGNATURE.inputs[::-1])
    (tmp_path / "signature.json").write_bytes(msgspec.json.encode(swapped))
    stamp(graph(SIGNATURE, weights), tmp_path)
    columns = {name: inputs.rows[name].to_numpy() for name in SIGNATURE.names}
    onnx = open_session(tmp_path / "model.onnx").run(["score"], {"rows": encode(swapped, columns)})[0].reshape(-1)
    estimator = 1 / (1 + np.exp(-(encode(SIGNATURE, columns) @ weights)))
    result = judge(replace(inputs, candidate=Scored(swapped, onnx), estimator_scores=estimator))
    assert "the order of features is wrong" in refused(result, "parity")


def test_flips_within_the_budget_pass_with_the_largest_first():
    result = judge(given())
    flips, table = check(result, "flips"), result.tables[0]
    apart = [abs(row[1] - row[2]) for row in table.rows]
    assert 0.02 < flips.statistic < 0.10
    assert table.columns == ("id", "production", "candidate", "outcome", "temp", "seats", "origin", "dest")
    assert len(table.rows) == LIMITS.largest_flips
    assert apart == sorted(apart, reverse=True)
    assert all((row[1] >= 0.5) != (row[2] >= 0.5) for row in table.rows)


def exactly(flips: int) -> DifferentialInputs:
    inputs = given()
    scores = inputs.candidate.scores
    production = np.where(np.arange(2000) < flips, 1 - scores, scores).astype(np.float32)
    return replace(inputs, production=Scored(SIGNATURE, production))


@pytest.mark.parametrize(("flips", "expected"), [(400, Decision.PASS), (401, Decision.FAIL)])
def test_flips_beyond_the_budget_are_refused(flips, expected):
    result = judge(exactly(flips))
    assert check(result, "flips").statistic == flips / 2000
    assert check(result, "flips").decision is expected
    assert result.decision is expected


def test_each_bundle_decides_by_its_own_threshold():
    inputs = given(noise=0.0)
    moved = msgspec.structs.replace(SIGNATURE, output=msgspec.structs.replace(SIGNATURE.output, threshold=0.4))
    result = judge(replace(inputs, candidate=replace(inputs.candidate, signature=moved)))
    assert check(result, "flips").statistic == pytest.approx(0.125, abs=0.03)


def test_a_signature_that_breaks_callers_is_refused():
    inputs = given()
    narrower = msgspec.structs.replace(SIGNATURE, inputs=SIGNATURE.inputs[:3])
    result = judge(replace(inputs, candidate=replace(inputs.candidate, signature=narrower)))
    assert "input 'dest' was removed" in refused(result, "request and response")


def test_distance_and_shift_of_the_scores_are_reported_and_not_judged():
    inputs = given(noise=0.0)
    moved = Scored(SIGNATURE, (inputs.candidate.scores - 0.05).astype(np.float32))
    result = judge(replace(inputs, production=moved))
    assert check(result, "score distance").statistic == pytest.approx(0.0625, abs=0.02)
    assert check(result, "score shift").statistic < 0.001
    assert check(result, "score distance").decision is check(result, "score shift").decision is None


def test_noise_alone_is_no_shift():
    assert check(judge(given()), "score shift").statistic > 0.05


def test_observed_over_expected_is_reported_for_both():
    result = judge(given())
    assert check(result, "observed over expected, candidate").statistic == pytest.approx(1, abs=0.06)
    assert check(result, "observed over expected, production").decision is None


def test_a_first_release_is_judged_by_itself_alone():
    result = judge(given(production=None))
    assert result.decision is Decision.PASS
    assert "no production yet" in check(result, "against production").reason
    assert [curve.name for curve in result.curves] == ["scores: candidate"]
    assert result.tables == ()


def test_nan_scores_of_production_are_inconclusive():
    inputs = given()
    inputs.production.scores[0] = np.nan
    result = judge(inputs)
    assert result.decision is Decision.INCONCLUSIVE
    assert "1 of production's scores" in result.reason


def test_regression_has_no_flips_and_works():
    result = judge(given(signature=REGRESSION))
    assert result.decision is Decision.PASS
    assert check(result, "flips").decision is None
    assert result.tables == ()
