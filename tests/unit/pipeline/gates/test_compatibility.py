import msgspec
import pytest

from pipeline.gates import compatibility
from pipeline.verdict import Decision
from serving.signature import Signature
from tests.bundles import SIGNATURE


def with_input(name: str, **changes: object) -> Signature:
    changed = tuple(msgspec.structs.replace(one, **changes) if one.name == name else one for one in SIGNATURE.inputs)
    return msgspec.structs.replace(SIGNATURE, inputs=changed)


def with_output(**changes: object) -> Signature:
    return msgspec.structs.replace(SIGNATURE, output=msgspec.structs.replace(SIGNATURE.output, **changes))


def changed(**changes: object) -> Signature:
    return msgspec.structs.replace(SIGNATURE, **changes)


BREAKS = {
    "input 'dest' was removed": changed(inputs=SIGNATURE.inputs[:-1]),
    "input 'dest2' is new": changed(
        inputs=(*SIGNATURE.inputs, msgspec.structs.replace(SIGNATURE.inputs[3], name="dest2", nullable=True))
    ),
    "input 'seats' was an integer and is now a number": with_input("seats", type="number"),
    "input 'temp' changed its unit: °F is now °C": with_input("temp", unit="°C"),
    "input 'seats' may no longer be null": with_input("seats", nullable=False),
    "input 'temp' has a narrower range: -40 to 130 is now -30 to 130": with_input("temp", minimum=-30),
    "input 'temp' has a narrower range: -40 to 130 is now -40 to 100": with_input("temp", maximum=100),
    "input 'origin' no longer knows LGA": with_input("origin", categories=("EWR", "JFK")),
    "input 'dest' now refuses unknown categories": with_input("dest", unseen="refuse"),
    "the model's name changed": changed(model="other"),
    "the task changed: classification is now regression": changed(task="regression"),
    "the score's meaning changed": with_output(description="minutes"),
    "the score's unit changed: none is now min": with_output(unit="min"),
    "the decision is gone": with_output(threshold=None),
    "the score has a wider range: 0 to 1 is now 0 to 100": with_output(maximum=100),
    "the score has a wider range: 0 to 1 is now -inf to 1": with_output(minimum=None),
}

NO_BREAKS = {
    "nothing changed": SIGNATURE,
    "API 1: nothing changed": changed(inputs=SIGNATURE.inputs[::-1]),
    "input 'temp' may now be null": with_input("temp", nullable=True),
    "input 'temp' has a wider range": with_input("temp", maximum=None),
    "input 'origin' also knows PHL": with_input("origin", categories=("EWR", "JFK", "LGA", "PHL")),
    "input 'dest' no longer knows ORD": with_input("dest", categories=("ATL",)),  # it is encoded as "other"
    "input 'origin' now accepts unknown categories": with_input("origin", unseen="other"),
    "the threshold moved from 0.5 to 0.4": with_output(threshold=0.4),
    "the score has a narrower range": with_output(maximum=0.9),
}


@pytest.mark.parametrize("words", BREAKS)
def test_a_break_within_an_api_major_fails_and_is_named(words):
    check = compatibility.judge(BREAKS[words], SIGNATURE)
    assert check.decision is Decision.FAIL
    assert words in check.reason


@pytest.mark.parametrize("words", BREAKS)
def test_a_break_with_a_new_api_major_passes_and_is_listed(words):
    check = compatibility.judge(msgspec.structs.replace(BREAKS[words], api=2), SIGNATURE)
    assert check.decision is Decision.PASS
    assert words in check.reason


@pytest.mark.parametrize("words", NO_BREAKS)
def test_what_callers_can_live_with_passes_and_is_listed(words):
    check = compatibility.judge(NO_BREAKS[words], SIGNATURE)
    assert check.decision is Decision.PASS
    assert words in check.reason


def test_every_break_is_named():
    worse = msgspec.structs.replace(with_input("temp", unit="°C", minimum=0), task="regression")
    check = compatibility.judge(worse, SIGNATURE)
    assert check.statistic == 3
    assert all(words in check.reason for words in ("its unit", "narrower range", "the task"))


def test_an_older_api_major_fails_even_where_nothing_else_changed():
    check = compatibility.judge(SIGNATURE, changed(api=2))
    assert check.decision is Decision.FAIL
    assert "never goes back" in check.reason
