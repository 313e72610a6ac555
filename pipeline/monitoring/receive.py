"""Labels over HTTP: what is posted to /labels is kept before it is answered, all of a request or nothing.

A JSON array of labels, one label, or JSON lines. Sent again, it changes nothing: its labels are duplicates.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from pipeline.monitoring.endpoint import Answer, Endpoint, RefusedError, Work
from pipeline.monitoring.label_files import BadFieldError, label_of
from pipeline.monitoring.labels import Label, LabelCounts
from pipeline.text import clipped, plain

PATH = "/labels"
MOST_BYTES, MOST_ROWS, MOST_NAMED = 4 << 20, 10_000, 50

Keep = Callable[[Sequence[Label], datetime], LabelCounts]


class Receiver(Endpoint):
    """Tells what is wrong as RFC 9457 problems; `message` repeats the detail, as `Endpoint` has it."""

    most_bytes = MOST_BYTES
    stranger = HTTPStatus.UNAUTHORIZED

    def refused(self, status: HTTPStatus, message: str, **details: Any) -> Answer:
        """A problem of no type of its own: title and status say the kind, `detail` what is wrong and what to do."""
        problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": message}
        return Answer(status=status, body={**problem, "message": message, **details}, media="application/problem+json")


def routes(keep: Keep, now: Callable[[], datetime], *, binary: bool) -> dict[str, Work]:
    """The one path there is; `keep` stores labels and says what became of them."""

    def work(body: bytes) -> Mapping[str, Any]:
        return keep(labels(body, binary=binary), now()).model_dump()

    return {PATH: work}


def labels(body: bytes, *, binary: bool) -> list[Label]:
    """The labels of a request. Raises RefusedError naming every row that is none."""
    rows = _rows(body)
    if not 0 < len(rows) <= MOST_ROWS:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        raise RefusedError(status, f"body: {len(rows)} labels; send 1 to {MOST_ROWS} at once")
    found: list[Label] = []
    errors: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        try:
            found.append(label_of(row if isinstance(row, dict) else {"row": row}, binary=binary))
        except BadFieldError as error:
            value = clipped(plain(repr(error.value)), 60)
            errors.append({"row": number, "field": error.field, "value": value, "detail": error.fix})
    if errors:
        wrong = f"{len(errors)} of {len(rows)} labels cannot be taken, so none was; see `errors`"
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, wrong, errors=errors[:MOST_NAMED])
    return found


def _rows(body: bytes) -> list[Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _lines(body)
    return found if isinstance(found, list) else [found]


def _lines(body: bytes) -> list[Any]:
    try:
        return list(msgspec.json.Decoder().decode_lines(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        wrong = f"body: neither a JSON array of labels nor JSON lines: {error}"
        raise RefusedError(HTTPStatus.BAD_REQUEST, wrong) from error
