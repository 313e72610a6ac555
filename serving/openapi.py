"""The OpenAPI 3.1 document, made from the signature: what a client may send, and every answer it may get."""

from typing import Any

from serving import problems
from serving.faults import LONGEST_ID, LONGEST_TEXT, bounds
from serving.oip import DATATYPES
from serving.settings import Settings
from serving.signature import Input, Signature

Json = dict[str, Any]
_JSON = "application/json"
_ROW, _PROBLEM = {"$ref": "#/components/schemas/Row"}, {"$ref": "#/components/schemas/Problem"}
_TENSOR: Json = {
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
    "datatype": {"type": "string"},
    "data": {"type": "array"},
}
_REFUSALS = (
    *(problems.BAD_JSON, problems.BAD_HEADER, problems.TOO_SLOW, problems.TOO_LARGE, problems.WRONG_MEDIA_TYPE),
    *(problems.INVALID, problems.INTERNAL, problems.OVERLOADED),
)


def example(signature: Signature) -> Json:
    """A row that the model answers: each input's own example."""
    return {one.name: one.example for one in signature.inputs}


def document(signature: Signature, version: str, settings: Settings) -> Json:
    """The whole document for one bundle."""
    predict = _predict(signature)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": signature.title,
            "version": f"{signature.api}.0.0+{version[:12]}",
            "description": " ".join(text for text in (settings.notice, signature.description) if text),
        },
        "paths": {
            "/predict": {"post": {**predict, "operationId": "predict"}},
            f"/v{signature.api}/predict": {"post": {**predict, "operationId": f"predict_v{signature.api}"}},
            "/livez": _get("live", "Whether the process answers."),
            "/readyz": _get("ready", "Whether the server takes requests; 503 while it shuts down.", may_drain=True),
            "/metrics": _get("metrics", "Metrics for Prometheus.", kind="text/plain"),
            "/v2": _get("oip_server", "Open Inference Protocol: the server."),
            "/v2/health/live": _get("oip_live", "Open Inference Protocol: liveness."),
            "/v2/health/ready": _get("oip_ready", "Open Inference Protocol: readiness.", may_drain=True),
            f"/v2/models/{signature.model}": _get("oip_model", "Open Inference Protocol: the model's tensors."),
            f"/v2/models/{signature.model}/infer": {"post": {**_infer(signature), "operationId": "oip_infer"}},
        },
        "components": {"schemas": _schemas(signature, settings)},
    }


def _predict(signature: Signature) -> Json:
    rows = {"oneOf": [_ROW, {"$ref": "#/components/schemas/Rows"}]}
    summary, scores = "Score one row or many", "The scores, in the order of the rows."
    return _scoring(summary, {"schema": rows, "example": example(signature)}, scores, "Predictions")


def _infer(signature: Signature) -> Json:
    media = {"schema": {"$ref": "#/components/schemas/Inference"}, "example": _tensors(signature)}
    summary = "Open Inference Protocol: score rows given as one tensor per input"
    return _scoring(summary, media, "One tensor per output.", "Inferred")


def _tensors(signature: Signature) -> Json:
    """The example row as an inference request."""
    tensors = [
        {"name": one.name, "shape": [1], "datatype": DATATYPES[one.type], "data": [one.example]}
        for one in signature.inputs
    ]
    return {"inputs": tensors}


def _scoring(summary: str, media: Json, answer: str, schema: str) -> Json:
    return {
        "summary": summary,
        "parameters": [
            {
                "name": "X-Request-Id",
                "in": "header",
                "required": False,
                "description": "Names the request in the log; one that is not [A-Za-z0-9._:-]{1,128} is replaced.",
                "schema": {"type": "string"},
            },
            {
                "name": "X-Event-Time",
                "in": "header",
                "required": False,
                "description": "The moment the rows are about, where that is not now: for replay, backfill and batch. "
                "RFC 3339 with an offset; each of the request's log lines then has it as event_time, in UTC.",
                "schema": {"type": "string", "format": "date-time"},
            },
        ],
        "requestBody": {"required": True, "content": {_JSON: media}},
        "responses": {
            "200": _response(answer, _JSON, schema),
            **_refusals(),
        },
    }


def _refusals() -> Json:
    """What a status may stand for, one problem or several."""
    statuses = dict.fromkeys(kind.status for kind in _REFUSALS)
    titles = {status: [kind.title for kind in _REFUSALS if kind.status == status] for status in statuses}
    return {str(status): _problem("; or: ".join(titles[status])) for status in statuses}


def _get(operation: str, summary: str, *, kind: str = _JSON, may_drain: bool = False) -> Json:
    schema = {"type": "object"} if kind == _JSON else {"type": "string"}
    responses = {"200": {"description": summary, "content": {kind: {"schema": schema}}}}
    drain = {"503": _problem(problems.DRAINING.title)} if may_drain else {}
    return {"get": {"operationId": operation, "summary": summary, "responses": responses | drain}}


def _response(description: str, kind: str, schema: str) -> Json:
    return {"description": description, "content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _problem(title: str) -> Json:
    return _response(title, problems.MEDIA_TYPE, "Problem")


def _schemas(signature: Signature, settings: Settings) -> Json:
    return {
        "Row": _row(signature),
        "Rows": {"type": "array", "items": _ROW, "minItems": 1, "maxItems": settings.max_rows},
        "Predictions": _object(
            model={"type": "string"},
            version={"type": "string", "description": "the bundle's hash"},
            predictions={"type": "array", "items": _prediction(signature)},
        ),
        "Inference": _inference(signature),
        "Inferred": _object(
            model_name={"type": "string"},
            model_version={"type": "string", "description": "the bundle's hash"},
            id={"type": "string"},
            outputs={"type": "array", "items": _object(name={"type": "string"}, **_TENSOR)},
        ),
        "Problem": _problem_schema(),
    }


def _inference(signature: Signature) -> Json:
    """What JSON Schema can say of a request: not that there is each input once, nor that shapes and data agree."""
    count, names = len(signature.inputs), list(signature.names)
    tensor = _object(name={"enum": names}, **_TENSOR)
    tensor["properties"]["datatype"] = {"type": "string", "examples": sorted(set(DATATYPES.values()))}
    inference = _object(inputs={"type": "array", "items": tensor, "minItems": count, "maxItems": count})
    inference["properties"]["id"] = {"type": "string", "description": "comes back in the answer"}
    return inference


def _row(signature: Signature) -> Json:
    identity = {
        "type": "string",
        "maxLength": LONGEST_ID,
        "description": "your name for the row; labels are joined by it",
    }
    row = _object(**{one.name: _value(one) for one in signature.inputs})
    row["properties"]["id"] = identity
    return {**row, "additionalProperties": False, "example": example(signature)}


def _value(one: Input) -> Json:
    described = {"description": f"{one.description} ({one.unit})" if one.unit else one.description}
    if one.type == "category":
        return described | _category(one)
    low, high = bounds(one)
    return described | {"type": [one.type, "null"] if one.nullable else one.type, "minimum": low, "maximum": high}


def _category(one: Input) -> Json:
    if one.unseen == "refuse":
        return {"enum": [*one.categories, *([None] if one.nullable else [])]}
    kind = ["string", "null"] if one.nullable else "string"
    return {"type": kind, "maxLength": LONGEST_TEXT, "examples": list(one.categories)}


def _prediction(signature: Signature) -> Json:
    output = signature.output
    limits = {"minimum": output.minimum, "maximum": output.maximum}
    score = {"type": "number", "description": output.description} | {k: v for k, v in limits.items() if v is not None}
    if output.threshold is None:
        return _object(id={"type": "string"}, score=score)
    decision = {"type": "boolean", "description": f"score >= {output.threshold:g}"}
    return _object(id={"type": "string"}, score=score, decision=decision)


def _problem_schema() -> Json:
    text = {"type": "string"}
    problem = _object(type=text, title=text, status={"type": "integer"}, detail=text)
    problem["properties"] |= {
        "errors": {"type": "array", "maxItems": problems.MOST_FAULTS, "items": {"type": "object"}},
        "count": {
            "type": "integer",
            "description": "how many faults there are, up to a thousand; the first fifty are listed",
        },
    }
    return problem


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}
