"""Only pixels of a plain picture get through."""

import contextlib
import io
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from pipeline.report import plots
from pipeline.report.document import document
from pipeline.review import png
from tests import verdicts

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)


def picture(mode: str = "RGB", size: tuple[int, int] = (30, 20), **how: object) -> bytes:
    out = io.BytesIO()
    image = Image.effect_noise(size, 60).convert("RGB")
    (image.quantize(16) if mode == "P" else image.convert(mode)).save(out, "PNG", **how)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def kinds(data: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append(kind)
        at += 12 + size
    return found


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_pixels_stay_as_they_are(mode: str) -> None:
    given = picture(mode)
    before, after = (Image.open(io.BytesIO(one)).convert("RGBA") for one in (given, png.rewritten(given)))
    assert before.tobytes() == after.tobytes()


def test_pictures_of_the_report_get_through_and_are_small() -> None:
    drawn = [plots.png(one) for one in document(verdicts.verdict()).pictures[:3]]
    for data in drawn:
        assert Image.open(io.BytesIO(png.rewritten(data))).width == 720
        assert len(data) < 40_000


def test_text_profiles_and_whatever_follows_the_end_are_gone() -> None:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "@everyone <script>")
    data = picture(pnginfo=told, icc_profile=b"x" * 200) + b"<script>alert(1)</script>"
    assert b"script" in data
    rewritten = png.rewritten(data)
    assert kinds(rewritten) == [b"IHDR", b"IDAT", b"IEND"]
    assert b"script" not in rewritten


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "does not begin as a PNG"),
        (SIGNATURE, "ends before its end"),
        (picture()[:-20], "cut short or damaged|ends before"),
        (picture().replace(b"IDAT", b"IDAX", 1), "damaged"),
        (SIGNATURE + header(1, 1) + chunk(b"IEND", b""), "as many pixels|unpacked"),
        (SIGNATURE + header(9000, 1) + chunk(b"IEND", b""), "9000 x 1 pixels"),
        (SIGNATURE + header(0, 5) + chunk(b"IEND", b""), "0 x 5 pixels"),
        (SIGNATURE + header(5, 5, 16) + chunk(b"IEND", b""), "plain picture"),
        (SIGNATURE + header(5, 5, interlaced=1) + chunk(b"IEND", b""), "plain picture"),
        (SIGNATURE + header(1, 1, colour=3) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b""), "palette"),
        (SIGNATURE + header(1, 1) + chunk(b"IDAT", zlib.compress(b"\x09abc")) + chunk(b"IEND", b""), "filter"),
        (
            SIGNATURE + header(2, 2) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b""),
            "as many pixels",
        ),
        (b"x" * (png.MOST_BYTES + 1), "bytes"),
    ],
)
def test_anything_else_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(png.PictureError, match=why):
        png.rewritten(data)


def test_pixels_beyond_what_the_header_says_are_never_unpacked() -> None:
    packed = zlib.compress(bytes(100_000_000), 9)
    bomb = SIGNATURE + header(2, 2) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    tracemalloc.start()
    with pytest.raises(png.PictureError, match="as many pixels"):
        png.rewritten(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@settings(max_examples=300, deadline=None)
@given(
    st.binary(min_size=13, max_size=13) | st.sampled_from([HEADER]),
    st.binary(max_size=60).map(zlib.compress) | st.binary(max_size=60),
    st.lists(st.tuples(st.sampled_from([b"PLTE", b"tRNS", b"tEXt"]), st.binary(max_size=30)), max_size=3),
)
def test_damage_is_refused_or_harmless_but_never_a_fault(
    head: bytes, packed: bytes, others: list[tuple[bytes, bytes]]
) -> None:
    parts = [(b"IHDR", head), *others, (b"IDAT", packed), (b"IEND", b"")]
    with contextlib.suppress(png.PictureError):
        Image.open(io.BytesIO(png.rewritten(SIGNATURE + b"".join(chunk(*one) for one in parts)))).load()
