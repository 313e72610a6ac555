"""JSON of many rows at once: texts of their values between constant pieces, joined once. No object is made per row."""

from collections.abc import Iterable
from typing import Any

import msgspec

Texts = list[bytes]
_ENCODER = msgspec.json.Encoder()


def texts(values: Iterable[Any]) -> Texts:
    """Each value as JSON, which has no line break in it."""
    lines = _ENCODER.encode_lines(values).split(b"\n")
    lines.pop()
    return lines


def weave(rows: int, *parts: bytes | Texts) -> bytes:
    """Row after row, each of all parts in order: the bytes that are the same for all, or the row's own text."""
    if rows == 1:  # half the work
        return b"".join([part[0] if isinstance(part, list) else part for part in parts])
    pieces = [b""] * (rows * len(parts))
    for place, part in enumerate(parts):
        pieces[place :: len(parts)] = part if isinstance(part, list) else [part] * rows
    return b"".join(pieces)
