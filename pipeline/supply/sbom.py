"""The software bill of materials of an image, in CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/.

A function of the image alone: no time, no random number, so that the same image has the same document.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pipeline.supply.contents import Contents, Package

TYPE = "cyclonedx"
SPECIFICATION = "1.6"
_EXPRESSION = re.compile(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)+")


def document(name: str, digest: str, version: str, contents: Contents) -> dict[str, Any]:
    """The SBOM of the image `name` (HOST/REPOSITORY) with that digest, which holds the bundle of that version."""
    parts = sorted(_parts(contents, version), key=lambda one: str(one["bom-ref"]))
    image = _image(name, digest)
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image['purl'])}",
        "version": 1,
        "metadata": {"component": image, "tools": {"components": [{"type": "application", "name": "flightline"}]}},
        "components": parts,
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": [one["bom-ref"] for one in parts]}],
    }


def names_image(document: Mapping[str, Any]) -> str:
    """The digest of the image that an SBOM says it is about, "" where it says none."""
    return str(document.get("metadata", {}).get("component", {}).get("version", ""))


def _image(name: str, digest: str) -> dict[str, Any]:
    short = name.rpartition("/")[2]
    purl = f"pkg:oci/{short.lower()}@{quote(digest, safe='')}?repository_url={quote(name, safe='/:')}"
    return {"type": "container", "bom-ref": purl, "name": name, "version": digest, "purl": purl}


def _parts(contents: Contents, version: str) -> Iterator[dict[str, Any]]:
    if contents.system:
        yield _system(contents)
    distribution = "-".join(filter(None, (contents.system.get("ID", ""), contents.system.get("VERSION_ID", ""))))
    for one in contents.debian:
        yield _debian(one, contents.system.get("ID", "debian"), distribution)
    for one in contents.python:
        yield _component(f"pkg:pypi/{one.name}@{quote(one.version, safe=':')}", one) | _licenses(one.license)
    if contents.interpreter:
        yield _component(f"pkg:generic/python@{contents.interpreter}", Package("python", contents.interpreter))
    if graph := contents.bundle.get("model.onnx"):
        yield _model(version, graph)


def _system(contents: Contents) -> dict[str, Any]:
    name, version = contents.system.get("ID", "linux"), contents.system.get("VERSION_ID", "")
    return {"type": "operating-system", "bom-ref": f"os:{name}@{version}", "name": name, "version": version}


def _debian(package: Package, vendor: str, distribution: str) -> dict[str, Any]:
    where = "&".join(
        f"{key}={value}" for key, value in (("arch", package.architecture), ("distro", distribution)) if value
    )
    return _component(
        f"pkg:deb/{vendor}/{quote(package.name, safe='')}@{quote(package.version, safe=':')}?{where}", package
    )


def _component(purl: str, package: Package) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}


def _licenses(stated: str) -> dict[str, Any]:
    """Several SPDX names are an expression; a single one may be anything a person wrote."""
    if not stated:
        return {}
    if _EXPRESSION.fullmatch(stated):
        return {"licenses": [{"expression": stated}]}
    return {"licenses": [{"license": {"name": stated}}]}


def _model(version: str, graph: bytes) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"bundle:{version}",
        "name": "model.onnx",
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(graph).hexdigest()}],
    }
