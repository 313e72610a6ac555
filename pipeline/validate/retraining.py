"""k8s/retraining/: is it as the steps render it, and what does it bring to a cluster?"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.delivery.kustomize import KustomizeError, build
from pipeline.monitoring.retrain import manifests
from pipeline.tools import tool
from pipeline.validate.places import objects
from pipeline.validate.renders import Document
from pipeline.validate.results import Result, said, several

NAME = "retraining"
ENGINES = ("job", "workflow")


@dataclass(frozen=True)
class Rendered:
    """The objects of both engines, and what the check found."""

    documents: tuple[Document, ...]
    result: Result


def render(root: Path, scratch: Path) -> Rendered:
    """Both engines by kustomize, in a copy under `scratch`. Raises ConfigError, UnavailableError."""
    if not (root / manifests.FOLDER).is_dir():
        return Rendered((), Result(NAME, "there is none", ()))
    stale = manifests.differing(root)
    failures = [f"{one}: not as the steps render it; run `flightline retraining manifests`" for one in stale]
    copy = scratch / "retraining"
    shutil.copytree(root / manifests.FOLDER, copy)
    documents: list[Document] = []
    for engine in ENGINES:
        try:
            documents += _objects(copy, engine)
        except KustomizeError as error:
            failures.append(f"{manifests.FOLDER / engine}: {said(str(error), scratch)}")
    return Rendered(tuple(documents), Result(NAME, several(len(documents), "object"), tuple(failures)))


def _objects(copy: Path, engine: str) -> Iterator[Document]:
    text = build(tool("kustomize"), copy / engine).decode()
    for body, written in objects(text):
        yield Document(str(manifests.FOLDER / engine), body, written)
