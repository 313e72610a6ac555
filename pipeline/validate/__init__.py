"""`make validate`, `make security`: is what clusters and forges are asked to run what it should be? Here as in CI."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.context import Context
from pipeline.validate import (
    alerts,
    analyses,
    digests,
    releases,
    renders,
    retraining,
    scans,
    schemas,
    security,
    settings,
    workflows,
)
from pipeline.validate.places import objects
from pipeline.validate.renders import Document
from pipeline.validate.results import Result

__all__ = ["Result", "secure", "validate"]

_OF_KUSTOMIZE = frozenset({"Kustomization", "Component"})


def validate(context: Context, say: Callable[[str], None]) -> tuple[Result, ...]:
    """Every check of a checkout, in the order people read them. Raises ConfigError, GitError, UnavailableError."""
    root, mine = context.root, context.settings
    with TemporaryDirectory(prefix="flightline-") as folder, ThreadPoolExecutor() as pool:
        scratch = Path(folder)
        agreed = pool.submit(settings.check, root, mine)
        rerendered = pool.submit(releases.check, context)
        linted = pool.submit(workflows.check, root)
        say("rendering every overlay with every combination of components")
        rendered, retrains = renders.render(root, mine, scratch), retraining.render(root, scratch)
        documents = (*rendered.documents, *retrains.documents, *_standing(root))
        say(f"checking {len(documents)} objects")
        scanned = pool.submit(security.check, root, documents, scratch / "security")
        formed = schemas.check(root, documents, scratch / "schemas")
        named = digests.check(root, documents)
        judged = analyses.check(documents)
        acted_on = alerts.check(root, documents)
        later = (rerendered.result(), agreed.result(), linted.result())
        return (rendered.result, retrains.result, formed, judged, acted_on, scanned.result(), named, *later)


def secure(context: Context, say: Callable[[str], None], *, offline: bool = False) -> tuple[Result, ...]:
    """Every scan of a checkout; `offline` leaves out the one that asks a database. Raises as `validate` does."""
    root = context.root
    with TemporaryDirectory(prefix="flightline-") as folder, ThreadPoolExecutor() as pool:
        scratch = Path(folder)
        linted, found = pool.submit(workflows.check, root), pool.submit(scans.offline, root)
        audited = () if offline else (pool.submit(scans.dependencies, root),)
        say("rendering every overlay with every combination of components")
        retrains = retraining.render(root, scratch).documents
        documents = (*renders.render(root, context.settings, scratch).documents, *retrains, *_standing(root))
        say(f"scanning {len(documents)} objects")
        scanned = security.check(root, documents, scratch / "security")
        return (linted.result(), scanned, *found.result(), *(one.result() for one in audited))


def _standing(root: Path) -> Iterator[Document]:
    """What is released, and what is applied as it stands."""
    for pattern in ("k8s/releases/*/manifests.yaml", "argocd/**/*.yaml", "k8s/admission/**/*.yaml"):
        yield from _plain(root, pattern)


def _plain(root: Path, pattern: str) -> Iterator[Document]:
    """Objects that stand in files as they are; what kustomize patches with is no object of its own."""
    for path in sorted(root.glob(pattern)):
        if "settings" not in path.relative_to(root).parts:
            for body, written in objects(path.read_text()):
                if body.get("kind") not in _OF_KUSTOMIZE:
                    yield Document(str(path.relative_to(root)), body, written)
