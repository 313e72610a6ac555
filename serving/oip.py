"""Open Inference Protocol V2 over HTTP: one tensor per input, by name, so that its clients work unchanged.

A tensor has the shape [rows] or [rows, 1]; tensors come as JSON (`binary_data=False` in Triton's client). Null stands
for a missing value of a nullable input.
"""

from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from serving.problems import BAD_JSON, BAD_TENSOR, RefusedError
from serving.scoring import Call, Question, Scored, Scorer
from serving.signature import Input

VERSION = "2"
DATATYPES = {"number": "FP64", "integer": "INT64", "category": "BYTES"}
_NUMERIC = {f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)} | {"FP16", "FP32", "FP64"}


class Tensor(msgspec.Struct):
    """One input of an inference request. `data` is flat or nested as `shape` says."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | UnsetType = UNSET


class Wanted(msgspec.Struct):
    """An output that the caller asks for."""

    name: str


class Inference(msgspec.Struct):
    """An inference request; unknown members are ignored, as the protocol asks for."""

    inputs: list[Tensor]
    outputs: list[Wanted] = []
    id: str = ""


_DECODER = msgspec.json.Decoder(Inference)


def server() -> dict[str, Any]:
    """Server metadata."""
    return {"name": "flightline", "version": VERSION, "extensions": []}


def model(scorer: Scorer) -> dict[str, Any]:
    """Model metadata: each input and output with its datatype and shape."""
    signature = scorer.signature
    return {
        "name": signature.model,
        "versions": [scorer.bundle.version],
        "platform": "onnx_onnxv1",
        "inputs": [_metadata(one.name, DATATYPES[one.type]) for one in signature.inputs],
        "outputs": [_metadata(name, kind) for name, kind in _outputs(scorer).items()],
    }


def infer(scorer: Scorer, body: bytes, call: Call) -> Question:
    """Read the body of a POST to .../infer. Raises RefusedError."""
    request = _decode(body)
    wanted = _wanted(request, scorer)
    columns = _columns(request.inputs, scorer.signature.inputs)
    write = partial(_written, scorer, request.id or call.id, wanted)
    return scorer.question(scorer.codec.convert(columns), call, write)


def _written(scorer: Scorer, request_id: str, wanted: dict[str, str], scored: Scored) -> bytes:
    columns: dict[str, list[Any]] = {"score": scored.scores, "decision": scorer.decided(scored.scores, False, True)}
    return scorer.encoder.encode(
        {
            "model_name": scorer.signature.model,
            "model_version": scorer.bundle.version,
            "id": request_id,
            "outputs": [_output(name, kind, columns[name]) for name, kind in wanted.items()],
        }
    )


def _decode(body: bytes) -> Inference:
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise RefusedError(BAD_TENSOR, f"{error}.") from error
    except RecursionError as error:
        raise RefusedError(BAD_JSON, "The body is nested too deeply.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefusedError(BAD_JSON, f"{error}. Send tensors as JSON (binary_data=False); NaN is not JSON.") from error


def _outputs(scorer: Scorer) -> dict[str, str]:
    return {"score": "FP32"} | ({} if scorer.signature.output.threshold is None else {"decision": "BOOL"})


def _wanted(request: Inference, scorer: Scorer) -> dict[str, str]:
    """Output name -> datatype, in the order asked for; all where none was asked for."""
    known = _outputs(scorer)
    for one in request.outputs:
        if one.name not in known:
            raise RefusedError(BAD_TENSOR, f"There is no output {one.name[:80]!r}; there is {', '.join(known)}.")
    return {one.name: known[one.name] for one in request.outputs} or known


def _columns(tensors: list[Tensor], inputs: tuple[Input, ...]) -> dict[str, list[Any]]:
    """Input name -> values of each row. Raises RefusedError for a tensor that is not as the metadata says."""
    by_name = {tensor.name: tensor for tensor in tensors}
    known = {one.name: one for one in inputs}
    _check_names(tensors, by_name, known)
    rows = {name: _rows(by_name[name], one) for name, one in known.items()}
    if len(set(rows.values())) > 1:
        raise RefusedError(BAD_TENSOR, f"The tensors differ in their number of rows: {rows}.")
    return {name: _flat(by_name[name]) for name in known}


def _check_names(tensors: list[Tensor], given: dict[str, Tensor], known: dict[str, Input]) -> None:
    for problem, names in (
        ("Not an input of this model", [name[:80] for name in given if name not in known]),
        ("Inputs that are missing", [name for name in known if name not in given]),
        ("Inputs given twice", ["; ".join(given)] if len(given) < len(tensors) else []),
    ):
        if names:
            raise RefusedError(BAD_TENSOR, f"{problem}: {', '.join(names[:20])}. The model takes {', '.join(known)}.")


def _rows(tensor: Tensor, one: Input) -> int:
    """How many rows the tensor has, by its shape."""
    legal = {"BYTES"} if one.type == "category" else _NUMERIC
    if tensor.datatype not in legal:
        raise RefusedError(
            BAD_TENSOR,
            f"Tensor {one.name} has datatype {tensor.datatype[:20]!r}; use {DATATYPES[one.type]}.",
        )
    rows, rest = (tensor.shape or [0])[0], tensor.shape[1:]
    if rows < 1 or rest not in ([], [1]):
        raise RefusedError(BAD_TENSOR, f"Tensor {one.name} has shape {tensor.shape[:8]}; use [rows] or [rows, 1].")
    if tensor.data is UNSET:
        raise RefusedError(BAD_TENSOR, f"Tensor {one.name} has no data; send it as JSON (binary_data=False).")
    return rows


def _flat(tensor: Tensor) -> list[Any]:
    data: list[Any] = [] if tensor.data is UNSET else tensor.data
    flat = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in data]
    if len(flat) != tensor.shape[0]:
        raise RefusedError(BAD_TENSOR, f"Tensor {tensor.name} has shape {tensor.shape[:8]} but {len(flat)} values.")
    return flat


def _output(name: str, kind: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": kind, "data": data}


def _metadata(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "datatype": kind, "shape": [-1]}
