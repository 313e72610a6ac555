"""Where an image comes from, as a SLSA provenance v1 predicate: https://slsa.dev/spec/v1.0/provenance.

Everything it claims is checked before it is said. The same image, commit and run give the same words.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipeline import builders
from pipeline.config import Settings
from pipeline.delivery.candidate import BASE_LABEL, BASE_NAME_LABEL, LOCK, inputs, locked
from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError
from pipeline.dvcfiles import dvc_hash
from pipeline.image import Summary
from pipeline.supply.contents import Contents, Package, normalised
from serving import bundle

TYPE = "slsaprovenance1"
SERVE_LOCK = "requirements/serve.txt"
_PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)\s*(;)?", re.MULTILINE)


@dataclass(frozen=True)
class Materials:
    """What an image was made of, each proved: the commit, digests as `sha256:...`, hashes as hex."""

    source: str
    bundle: str
    bundle_dvc: str
    code_image: str
    inputs: str
    base: str
    base_name: str
    locks: Mapping[str, str]


def gather(repository: Repository, source: str, image: Summary, contents: Contents) -> Materials:
    """Check bundle, code and packages in the image against the commit `source`. Raises DeliveryError, BundleError."""
    labels, out = image.labels, str(locked(repository, source)["md5"])
    _check_bundle(image, contents, out, source)
    with repository.exported(source) as tree:
        base, said = labels.get(BASE_LABEL, ""), labels.get(builders.INPUTS_LABEL, "")
        _check_code(image.reference, said, inputs(tree, base), source)
        _check_installed(contents.python, (tree / SERVE_LOCK).read_text(), source)
        locks = {name: hashlib.sha256((tree / name).read_bytes()).hexdigest() for name in (LOCK, SERVE_LOCK)}
    return Materials(source, image.bundle, out, image.code, said, base, labels.get(BASE_NAME_LABEL, ""), locks)


def _check_bundle(image: Summary, contents: Contents, out: str, source: str) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, data in contents.bundle.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        if not contents.bundle or bundle.version(folder) != image.bundle:
            raise DeliveryError(f"{image.reference}: holds not the bundle that its label names; append it again")
        if dvc_hash(folder) != out:
            raise DeliveryError(
                f"{image.reference}: holds bundle {image.bundle[:12]}, which {LOCK} at {source[:12]} does not name; "
                "sign it from the commit that made it (--source)"
            )


def _check_code(reference: str, said: str, found: str, source: str) -> None:
    if said != found:
        raise DeliveryError(
            f"{reference}: its code was made of inputs {said[:12] or 'unknown'}, those of {source[:12]} are "
            f"{found[:12]}; sign it from the commit that it was built from (--source)"
        )


def _check_installed(installed: Iterable[Package], lock: str, source: str) -> None:
    """What is installed is what is locked. A line with a marker may be for another platform."""
    pinned = {normalised(name): (version, bool(marker)) for name, version, marker in _PINNED.findall(lock)}
    found = {one.name: one.version for one in installed}
    for name in sorted({*pinned, *found}):
        version, optional = pinned.get(name, ("", False))
        if found.get(name, version if optional else "") != version:
            raise DeliveryError(
                f"{name}: the image has {found.get(name, 'none')}, {SERVE_LOCK} at {source[:12]} pins "
                f"{version or 'none'}; build the code image again"
            )


def predicate(materials: Materials, settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """The statement's predicate. Of the environment only what names repository, workflow and run is read."""
    home = _public(settings.repository)
    return {
        "buildDefinition": {
            "buildType": f"{home}/blob/{settings.branch}/docs/supply-chain.md#build-type-1",
            "externalParameters": _parameters(home, materials, environ),
            "internalParameters": {"inputs": materials.inputs},
            "resolvedDependencies": list(_dependencies(home, materials)),
        },
        "runDetails": {"builder": {"id": _builder(home, environ)}, "metadata": {"invocationId": _run(home, environ)}},
    }


def sources(predicate: Mapping[str, Any]) -> tuple[str, ...]:
    """The commits that a predicate names."""
    return tuple(_digests(predicate, "gitCommit"))


def bundles(predicate: Mapping[str, Any]) -> tuple[str, ...]:
    """The versions of bundles that a predicate names."""
    return tuple(one for one in _digests(predicate, "sha256", "bundle"))


def _digests(predicate: Mapping[str, Any], kind: str, name: str = "") -> Iterator[str]:
    for one in predicate.get("buildDefinition", {}).get("resolvedDependencies", ()):
        if kind in one.get("digest", {}) and name in ("", one.get("name", "")):
            yield str(one["digest"][kind])


def _dependencies(home: str, materials: Materials) -> Iterator[dict[str, Any]]:
    at = f"git+{home}@{materials.source}"
    yield {"name": "source", "uri": at, "digest": {"gitCommit": materials.source}}
    yield _image("base image", materials.base_name, materials.base)
    yield _image("code image", "", materials.code_image)
    yield {"name": "bundle", "digest": {"sha256": materials.bundle}, "annotations": {"dvc": materials.bundle_dvc}}
    for name, digest in sorted(materials.locks.items()):
        yield {"name": name, "uri": f"{at}#{name}", "digest": {"sha256": digest}}


def _image(name: str, reference: str, digest: str) -> dict[str, Any]:
    named = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    return {**named, "uri": f"docker://{reference}"} if "/" in reference else named


def _parameters(home: str, materials: Materials, environ: Mapping[str, str]) -> dict[str, Any]:
    """What whoever started the build chose: the commit, and on a forge the workflow."""
    workflow, _, ref = environ.get("GITHUB_WORKFLOW_REF", "").partition("@")
    chosen = {"repository": home, "commit": materials.source, "workflow": _path(workflow), "ref": ref}
    return {name: value for name, value in chosen.items() if value}


def _path(workflow: str) -> str:
    """`OWNER/NAME/.github/workflows/x.yml` without owner and name."""
    return "/".join(workflow.split("/")[2:])


def _builder(home: str, environ: Mapping[str, str]) -> str:
    """The workflow that ran, as its certificate names it; elsewhere the page that says what building by hand means."""
    server, workflow = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_WORKFLOW_REF", "")
    return f"{_public(server)}/{workflow}" if server and workflow else f"{home}#by-hand"


def _run(home: str, environ: Mapping[str, str]) -> str:
    run, attempt = environ.get("GITHUB_RUN_ID", ""), environ.get("GITHUB_RUN_ATTEMPT", "1")
    return f"{home}/actions/runs/{run}/attempts/{attempt}" if run else ""


def _public(url: str) -> str:
    """The address without a user and password that somebody wrote into it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/").removesuffix(".git")
