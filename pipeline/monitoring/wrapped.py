"""Lines of a log as the server wrote them, taken out of what a container runtime or a collector put around them.

Taken: the server's JSON lines; Kubernetes' CRI format (`TIME stdout F LINE`, P for a part of one) and Docker's; the
OpenTelemetry Collector's files (one OTLP ExportLogsServiceRequest in JSON a line; OTLP 1.9); JSON with the line as
`body` or `message`.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import UNSET, UnsetType

_CRI = re.compile(rb"\S+ (stdout|stderr) ([FP])\S* (.*)", re.DOTALL)


class _Body(msgspec.Struct):
    stringValue: str = ""  # noqa: N815 - OTLP's name


class _Record(msgspec.Struct):
    body: _Body = msgspec.field(default_factory=_Body)


class _Scope(msgspec.Struct):
    logRecords: list[_Record] = []  # noqa: N815 - OTLP's name; msgspec copies


class _Resource(msgspec.Struct):
    scopeLogs: list[_Scope] = []  # noqa: N815 - OTLP's name; msgspec copies


class _Wrapper(msgspec.Struct):
    resourceLogs: list[_Resource] = []  # noqa: N815 - OTLP's name; msgspec copies
    log: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    message: str | UnsetType = UNSET

    def lines(self) -> Iterator[bytes]:
        for resource in self.resourceLogs:
            for scope in resource.scopeLogs:
                yield from (record.body.stringValue.encode() for record in scope.logRecords)
        yield from (text.encode() for text in (self.log, self.body, self.message) if text is not UNSET)


_WRAPPERS = msgspec.json.Decoder(_Wrapper)


def whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without empty ones, and without what a container runtime put before them; parts are put together."""
    parts: dict[bytes, bytes] = {}
    for line in lines:
        found = _CRI.match(line) if line[:1].isdigit() else None
        if found is None:
            text = line
        else:
            text = parts.pop(found[1], b"") + found[3].rstrip(b"\r\n")
            if found[2] == b"P":
                parts[found[1]], text = text, b""
        if text := text.strip():
            yield text
    yield from parts.values()


def opened(line: bytes) -> list[bytes]:
    """The lines in a wrapper; none where it is not one."""
    try:
        return unwrapped(line)
    except ValueError:
        return []


def unwrapped(document: bytes) -> list[bytes]:
    """The lines in a wrapper. Raises ValueError where it is not one."""
    try:
        return list(_WRAPPERS.decode(document).lines())
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
