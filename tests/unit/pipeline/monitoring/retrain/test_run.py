"""What the gates said, in the words of an attempt: an answer, a failure, or something to be asked again."""

from types import SimpleNamespace

import pytest

from pipeline.errors import UnavailableError
from pipeline.gate import without_fault
from pipeline.monitoring.retrain import run as module
from pipeline.monitoring.retrain.attempts import Attempt
from pipeline.monitoring.retrain.errors import AttemptError
from pipeline.monitoring.retrain.run import judged
from pipeline.monitoring.shadow import ShadowError
from pipeline.verdict import Decision, GateResult, Verdict, worst
from tests import verdicts
from tests.checkouts import PROJECT
from tests.retrainings import attempt
from tests.verdicts import FAIL, INCONCLUSIVE, PASS


def found(gate: GateResult, **said: Decision) -> GateResult:
    """The same gate with other decisions of some checks."""
    checks = tuple(one.model_copy(update={"decision": said.get(one.name, one.decision)}) for one in gate.checks)
    decision = worst(one.decision for one in checks if one.decision is not None)
    return gate.model_copy(update={"checks": checks, "decision": decision})


def verdict(*changed: GateResult) -> Verdict:
    """One that passes, but for these gates."""
    by_name = {one.gate: one for one in (*verdicts.verdict().gates, *changed)}
    decision = worst(one.decision for one in by_name.values())
    return verdicts.verdict(gates=tuple(by_name.values()), decision=decision, reason="why")


def test_pass_ends_nothing() -> None:
    assert judged(verdict()) is None


@pytest.mark.parametrize("loss", [FAIL, INCONCLUSIVE])
def test_without_a_gain_and_nothing_else_there_is_no_gain(loss: Decision) -> None:
    assert judged(verdict(found(verdicts.benchmark(), loss=loss))) == ("no gain", "why")


@pytest.mark.parametrize("loss", [PASS, FAIL, INCONCLUSIVE])
def test_harm_to_a_slice_stops_it_whatever_the_loss(loss: Decision) -> None:
    """A poisoned batch harms some and gains for others; that is no season."""
    assert judged(verdict(found(verdicts.benchmark(), loss=loss, slices=FAIL))) == ("stopped", "why")


@pytest.mark.parametrize("loss", [PASS, INCONCLUSIVE])
def test_another_gate_stops_it(loss: Decision) -> None:
    both = found(verdicts.benchmark(), loss=loss), found(verdicts.differential(), parity=FAIL)
    assert judged(verdict(*both)) == ("stopped", "why")


def test_rows_that_cannot_be_compared_are_no_lack_of_gain() -> None:
    (seen,) = (one.model_copy(update={"name": "unseen rows"}) for one in verdicts.benchmark().checks[:1])
    gate = found(verdicts.benchmark().model_copy(update={"checks": (seen,)}), **{"unseen rows": INCONCLUSIVE})
    assert judged(verdict(gate)) == ("stopped", "why")


def crashed() -> GateResult:
    raise KeyError("dest")


@pytest.mark.parametrize("name", ["data", "load"])
def test_gate_that_crashes_fails_the_attempt_and_is_no_answer(name: str) -> None:
    gates = verdict(without_fault(name, crashed))  # type: ignore[arg-type]
    with pytest.raises(AttemptError, match=f"{name}: the gate could not finish: KeyError: 'dest'"):
        module._check_compared(gates, of(gates))


def test_gates_that_came_to_an_answer_are_one() -> None:
    gates = verdict(found(verdicts.benchmark(), loss=INCONCLUSIVE))
    module._check_compared(gates, of(gates))


def test_load_gate_that_cannot_tell_is_asked_again() -> None:
    gates = verdict(found(verdicts.load(), slower=INCONCLUSIVE))
    with pytest.raises(UnavailableError, match="could not tell on this machine"):
        module._check_compared(gates, of(gates))


@pytest.mark.parametrize("error", [KeyError("flight"), ShadowError("the log does not carry column 'flight'")])
def test_comparison_that_cannot_be_made_leaves_what_the_gates_said(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slices and the loss of a fork run there: what they raise is for the pull request to say."""

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.monitoring.shadow.from_store", failing)
    run = SimpleNamespace(checkout=SimpleNamespace(root=PROJECT), say=print)
    said = module.shadowed(run, attempt(), PROJECT)  # type: ignore[arg-type]
    assert said.startswith("Not compared on logged rows: ")
    assert "flight" in said


def of(gates: Verdict) -> Attempt:
    assert gates.production is not None
    return attempt(version=gates.production.version)
