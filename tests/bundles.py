"""Small bundles made on the spot, for tests of whatever reads a bundle."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving import bundle
from serving.signature import Input, Output, Signature, encode

SIGNATURE = Signature(
    model="toy",
    title="Toy model",
    task="classification",
    inputs=(
        Input("temp", "number", "air temperature", unit="°F", minimum=-40, maximum=130, example=39.0),
        Input("seats", "integer", "seats of the plane", minimum=1, maximum=900, nullable=True, example=149),
        Input("origin", "category", "airport", categories=("EWR", "JFK", "LGA"), example="JFK"),
        Input("dest", "category", "airport", categories=("ATL", "ORD"), unseen="other", example="ORD"),
    ),
    output=Output("probability", minimum=0, maximum=1, threshold=0.5),
    description="A logistic function of four columns.",
)


def graph(signature: Signature, weights: Sequence[float], bias: float = 0.0) -> onnx.ModelProto:
    """sigmoid(NaN-as-zero rows @ weights + bias), with the graph's input and output named as a bundle wants them."""
    width = len(signature.inputs)
    column = np.asarray(weights, np.float32).reshape(width, 1)
    nodes = [
        helper.make_node("IsNaN", ["rows"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "rows"], ["filled"]),
        helper.make_node("Gemm", ["filled", "weights", "bias"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["score"]),
    ]
    constants = {"zero": np.zeros(1, np.float32), "weights": column, "bias": np.array([bias], np.float32)}
    body = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def write(
    path: Path,
    *,
    signature: Signature = SIGNATURE,
    model: onnx.ModelProto | None = None,
    metrics: dict[str, Any] | None = None,
) -> str:
    """Write a sealed bundle to `path` and return its version; pass `model` to bundle another graph."""
    path.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(signature))
    (path / "signature.json").write_bytes(text)
    stamped = model or graph(signature, [0.01, 0.001, 0.2, -0.1][: len(signature.inputs)])
    stamp(stamped, path)
    rows = {one.name: [one.example, one.example] for one in signature.inputs}
    for name in ("metrics.json", "inputs.json", "reference.json"):
        (path / name).write_text(json.dumps((metrics or {}) if name == "metrics.json" else {}))
    (path / "MODEL_CARD.md").write_text(f"# {signature.title}\n")
    (path / "golden.json").write_text(json.dumps({"rows": rows, "scores": _scores(path, signature, rows)}))
    return bundle.seal(path)


def stamp(model: onnx.ModelProto, path: Path, *, written: int = bundle.FORMAT) -> None:
    """Save `model` into the bundle with the metadata that ties it to the signature beside it."""
    helper.set_model_props(model, {"format": str(written), "signature": bundle.sha256(path / "signature.json")})
    onnx.save(model, path / "model.onnx")


def _scores(path: Path, signature: Signature, rows: dict[str, list[Any]]) -> list[float]:
    session = bundle.open_session(path / "model.onnx")
    found = session.run(["score"], {"rows": encode(signature, rows)})[0]
    return [float(value) for value in found.reshape(-1)]
