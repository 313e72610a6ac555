import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import BundleError
from serving.problems import BAD_JSON, INVALID, TOO_MANY_ROWS, RefusedError, body
from serving.requests import Codec, row_type
from serving.signature import Input, Output, Signature, encode
from tests.bundles import SIGNATURE

CODEC = Codec(SIGNATURE, max_rows=3)
ROW = {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}
NAMES = SIGNATURE.names


def refused(request: object) -> RefusedError:
    sent = request if isinstance(request, bytes) else json.dumps(request).encode()
    with pytest.raises(RefusedError) as caught:
        CODEC.decode(sent)
    return caught.value


def fault(row: dict[str, object]) -> tuple[str, str | None, str]:
    (only,) = refused(row).faults
    return only.reason, only.field, only.detail


def test_an_object_is_one_row_and_an_array_is_many():
    assert len(CODEC.decode(json.dumps(ROW).encode())) == 1
    assert len(CODEC.decode(json.dumps([ROW, ROW]).encode())) == 2


def test_columns_go_by_name_not_by_order():
    rows = CODEC.decode(json.dumps(dict(reversed(ROW.items()))).encode())
    assert CODEC.encode(rows).matrix.tolist() == [[39, 149, 1, 1]]


def test_a_missing_column_is_refused():
    row = {name: ROW[name] for name in ("temp", "seats", "origin")}
    assert fault(row) == ("missing", "dest", "Row 0: dest is missing; give it.")


def test_a_missing_nullable_column_is_refused_too_and_told_of_null():
    row = {name: ROW[name] for name in ("temp", "origin", "dest")}
    assert fault(row)[2] == "Row 0: seats is missing; give it (null, where it is not known)."


def test_an_unknown_column_is_refused():
    assert fault(ROW | {"tmep": 1})[:2] == ("unknown", "tmep")


def test_null_is_refused_where_the_signature_does_not_allow_it():
    assert fault(ROW | {"temp": None}) == ("null", "temp", "Row 0: temp is null; it may not be null.")
    assert fault(ROW | {"origin": None})[:2] == ("null", "origin")


def test_null_becomes_nan_where_the_signature_allows_it():
    encoded = CODEC.encode(CODEC.decode(json.dumps(ROW | {"seats": None}).encode()))
    assert np.isnan(encoded.matrix[0, 1])
    assert CODEC.missing(encoded.matrix) == [0, 1, 0, 0]


def test_null_in_a_category_is_missing_and_not_the_shared_other():
    origin = Input("origin", "category", "", categories=("EWR", "JFK"), nullable=True, unseen="other")
    codec = Codec(Signature("m", "M", "regression", (origin,), Output("")), 1)
    encoded = codec.encode(codec.decode(b'{"origin": null}'))
    assert np.isnan(encoded.matrix[0, 0])
    assert (codec.missing(encoded.matrix), codec.unseen(encoded.matrix)) == ([1], [0])


@pytest.mark.parametrize("value", ["39", True, [39], {"a": 1}])
def test_a_number_that_is_something_else_is_refused(value):
    assert fault(ROW | {"temp": value})[:2] == ("type", "temp")


@pytest.mark.parametrize("value", [1.5, True, "149"])
def test_a_whole_number_that_is_something_else_is_refused(value):
    assert fault(ROW | {"seats": value})[:2] == ("type", "seats")


def test_a_whole_number_written_as_a_data_frame_writes_it_is_taken():
    assert CODEC.encode(CODEC.decode(json.dumps(ROW | {"seats": 149.0}).encode())).matrix[0, 1] == 149


@pytest.mark.parametrize("value", [-40.001, 130.001, 1e300])
def test_out_of_range_is_refused_with_the_range(value):
    (only,) = refused(ROW | {"temp": value}).faults
    assert (only.reason, only.field, only.value) == ("range", "temp", value)
    assert only.allowed == {"minimum": -40, "maximum": 130, "unit": "°F"}
    assert "it must lie from -40 to 130 °F" in only.detail


def test_a_number_beyond_a_double_is_out_of_range_and_named():
    sent = json.dumps(ROW).replace("39.0", "1e999").replace("149", "-1e999").encode()
    assert [(one.reason, one.field) for one in refused(sent).faults] == [("range", "temp"), ("range", "seats")]


def test_the_limits_themselves_are_legal():
    rows = CODEC.decode(json.dumps([ROW | {"temp": -40, "seats": 1}, ROW | {"temp": 130, "seats": 900}]).encode())
    assert CODEC.encode(rows).matrix[:, 0].tolist() == [-40, 130]


def test_an_unseen_category_is_refused_where_the_policy_is_to_refuse():
    reason, field, detail = fault(ROW | {"origin": "BOS"})
    assert (reason, field) == ("category", "origin")
    assert 'origin is "BOS"; it must be one of EWR, JFK, LGA' in detail


def test_an_unseen_category_is_the_shared_other_where_the_policy_is_other_and_is_noticed():
    encoded = CODEC.encode(CODEC.decode(json.dumps(ROW | {"dest": "SFO"}).encode()))
    assert encoded.matrix[0, 3] == 2
    assert CODEC.unseen(encoded.matrix) == [0, 0, 0, 1]


def test_an_overlong_category_is_refused():
    assert fault(ROW | {"dest": "x" * 257})[:2] == ("length", "dest")


@pytest.mark.parametrize("identity", [1, None, "x" * 129])
def test_an_id_that_is_no_short_string_is_refused(identity):
    assert fault(ROW | {"id": identity})[:2] == ("type", "id")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused_even_where_null_is_legal(constant):
    sent = json.dumps(ROW).replace("149", constant).encode()
    assert refused(sent).kind == BAD_JSON


@pytest.mark.parametrize("sent", [b"", b"{", b'{"temp": 39.0} x', b"\xff\xfe", b'{"temp": "\xff"}', b"[" * 200_000])
def test_what_is_not_json_is_refused(sent):
    assert refused(sent).kind == BAD_JSON


@pytest.mark.parametrize("request_", ["text", 1, None, True])
def test_what_is_neither_object_nor_array_is_refused(request_):
    error = refused(request_)
    assert error.kind == INVALID
    assert "send an object (one row) or an array of objects" in error.detail


def test_an_empty_list_is_refused():
    assert "empty" in refused([]).detail


def test_more_rows_than_allowed_are_refused():
    error = refused([ROW] * 4)
    assert (error.kind, error.detail) == (TOO_MANY_ROWS, "The request has 4 rows; at most 3 are allowed.")


def test_every_fault_of_every_row_is_named():
    faults = refused([ROW, ROW | {"temp": 999, "origin": "X"}, {}]).faults
    assert [(one.row, one.field) for one in faults] == [
        *((1, "temp"), (1, "origin")),
        *((2, "temp"), (2, "seats"), (2, "origin"), (2, "dest")),
    ]


def test_an_answer_lists_at_most_fifty_faults_and_counts_them_all():
    codec = Codec(SIGNATURE, max_rows=100)
    with pytest.raises(RefusedError) as caught:
        codec.decode(json.dumps([{}] * 100).encode())
    answer = json.loads(body(caught.value))
    assert (len(answer["errors"]), answer["count"]) == (50, 400)


def test_the_search_for_faults_ends_at_a_thousand():
    codec = Codec(SIGNATURE, max_rows=10_000)
    with pytest.raises(RefusedError) as caught:
        codec.decode(json.dumps([{}] * 10_000).encode())
    assert len(caught.value.faults) == 1000


def test_a_long_value_is_shortened_in_the_answer():
    assert len(body(refused(ROW | {"origin": "x" * 100_000}))) < 2_000


def test_an_input_called_id_is_refused_at_start():
    with pytest.raises(BundleError, match="'id'"):
        row_type(Signature("m", "M", "regression", (Input("id", "number", ""),), Output("")))


def test_a_column_without_limits_is_bounded_by_what_a_float32_holds():
    codec = Codec(Signature("m", "M", "regression", (Input("any", "number", ""),), Output("")), 1)
    assert np.isfinite(codec.encode(codec.decode(b'{"any": 3.4e38}')).matrix).all()
    with pytest.raises(RefusedError, match="it must lie from"):
        codec.decode(b'{"any": 3.5e38}')


def refusal(sent: bytes) -> RefusedError | None:
    try:
        CODEC.decode(sent)
    except RefusedError as error:
        return error
    return None


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-50, 1000), st.floats(allow_nan=False), st.text(max_size=3)),
    *(st.sampled_from(["EWR", "JFK", "ORD", "ATL"]), st.lists(st.none(), max_size=2), st.integers()),
)
ROWS = st.lists(st.dictionaries(st.sampled_from([*NAMES, "id", "more"]), VALUES, max_size=6), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(ROWS)
def test_the_slow_path_finds_a_fault_exactly_where_the_fast_path_refuses(rows):
    error = refusal(msgspec.json.encode(rows))
    assert error is None or error.faults or error.kind == BAD_JSON


LEGAL = st.fixed_dictionaries(
    {
        "temp": st.floats(-40, 130),
        "seats": st.one_of(st.none(), st.integers(1, 900)),
        "origin": st.sampled_from(["EWR", "JFK", "LGA"]),
        "dest": st.text(max_size=5),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LEGAL, min_size=1, max_size=3))
def test_a_request_is_encoded_as_training_rows_are(rows):
    columns = {name: [row[name] for row in rows] for name in NAMES}
    found = CODEC.encode(CODEC.decode(msgspec.json.encode(rows))).matrix
    np.testing.assert_array_equal(found, encode(SIGNATURE, columns))
