import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import oip
from serving.problems import BAD_JSON, BAD_TENSOR, INVALID, RefusedError
from serving.scoring import Call

CALL = Call("call", 0.0)
DEEP = b'{"inputs": [{"name": "temp", "shape": [1], "datatype": "FP64", "data": ' + b"[" * 100_000


def tensor(name: str, datatype: str, data: list[object], shape: list[int] | None = None) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


TENSORS = {
    "temp": tensor("temp", "FP64", [39.0, 40.0]),
    "seats": tensor("seats", "INT64", [149, 150]),
    "origin": tensor("origin", "BYTES", ["JFK", "EWR"]),
    "dest": tensor("dest", "BYTES", ["ORD", "BOS"]),
}


def infer(scorer, tensors=TENSORS, **more):
    return json.loads(
        scorer.answer_now(oip.infer(scorer, json.dumps({"inputs": [*tensors.values()], **more}).encode(), CALL)).body
    )


def refused(scorer, tensors=TENSORS, **more) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        infer(scorer, tensors, **more)
    return caught.value


def test_tensors_by_name_score_as_rows_do(scorer):
    rows = [
        {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"},
        {"temp": 40.0, "seats": 150, "origin": "EWR", "dest": "BOS"},
    ]
    predicted = json.loads(scorer.answer_now(scorer.predict(json.dumps(rows).encode(), CALL)).body)["predictions"]
    score, decision = infer(scorer)["outputs"]
    assert score == {"name": "score", "shape": [2], "datatype": "FP32", "data": [row["score"] for row in predicted]}
    assert decision["data"] == [row["decision"] for row in predicted]


def test_the_answer_repeats_the_callers_id_and_names_the_version(scorer):
    answer = infer(scorer, id="mine")
    assert (answer["id"], answer["model_version"]) == ("mine", scorer.bundle.version)


def test_a_column_vector_is_as_good_as_a_list(scorer):
    nested = {
        name: one | {"shape": [2, 1], "data": [[value] for value in one["data"]]} for name, one in TENSORS.items()
    }
    assert infer(scorer, nested) == infer(scorer)


def test_only_the_outputs_asked_for_are_given(scorer):
    assert [one["name"] for one in infer(scorer, outputs=[{"name": "decision"}])["outputs"]] == ["decision"]
    assert "There is no output 'logit'" in refused(scorer, outputs=[{"name": "logit"}]).detail


@pytest.mark.parametrize("shape", [[3], [2, 2], [2, 1, 1], [], [0], [-1]])
def test_a_tensor_of_the_wrong_shape_is_refused_and_named(scorer, shape):
    error = refused(scorer, TENSORS | {"temp": TENSORS["temp"] | {"shape": shape}})
    assert error.kind == BAD_TENSOR
    assert "temp" in error.detail


@pytest.mark.parametrize(
    ("name", "datatype"), [("temp", "BYTES"), ("origin", "FP32"), ("seats", "BOOL"), ("temp", "X")]
)
def test_a_tensor_of_the_wrong_datatype_is_refused_and_named(scorer, name, datatype):
    error = refused(scorer, TENSORS | {name: TENSORS[name] | {"datatype": datatype}})
    assert error.kind == BAD_TENSOR
    assert f"Tensor {name} has datatype {datatype!r}" in error.detail


def test_an_unknown_tensor_is_refused_and_named(scorer):
    assert (
        "Not an input of this model: more" in refused(scorer, TENSORS | {"more": tensor("more", "FP32", [1, 2])}).detail
    )


def test_a_missing_tensor_is_refused_and_named(scorer):
    assert "missing: dest" in refused(scorer, {name: TENSORS[name] for name in ("temp", "seats", "origin")}).detail


def test_a_tensor_given_twice_is_refused(scorer):
    assert "given twice" in refused(scorer, TENSORS | {"again": TENSORS["temp"]}).detail


def test_a_tensor_without_data_is_told_of_json(scorer):
    binary = {"name": "temp", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
    assert "binary_data=False" in refused(scorer, TENSORS | {"temp": binary}).detail


def test_values_are_judged_as_those_of_rows(scorer):
    error = refused(scorer, TENSORS | {"temp": tensor("temp", "FP64", [39.0, 500.0])})
    assert (error.kind, error.faults[0].row, error.faults[0].field) == (INVALID, 1, "temp")


def test_null_is_a_missing_value_of_a_nullable_input_only(scorer):
    assert infer(scorer, TENSORS | {"seats": tensor("seats", "INT64", [None, 150])})
    assert refused(scorer, TENSORS | {"temp": tensor("temp", "FP64", [None, 40.0])}).faults[0].reason == "null"


@pytest.mark.parametrize("body", [b"", DEEP, b"\xff", b'{"inputs": [NaN]}'])
def test_what_is_not_json_is_refused(scorer, body):
    with pytest.raises(RefusedError) as caught:
        scorer.answer_now(oip.infer(scorer, body, CALL))
    assert caught.value.kind == BAD_JSON


ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), st.lists, max_leaves=4)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*TENSORS, "more"]) | ANY,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | ANY,
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL"]) | ANY,
    },
    optional={"data": st.lists(ANY, max_size=3) | ANY},
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=st.lists(TENSOR, max_size=5), kept=st.sets(st.sampled_from([*TENSORS])))
def test_whatever_is_sent_is_answered_or_refused(scorer, tensors, kept):
    sent = {"inputs": [*tensors, *(TENSORS[name] for name in sorted(kept))]}
    with suppress(RefusedError):
        scorer.answer_now(oip.infer(scorer, json.dumps(sent).encode(), CALL))
