"""JSON of many rows at once: texts of their values between constant pieces, joined once. No object is made per row."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

Texts = list[bytes]
_ENCODER = msgspec.json.Encoder()


def texts(values: Iterable[Any]) -> Texts:
    """Each value as JSON, which has no line break in it."""
    lines = _ENCODER.encode_lines(values).split(b"\n")
    lines.pop()
    return lines


def weave(rows: int, before: bytes, parts: Sequence[bytes | Texts], between: bytes, after: bytes) -> bytes:
    """Row after row, each of all parts in order: the bytes that are the same for all, or the row's own text.

    The fewer the pieces the quicker: what stands at a row's end and at the next one's beginning is one, `between` them.
    """
    if rows == 1:  # half the work
        return b"".join([before, *[part[0] if isinstance(part, list) else part for part in parts], after])
    width = len(parts) + 1
    pieces = [between] * (rows * width)
    for place, part in enumerate(parts):
        pieces[place::width] = part if isinstance(part, list) else [part] * rows
    pieces[-1] = after
    return b"".join([before, *pieces])


def thread(body: bytes, before: bytes, own: Texts, middle: bytes, after: bytes) -> bytes | None:
    """Each object of a JSON array as it stands in `body`: behind `before`, its own text and `middle`, then `after`.

    The objects are flat, so an opening brace begins one; None where there are more of them, in texts. A comma is put
    before `after`. The body is made a template rather than cut up, which takes twice as long.
    """
    inner = _literal(body.strip(b" \t[{]"))
    start, end = b"%b%%b%b{" % (_literal(before), _literal(middle)), _literal(after)
    template = inner.replace(b"{", end + start)
    if len(template) - len(inner) != (len(own) - 1) * (len(end + start) - 1):
        return None
    return b"%b%b,%b" % (start, template, end) % tuple(own)


def _literal(template: bytes) -> bytes:
    return template.replace(b"%", b"%%")
