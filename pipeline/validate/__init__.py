"""`make validate`: is everything that a cluster will be asked to run what it should be? The same locally and in CI."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.context import Context
from pipeline.validate import analyses, digests, releases, renders, schemas, security, settings
from pipeline.validate.places import objects
from pipeline.validate.renders import Document
from pipeline.validate.results import Result

__all__ = ["Result", "validate"]

_OF_KUSTOMIZE = frozenset({"Kustomization", "Component"})


def validate(context: Context, say: Callable[[str], None]) -> tuple[Result, ...]:
    """Every check of a checkout, in the order people read them. Raises ConfigError, GitError, UnavailableError."""
    root, mine = context.root, context.settings
    with TemporaryDirectory(prefix="flightline-") as folder, ThreadPoolExecutor() as pool:
        scratch = Path(folder)
        agreed = pool.submit(settings.check, root, mine)
        rerendered = pool.submit(releases.check, context)
        say("rendering every overlay with every combination of components")
        rendered = renders.render(root, mine, scratch)
        standing = tuple(_plain(root, "k8s/releases/*/manifests.yaml"))
        documents = (*rendered.documents, *standing, *_plain(root, "argocd/**/*.yaml"))
        say(f"checking {len(documents)} objects")
        scanned = pool.submit(security.check, root, documents, scratch / "security")
        formed = schemas.check(root, documents, scratch / "schemas")
        named = digests.check(root, documents)
        judged = analyses.check(documents)
        return (rendered.result, formed, judged, scanned.result(), named, rerendered.result(), agreed.result())


def _plain(root: Path, pattern: str) -> Iterator[Document]:
    """Objects that stand in files as they are; what kustomize patches with is no object of its own."""
    for path in sorted(root.glob(pattern)):
        if "settings" not in path.relative_to(root).parts:
            for body, written in objects(path.read_text()):
                if body.get("kind") not in _OF_KUSTOMIZE:
                    yield Document(str(path.relative_to(root)), body, written)
