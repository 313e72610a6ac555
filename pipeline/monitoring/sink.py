"""Where the OpenTelemetry Collector hands over the prediction log: OTLP over HTTP in JSON, into the store.

OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp), `POST /v1/logs` with an ExportLogsServiceRequest. The body of a
log record is the line as the server wrote it; resource and attributes are for other sinks. It is answered 200 once the
rows are in the store.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pipeline.monitoring.endpoint import RefusedError, Work
from pipeline.monitoring.log import LogCounts
from pipeline.monitoring.wrapped import unwrapped

LOGS = "/v1/logs"

Add = Callable[[Sequence[bytes]], LogCounts]


def routes(add: Add) -> dict[str, Work]:
    """The one path of OTLP that there is here; `add` keeps lines and says what became of them."""

    def work(body: bytes) -> Mapping[str, Any]:
        return said(add(lines(body)))

    return {LOGS: work}


def lines(body: bytes) -> list[bytes]:
    """Each line of an ExportLogsServiceRequest in JSON. Raises RefusedError where it is none."""
    try:
        return unwrapped(body)
    except ValueError as error:
        wrong = f"body: no ExportLogsServiceRequest in JSON: {error}; set `encoding: json` in the exporter"
        raise RefusedError(HTTPStatus.BAD_REQUEST, wrong) from error


def said(counts: LogCounts) -> dict[str, Any]:
    """An ExportLogsServiceResponse: empty where all lines were predictions, else how many were not."""
    if not counts.skipped:
        return {}
    examples = "".join(f"; {one}" for one in counts.examples)
    message = f"{counts.malformed} malformed and {counts.foreign} foreign lines were not kept{examples}"
    return {"partialSuccess": {"rejectedLogRecords": str(counts.skipped), "errorMessage": message}}
