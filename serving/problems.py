"""What a refused request is told: RFC 9457 problems, one kind per cause, each with its status."""

from typing import Any

import msgspec

MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 50


class Kind(msgspec.Struct, frozen=True):
    """One kind of problem: the slug in its `type` and in the error metric, the HTTP status and a title."""

    slug: str
    status: int
    title: str


BAD_JSON = Kind("bad-json", 400, "The body is not JSON")
BAD_HEADER = Kind("bad-header", 400, "A header cannot be read")
BAD_TENSOR = Kind("bad-tensor", 400, "A tensor does not fit the model's metadata")
NOT_FOUND = Kind("not-found", 404, "Nothing is served at this path")
UNKNOWN_VERSION = Kind("unknown-version", 404, "This model or version is not served here")
WRONG_METHOD = Kind("wrong-method", 405, "The path does not take this method")
TOO_SLOW = Kind("too-slow", 408, "The request took too long to arrive")
TOO_LARGE = Kind("too-large", 413, "The body is too large")
TOO_MANY_ROWS = Kind("too-many-rows", 422, "The request has too many rows")
WRONG_MEDIA_TYPE = Kind("wrong-media-type", 415, "The body has to be JSON")
INVALID = Kind("invalid-rows", 422, "The rows do not fit the model's inputs")
MODEL_ERROR = Kind("model-error", 422, "The model has no finite score for a row")
INTERNAL = Kind("internal", 500, "The server failed")
DRAINING = Kind("draining", 503, "The server is shutting down")
OVERLOADED = Kind("overloaded", 503, "Too many requests are in flight")

KINDS = (
    *(BAD_JSON, BAD_HEADER, BAD_TENSOR, NOT_FOUND, UNKNOWN_VERSION, WRONG_METHOD, TOO_SLOW, TOO_LARGE, TOO_MANY_ROWS),
    *(WRONG_MEDIA_TYPE, INVALID, MODEL_ERROR, INTERNAL, DRAINING, OVERLOADED),
)


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with one row: where, why, the value as received (shortened) and what is allowed instead."""

    row: int
    reason: str
    detail: str
    field: str | None = None
    value: Any = msgspec.UNSET
    allowed: Any = msgspec.UNSET


class RefusedError(Exception):
    """A request that is answered with a problem. `faults` may be many; the answer lists the first fifty."""

    def __init__(
        self, kind: Kind, detail: str, faults: tuple[Fault, ...] = (), headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.faults, self.headers = kind, detail, faults, headers


def body(refusal: RefusedError) -> bytes:
    """The problem as JSON. `error` repeats the detail: Open Inference Protocol clients read that member."""
    problem: dict[str, Any] = {
        "type": f"/docs#{refusal.kind.slug}",
        "title": refusal.kind.title,
        "status": refusal.kind.status,
        "detail": refusal.detail,
        "error": refusal.detail,
    }
    if refusal.faults:
        problem["errors"] = refusal.faults[:MOST_FAULTS]
        problem["count"] = len(refusal.faults)
    return msgspec.json.encode(problem)
