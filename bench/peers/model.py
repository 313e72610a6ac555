"""What the peers share: the very same `model.onnx`, and the pydantic row a careful author would write by hand.

The constraints are those of `signature.json`, so that a peer refuses what Flightline refuses, field by field.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, create_model

BUNDLE = Path(os.environ.get("FLIGHTLINE_BUNDLE", "build/bundle"))
INPUTS: list[dict[str, Any]] = json.loads((BUNDLE / "signature.json").read_bytes())["inputs"]
CODES = [{text: float(code) for code, text in enumerate(one.get("categories", ()))} for one in INPUTS]
NAN = float("nan")


def open_session() -> ort.InferenceSession:
    """One session with one thread, as Flightline's own."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(BUNDLE / "model.onnx"), options, providers=["CPUExecutionProvider"])


def row_type() -> type[BaseModel]:
    """The request row: types, ranges, categories and nullability; an unknown field is refused."""
    fields: dict[str, Any] = {one["name"]: _field(one) for one in INPUTS}
    return create_model("Row", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def matrix(rows: list[Any]) -> NDArray[np.float32]:
    """Validated rows -> float32 of shape (rows, inputs)."""
    return np.array([_encoded(row) for row in rows], dtype=np.float32)


def _encoded(row: Any) -> list[float]:
    values = row.__dict__.values()  # pydantic keeps the order of the fields, which is the order of the inputs
    return [_number(value, codes) for value, codes in zip(values, CODES, strict=True)]


def _number(value: Any, codes: dict[str, float]) -> float:
    if value is None:
        return NAN
    return codes.get(value, float(len(codes))) if codes else value  # type: ignore[no-any-return]


def _field(one: dict[str, Any]) -> Any:
    kind: Any = _kind(one)
    return (kind | None, ...) if one.get("nullable") else (kind, ...)


def _kind(one: dict[str, Any]) -> Any:
    if one["type"] != "category":
        kind = int if one["type"] == "integer" else float
        return Annotated[kind, Field(ge=one.get("minimum"), le=one.get("maximum"))]
    return str if one.get("unseen") == "other" else Literal[tuple(one["categories"])]
