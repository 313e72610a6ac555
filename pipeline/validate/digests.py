"""Images by digest only: what a tag names today it may not name tomorrow."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.delivery.render import images
from pipeline.validate.renders import Document
from pipeline.validate.results import Result, grouped, several

NAME = "digests"
DOCKERFILES = (Path("Dockerfile"), Path("infra/images/training.Dockerfile"))
_BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_BASE = re.compile(r"^FROM (?P<image>[^$\s]\S*)", re.MULTILINE)


def check(root: Path, documents: Sequence[Document]) -> Result:
    """Every image of every object, and what the Dockerfiles build on."""
    named = [(one.where, one.name, image) for one in documents for image in images(one.body)]
    named += [(str(file), "base image", image) for file in DOCKERFILES for image in _bases(root / file)]
    failures = grouped(
        (where, f"{who}: {image!r} has no digest; name it as NAME@sha256:...")
        for where, who, image in named
        if not _BY_DIGEST.fullmatch(image)
    )
    return Result(NAME, several(len(named), "image"), failures)


def _bases(dockerfile: Path) -> Iterator[str]:
    for match in _BASE.finditer(dockerfile.read_text() if dockerfile.is_file() else ""):
        if match["image"] != "scratch":
            yield match["image"]
