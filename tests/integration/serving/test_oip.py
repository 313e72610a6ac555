"""Triton's own HTTP client against the server, unchanged."""

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from serving import bundle
from tests.servers import Running

ROWS = {
    "temp": ("FP64", np.array([39.0, 40.0])),
    "seats": ("INT64", np.array([149, 150])),
    "origin": ("BYTES", np.array(["JFK", "EWR"], dtype=object)),
    "dest": ("BYTES", np.array(["ORD", "BOS"], dtype=object)),
}


@pytest.fixture
def client(server: Running):
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def tensors(rows=ROWS):
    given = []
    for name, (datatype, values) in rows.items():
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=False)
        given.append(tensor)
    return given


def test_the_server_and_the_model_are_live_and_ready(client, toy):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", bundle.version(toy))
    assert not client.is_model_ready("toy", "7")


def test_the_metadata_names_every_tensor(client, toy):
    assert client.get_server_metadata()["name"] == "flightline"
    found = client.get_model_metadata("toy")
    assert found["versions"] == [bundle.version(toy)]
    assert [(one["name"], one["datatype"]) for one in found["inputs"]] == [
        *(("temp", "FP64"), ("seats", "INT64"), ("origin", "BYTES"), ("dest", "BYTES"))
    ]


@pytest.mark.parametrize("outputs", [None, [InferRequestedOutput("score", binary_data=False)]])
def test_tensors_score_as_the_rows_they_stand_for(client, server, outputs):
    answer = client.infer("toy", tensors(), outputs=outputs)
    rows = [
        {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"},
        {"temp": 40.0, "seats": 150, "origin": "EWR", "dest": "BOS"},
    ]
    predictions = httpx.post(server.url + "/predict", json=rows).json()["predictions"]
    assert answer.as_numpy("score") == pytest.approx([row["score"] for row in predictions])


def test_a_version_may_be_named_in_full_or_short(client, toy):
    for version in (bundle.version(toy), bundle.version(toy)[:12]):
        assert client.infer("toy", tensors(), model_version=version).get_response()["model_version"] == bundle.version(
            toy
        )


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("temp", ("BYTES", np.array(["a", "b"], dtype=object)), "Tensor temp has datatype"),
        ("temp", ("FP64", np.zeros((2, 2))), "Tensor temp has shape"),
        ("temp", ("FP64", np.array([1.0])), "differ in their number of rows"),
        ("temp", ("FP64", np.array([1.0, 999.0])), "Row 1: temp is 999.0"),
        ("more", ("FP64", np.array([1.0, 2.0])), "Not an input of this model: more"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_in_words_the_client_shows(client, name, tensor, words):
    with pytest.raises(InferenceServerException, match=words):
        client.infer("toy", tensors(ROWS | {name: tensor}))


def test_binary_tensors_are_refused_with_the_way_out(client):
    tensor = InferInput("temp", [1], "FP64")
    tensor.set_data_from_numpy(np.array([39.0]), binary_data=True)
    with pytest.raises(InferenceServerException, match="binary_data=False"):
        client.infer("toy", [tensor])
