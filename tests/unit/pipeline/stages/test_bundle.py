import json

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest

from model.contract import Column
from pipeline import signature
from pipeline.frames import TableError
from pipeline.stages.bundle import _distribution, golden, golden_rows
from serving.requests import Codec
from serving.signature import Input, Signature
from tests.bundles import SIGNATURE, graph
from tests.monitored import Toy

MODEL = signature.of_model(Toy().card, Toy().schema)


def having(*inputs: Input) -> Signature:
    return msgspec.structs.replace(SIGNATURE, inputs=inputs)


def requests(agreed: Signature) -> list[dict]:
    columns = golden_rows(agreed)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def legal(agreed: Signature) -> list[dict]:
    """The rows, once the server's own decoder has taken them."""
    rows = requests(agreed)
    Codec(agreed, max_rows=100).decode(json.dumps(rows).encode())
    return rows


NULLS = tuple(Input(f"n{at}", "number", "a number", minimum=0, maximum=1, nullable=True) for at in range(40))
OTHERS = tuple(
    Input(f"c{at}", "category", "a text", categories=("a", "other?"), nullable=True, unseen="other") for at in range(20)
)


@pytest.mark.parametrize("agreed", [SIGNATURE, MODEL, having(*NULLS, *OTHERS)], ids=["toy", "model", "wide"])
def test_every_row_is_a_legal_request_and_they_are_few(agreed):
    assert 8 < len(legal(agreed)) <= 32


@pytest.mark.parametrize("agreed", [SIGNATURE, MODEL], ids=["toy", "model"])
def test_each_column_that_can_be_null_is_null_in_a_row_of_its_own(agreed):
    nulls = [[name for name, value in row.items() if value is None] for row in requests(agreed)]
    assert [found for found in nulls if found] == [[one.name] for one in agreed.inputs if one.nullable]


def test_row_that_the_schema_allows_and_the_model_cannot_score_is_refused_with_the_row(tmp_path):
    onnx.save(graph(SIGNATURE, [0, np.inf, 0, 0]), tmp_path / "model.onnx")
    with pytest.raises(TableError, match=r'scores nan for a row .*"seats": null.* take nullable'):
        golden(SIGNATURE, tmp_path)


@pytest.mark.parametrize("agreed", [SIGNATURE, MODEL, having(*NULLS, *OTHERS)], ids=["toy", "model", "wide"])
def test_every_null_and_every_other_that_is_allowed_occurs(agreed):
    columns = golden_rows(agreed)
    for one in agreed.inputs:
        values = columns[one.name]
        assert (None in values) is one.nullable
        if one.type == "category":
            assert bool({*values} - {*one.categories, None}) is (one.unseen == "other")


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.5), (-1.5, -0.5), (0.2, 3.9), (None, -7.5), (7.5, None)])
def test_a_whole_number_with_fractional_limits_stays_within_them(low, high):
    rows = legal(having(Input("seats", "integer", "seats", minimum=low, maximum=high)))
    assert all(isinstance(row["seats"], int) for row in rows)


@pytest.mark.parametrize(("low", "high"), [(0.0001, 0.0002), (None, -7.5), (None, None), (7.5, None), (3, 3)])
def test_a_number_stays_within_its_limits_though_it_is_rounded(low, high):
    legal(having(Input("temp", "number", "temperature", minimum=low, maximum=high)))


def test_the_rows_are_the_same_every_time():
    assert golden_rows(MODEL) == golden_rows(MODEL)


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0.0, 1.0, 1.0, 0.0], [-0.5, 0.5, 1.5]),
        ([1, 2, 3, 7], [0.5, 1.5, 2.5, 5.0, 9.0]),
        ([4.0, 4.0], [4.0, np.nextafter(4.0, 5.0)]),
    ],
    ids=["zeros and ones", "few values", "a constant"],
)
def test_few_values_have_a_bin_each(values, edges):
    found = _distribution(Column(name="n", type="number", description="a number"), pd.Series(values, dtype=float))
    assert found["edges"] == edges
    assert found["counts"] == [values.count(value) for value in sorted(set(values))]


def test_many_values_are_cut_at_their_quantiles():
    found = _distribution(Column(name="n", type="number", description="a number"), pd.Series(np.arange(100.0)))
    assert found["counts"] == [10] * 10
