from datetime import date

import pytest

from pipeline.config import GateName, Override
from pipeline.gate import GATES, conclude, next_step, overridden, with_results, without_fault, without_missing
from pipeline.verdict import Decision, GateResult
from tests.verdicts import verdict

VERSION = "0123456789abcdef"
TODAY = date(2013, 6, 1)


def result(gate: GateName = "benchmark", decision: Decision = Decision.PASS) -> GateResult:
    return GateResult(gate=gate, decision=decision, reason="because", checks=())


def all_pass() -> list[GateResult]:
    return [result(name) for name in GATES]


def override(**changes: object) -> Override:
    given = {"gate": "benchmark", "candidate": VERSION[:12], "reason": "a known fault", "expires": date(2013, 6, 30)}
    return Override.model_validate({**given, **changes})


def test_all_gates_passing_pass() -> None:
    assert conclude(all_pass()) is Decision.PASS


@pytest.mark.parametrize("decision", [Decision.FAIL, Decision.INCONCLUSIVE])
@pytest.mark.parametrize("gate", GATES)
def test_any_gate_that_does_not_pass_blocks(gate: GateName, decision: Decision) -> None:
    results = [one for one in all_pass() if one.gate != gate] + [result(gate, decision)]
    assert conclude(results) is decision


@pytest.mark.parametrize("gate", GATES)
def test_gate_that_did_not_run_leaves_it_inconclusive(gate: GateName) -> None:
    assert conclude([one for one in all_pass() if one.gate != gate]) is Decision.INCONCLUSIVE


def test_fail_beats_inconclusive() -> None:
    assert (
        conclude([*all_pass(), result("data", Decision.INCONCLUSIVE), result("load", Decision.FAIL)]) is Decision.FAIL
    )


def test_override_lets_this_candidate_through_and_is_named() -> None:
    found = overridden(result(decision=Decision.INCONCLUSIVE), [override()], VERSION, TODAY)
    assert found.override == override()
    assert found.decision is Decision.INCONCLUSIVE
    assert conclude([*[one for one in all_pass() if one.gate != "benchmark"], found]) is Decision.PASS


def test_override_of_another_candidate_does_nothing() -> None:
    other = override(candidate="f" * 12)
    assert overridden(result(decision=Decision.FAIL), [other], VERSION, TODAY).override is None


def test_override_of_another_gate_does_nothing() -> None:
    assert overridden(result("load", Decision.FAIL), [override()], VERSION, TODAY).override is None


def test_expired_override_does_nothing_and_says_when_it_expired() -> None:
    expired = override(expires=date(2013, 5, 31))
    found = overridden(result(decision=Decision.FAIL), [expired], VERSION, TODAY)
    assert found.override is None
    assert "2013-05-31" in found.reason


def test_override_holds_on_its_last_day() -> None:
    assert overridden(result(decision=Decision.FAIL), [override(expires=TODAY)], VERSION, TODAY).override is not None


def test_passing_gate_is_not_marked_as_overridden() -> None:
    assert overridden(result(), [override()], VERSION, TODAY).override is None


def test_next_step_names_the_gate_that_blocks() -> None:
    results = [*all_pass()[:-1], result("load", Decision.FAIL)]
    assert "gate load" in next_step(Decision.FAIL, "non-inferior", results)


def test_retrain_without_a_gain_keeps_production() -> None:
    results = [result("benchmark", Decision.INCONCLUSIVE)]
    assert "keep production" in next_step(Decision.INCONCLUSIVE, "gain", results)


def test_exit_codes_are_pass_0_fail_1_inconclusive_2() -> None:
    assert [decision.exit_code for decision in (Decision.PASS, Decision.FAIL, Decision.INCONCLUSIVE)] == [0, 1, 2]


def test_renewed_override_applies_beside_the_one_that_expired() -> None:
    expired, renewed = override(expires=date(2013, 5, 1)), override(expires=date(2013, 7, 1))
    assert overridden(result(decision=Decision.FAIL), [expired, renewed], VERSION, TODAY).override == renewed


def test_gate_that_cannot_finish_is_inconclusive_and_says_why() -> None:
    def broken() -> GateResult:
        raise KeyError("carrier")

    found = without_fault("benchmark", broken)
    assert found.decision is Decision.INCONCLUSIVE
    assert "carrier" in found.reason


def test_verdict_in_parts_names_the_gates_that_did_not_run() -> None:
    three = [one for one in all_pass() if one.gate != "load"]
    assert without_missing(three) is Decision.PASS
    assert next_step(conclude(three), "non-inferior", three) == "run what did not run: gate load"


@pytest.mark.parametrize("decision", list(Decision))
def test_part_that_is_added_decides_anew_in_the_gates_order(decision: Decision) -> None:
    three = verdict(gates=tuple(one for one in all_pass() if one.gate != "load"))
    found = with_results(three, [result("load", decision)])
    assert found.decision is decision
    assert [one.gate for one in found.gates] == list(GATES)
    again = with_results(found, [result("load")])
    assert again == with_results(three, [result("load")])
