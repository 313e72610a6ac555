"""The gates on real pairs of models: the story that the flights of 2013 really tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.contract import Floats
from pipeline.context import Context
from pipeline.evidence import Evidence, Scorer, gather, score
from pipeline.frames import HOLDOUT, PART
from pipeline.gate import Kind, judge, rule_of
from pipeline.production import Production
from pipeline.slo import read_slo
from pipeline.stages import bundle, evaluate, fetch, prepare, train
from pipeline.verdict import Check, Decision, GateResult
from tests.checkouts import PROJECT, checkout

pytestmark = pytest.mark.flights

MARCH, APRIL, MAY, JUNE = "2013-03-31", "2013-04-30", "2013-05-31", "2013-06-28"


def trained(root: Path, end: str, estimator: str = "logistic") -> Context:
    """A checkout with the window to `end` taken through every stage."""
    made = checkout(root)

    def window(params: dict) -> None:
        params["data"]["end"], params["estimator"]["name"] = end, estimator

    made.edit_params(window)
    context = Context(root)
    for stage in (fetch, prepare, train, evaluate, bundle):
        stage.run(context)
    return context


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Context]:
    asked = {"march": (MARCH,), "april": (APRIL,), "may": (MAY,), "june": (JUNE,), "boosted": (JUNE, "boosted")}
    return {name: trained(tmp_path_factory.mktemp(name), *window) for name, window in asked.items()}


def gates(candidate: Context, production: Context | None, kind: Kind = "change") -> dict[str, GateResult]:
    """Candidate and production on the candidate's own holdout, through all gates but load."""
    evidence = gather(candidate)
    if production is not None:
        evidence = beside(evidence, production)
    results = judge(
        evidence,
        candidate.params.gates,
        read_slo(PROJECT),
        rule_of(kind, evidence),
        ("data", "benchmark", "differential"),
        lambda _: None,
    )
    return {result.gate: result for result in results}


def beside(evidence: Evidence, production: Context) -> Evidence:
    """The same evidence, with another checkout's bundle in production."""
    path = production.root / "build/bundle"
    incumbent = score(path, evidence.holdout)
    return Evidence(
        evidence.model,
        evidence.rows,
        evidence.split_rule,
        evidence.candidate,
        evidence.estimator_scores,
        Production(path, "test"),
        incumbent,
    )


def difference(result: GateResult) -> float:
    (main,) = (check for check in result.checks if check.name == "loss")
    assert main.statistic is not None
    return main.statistic


def test_window_to_march_is_released_against_the_constant(windows: dict[str, Context]) -> None:
    found = gates(windows["march"], None)
    assert {name: result.decision for name, result in found.items()} == dict.fromkeys(found, Decision.PASS)
    assert -0.08 < difference(found["benchmark"]) < -0.03


def test_window_to_may_is_better_than_march_by_about_a_tenth(windows: dict[str, Context]) -> None:
    found = gates(windows["may"], windows["march"])
    assert {name: result.decision for name, result in found.items()} == dict.fromkeys(found, Decision.PASS)
    loss = windows_loss(windows["march"], windows["may"])
    assert 0.06 < -difference(found["benchmark"]) / loss < 0.14
    assert gates(windows["may"], windows["march"], "retrain")["benchmark"].decision is Decision.PASS


def windows_loss(production: Context, candidate: Context) -> float:
    """Production's mean loss on the candidate's holdout."""
    evidence = gather(candidate)
    scores = score(production.root / "build/bundle", evidence.holdout).scores
    return float(evidence.model.loss(evidence.holdout, scores).mean())


def test_the_same_two_swapped_fail(windows: dict[str, Context]) -> None:
    newer = gather(windows["may"])
    older: Scorer = score(windows["march"].root / "build/bundle", newer.holdout)
    swapped = Evidence(
        newer.model, newer.rows, newer.split_rule, older, older.scores, Production(None, "test"), newer.candidate
    )
    gate = windows["may"].params.gates
    (found,) = judge(swapped, gate, read_slo(PROJECT), "non-inferior", ("benchmark",), lambda _: None)
    assert found.decision is Decision.FAIL
    assert "worse" in found.reason


def test_window_to_april_is_no_worse_and_no_better_and_says_so(windows: dict[str, Context]) -> None:
    found = gates(windows["april"], windows["march"])["benchmark"]
    assert found.decision is Decision.PASS
    assert "no worse" in found.reason
    assert "no better" in found.reason


def test_window_to_april_does_not_earn_a_retrain(windows: dict[str, Context]) -> None:
    assert gates(windows["april"], windows["march"], "retrain")["benchmark"].decision is not Decision.PASS


def test_window_to_june_gains_too_little_for_a_retrain(windows: dict[str, Context]) -> None:
    assert gates(windows["june"], windows["may"])["benchmark"].decision is Decision.PASS
    assert gates(windows["june"], windows["may"], "retrain")["benchmark"].decision is not Decision.PASS


def test_boosted_trees_beat_logistic_and_pass_the_parity_gate(windows: dict[str, Context]) -> None:
    found = gates(windows["boosted"], windows["june"])
    assert found["benchmark"].decision is Decision.PASS
    assert difference(found["benchmark"]) < -0.02
    (parity,) = (check for check in found["differential"].checks if check.name == "parity")
    assert parity.decision is Decision.PASS


def test_candidate_trained_on_the_holdout_is_refused(windows: dict[str, Context]) -> None:
    """The window to May judged on the window to April's holdout, which it trained on."""
    april = gather(windows["april"])
    may = score(windows["may"].root / "build/bundle", april.holdout)
    cheating = Evidence(april.model, april.rows, april.split_rule, may, may.scores, april.production, None)
    gate = windows["april"].params.gates
    (found,) = judge(cheating, gate, read_slo(PROJECT), "first release", ("benchmark",), lambda _: None)
    assert found.decision is Decision.FAIL
    assert "2013-05-03" in found.reason


def test_labels_shuffled_in_training_are_stopped_by_the_benchmark(windows: dict[str, Context]) -> None:
    honest = gather(windows["march"])
    shuffled = honest.rows.copy()
    at = shuffled[PART] != HOLDOUT
    labels: Floats = shuffled.loc[at, "late"].to_numpy(copy=True)
    shuffled.loc[at, "late"] = np.random.default_rng(0).permutation(labels)
    fitted = train.fit(honest.model, shuffled[(shuffled[PART] == "train") & shuffled["late"].notna()])
    scores = honest.model.score(fitted, train.matrix(honest.model, honest.holdout))
    candidate = Scorer(honest.candidate.bundle, honest.candidate.metrics, scores)
    evidence = Evidence(
        honest.model, honest.rows, honest.split_rule, candidate, scores, honest.production, honest.candidate
    )
    gate = windows["march"].params.gates
    (found,) = judge(evidence, gate, read_slo(PROJECT), "non-inferior", ("benchmark",), lambda _: None)
    assert found.decision is Decision.FAIL


def test_batch_with_flipped_labels_of_one_large_carrier_is_stopped_by_the_slices(windows: dict[str, Context]) -> None:
    """April's labels of United came flipped; May, which judges, is sound again, and the rest gains from the window.

    Over all rows it is a gain that cannot be told from none. What is clear is the harm to the mornings, when United
    was on time and is now said not to be; of the carriers United itself lost the most.
    """
    honest = beside(gather(windows["may"]), windows["march"])
    poisoned = honest.train.copy()
    at = (poisoned["carrier"] == "UA") & (poisoned["date"] >= "2013-04-01")
    poisoned.loc[at, "late"] = 1 - poisoned.loc[at, "late"]
    fitted = train.fit(honest.model, poisoned)
    scores = honest.model.score(fitted, train.matrix(honest.model, honest.holdout))
    candidate = Scorer(honest.candidate.bundle, honest.candidate.metrics, scores)
    sound, flipped = (
        benchmark(one, windows["may"])
        for one in (honest, replace(honest, candidate=candidate, estimator_scores=scores))
    )
    assert slices(sound).decision is Decision.PASS
    assert slices(flipped).decision is Decision.FAIL
    assert slices(flipped).reason.startswith("clearly worse for departure 00-08")
    assert worst_carrier(flipped) == "UA"
    assert flipped.blocks


def benchmark(evidence: Evidence, context: Context) -> GateResult:
    """The gate that compares the losses, as a retraining is judged."""
    (found,) = judge(evidence, context.params.gates, read_slo(PROJECT), "gain", ("benchmark",), lambda _: None)
    return found


def slices(result: GateResult) -> Check:
    (found,) = (check for check in result.checks if check.name == "slices")
    return found


def worst_carrier(result: GateResult) -> str:
    """The judged carrier with the greatest loss difference."""
    (table,) = (one for one in result.tables if one.name == "slices")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    judged = [row for row in rows if row["dimension"] == "carrier" and row["decision"] != "listed"]
    return str(max(judged, key=lambda row: row["difference"])["group"])
