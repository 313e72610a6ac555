import numpy as np
import pytest

from serving.signature import category_codes, encode
from tests.bundles import SIGNATURE

COLUMNS = {"temp": [39.0, 40], "seats": [149, 150], "origin": ["EWR", "LGA"], "dest": ["ATL", "ORD"]}


def test_columns_stand_in_the_order_of_the_signature_not_of_the_mapping():
    reordered = dict(reversed(COLUMNS.items()))
    assert encode(SIGNATURE, reordered).tolist() == [[39, 149, 0, 0], [40, 150, 2, 1]]


def test_the_matrix_is_contiguous_float32_of_rows_by_inputs():
    matrix = encode(SIGNATURE, COLUMNS)
    assert (matrix.dtype, matrix.shape, matrix.flags.c_contiguous) == (np.float32, (2, 4), True)


@pytest.mark.parametrize("null", [None, float("nan")])
def test_null_becomes_nan_in_numbers_and_categories(null):
    matrix = encode(SIGNATURE, COLUMNS | {"seats": [null, 1], "origin": [null, "JFK"]})
    assert np.isnan(matrix[0, 1:3]).all()
    assert matrix[1].tolist() == [40, 1, 1, 1]


def test_an_unknown_category_is_the_shared_other():
    assert encode(SIGNATURE, COLUMNS | {"dest": ["BOS", "SFO"]})[:, 3].tolist() == [2, 2]


def test_a_category_is_its_place_in_the_list():
    assert category_codes(SIGNATURE.inputs[2]) == {"EWR": 0, "JFK": 1, "LGA": 2}


def test_a_missing_column_is_an_error_and_not_a_guess():
    with pytest.raises(KeyError, match="dest"):
        encode(SIGNATURE, {name: COLUMNS[name] for name in ("temp", "seats", "origin")})
