"""A picture from somebody else, written anew: nothing passes but its size, its palette and its pixels.

The format is of the PNG specification, https://www.w3.org/TR/png-3/ (chunks in section 5, colour types in 11.2.1).
"""

import struct
import zlib
from collections.abc import Iterator

MOST_BYTES = 400_000
MOST_SIDE = 2400
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"PLTE", b"tRNS")
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 4: (8,), 6: (8,)}
_FILTERS = 4


class PictureError(ValueError):
    """Not a plain PNG of a sensible size. Says what is wrong with it."""


def rewritten(data: bytes) -> bytes:
    """The same pixels in a new file, without text, profiles or anything behind the end. Raises PictureError."""
    if len(data) > MOST_BYTES:
        raise PictureError(f"{len(data):,} bytes, at most {MOST_BYTES:,} are taken")
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND":
        raise PictureError("it does not begin with its header and end with its end")
    header = chunks[0][1]
    pixels = _pixels(header, b"".join(body for kind, body in chunks if kind == b"IDAT"))
    kept = [(kind, body) for kind, body in chunks if kind in _KEPT]
    if len({kind for kind, _ in kept}) < len(kept) or any(len(body) > 3 * 256 for _, body in kept):
        raise PictureError("it has more than one palette, or one too long")
    if header[9] == 3 and kept[:1] != [(b"PLTE", kept[0][1] if kept else b"")]:  # noqa: PLR2004 - indexed colour
        raise PictureError("it has no palette for its colours")
    parts = [(b"IHDR", header), *kept, (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) up to the end chunk; whatever follows it is left out."""
    if not data.startswith(_SIGNATURE):
        raise PictureError("it does not begin as a PNG does")
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body, check = data[at + 8 : at + 8 + size], data[at + 8 + size : at + 12 + size]
        if len(body) != size or check != struct.pack(">I", zlib.crc32(kind + body)):
            raise PictureError(f"chunk {kind!r} is cut short or damaged")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + size
    raise PictureError("it ends before its end")


def _pixels(header: bytes, packed: bytes) -> bytes:
    """The filtered rows, as many bytes as the header says. Raises PictureError."""
    if len(header) != 13:  # noqa: PLR2004 - what the specification says
        raise PictureError("its header has not 13 bytes")
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", header)
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE):
        raise PictureError(f"{width} x {height} pixels, at most {MOST_SIDE} each way are taken")
    if depth not in _DEPTHS.get(colour, ()) or any(rest):
        raise PictureError("its colours, compression or interlacing are not those of a plain picture")
    row = 1 + (width * _SAMPLES[colour] * depth + 7) // 8
    pixels = _unpacked(packed, row * height)
    if max(pixels[::row]) > _FILTERS:
        raise PictureError("a row has a filter that does not exist")
    return pixels


def _unpacked(packed: bytes, size: int) -> bytes:
    """Exactly `size` bytes; one more than that is never made."""
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise PictureError("its pixels cannot be unpacked") from error
    if len(pixels) != size:
        raise PictureError("it has not as many pixels as its header says")
    return pixels


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
