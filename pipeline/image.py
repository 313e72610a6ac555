"""The image: code is built once per change of code; a bundle is put on it as one layer, without a builder.

An image is named as `HOST/REPOSITORY[:TAG][@DIGEST]` in a registry, or as `oci:FOLDER[:TAG][@DIGEST]` in an OCI layout.
"""

import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import builders, oci
from pipeline.builders import Recipe
from pipeline.oci import Blob, Image, ImageError, Layout, Store
from pipeline.registry import Registry
from serving import bundle

BUNDLE_LABEL, CODE_LABEL = "flightline.bundle", "flightline.code"
VERSION_LABEL = "org.opencontainers.image.version"
BUNDLE_FOLDER, BUNDLE_VERSION = "FLIGHTLINE_BUNDLE", "FLIGHTLINE_BUNDLE_VERSION"
BUILT = "oci:build/image:code"

_SUFFIX = r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
_IN_LAYOUT = re.compile(rf"oci:(?P<folder>[^:@]+){_SUFFIX}", re.ASCII)
_IN_REGISTRY = re.compile(
    rf"(?P<host>localhost|[\w.-]*[.:][\w.:-]*|\[::1\]:\d+)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*){_SUFFIX}",
    re.ASCII,
)


@dataclass(frozen=True)
class Location:
    """A store and what to ask it for; `name` is the reference without tag and digest."""

    store: Store
    name: str
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        """The digest where it was given, else the tag; "" asks a layout for its only image."""
        return self.digest or self.tag


@dataclass(frozen=True)
class Summary:
    """What an image is. `size` is what a node pulls, in bytes; `code` is the code image's digest, "" for one itself."""

    reference: str
    digest: str
    size: int
    layers: tuple[int, ...]
    user: str
    bundle: str
    code: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """A code image that was built: by what, on which base, from which inputs, in how many seconds."""

    image: Summary
    builder: str
    base: str
    inputs: str
    seconds: float


def locate(reference: str) -> Location:
    """Parse a reference. Raises ImageError."""
    if layout := _IN_LAYOUT.fullmatch(reference):
        store: Store = Layout(Path(layout["folder"]))
        return Location(store, f"oci:{layout['folder']}", layout["tag"] or "", layout["digest"] or "")
    if found := _IN_REGISTRY.fullmatch(reference):
        store = Registry(found["host"], found["repository"])
        return Location(store, f"{found['host']}/{found['repository']}", found["tag"] or "", found["digest"] or "")
    raise ImageError(f"{reference!r} names no image; write HOST/REPOSITORY@sha256:... or oci:FOLDER")


def inspect(reference: str) -> Summary:
    """What the image of a reference is. Raises ImageError."""
    place = locate(reference)
    return _summary(place, oci.read(place.store, place.reference or _latest(place)))


def build(
    root: Path,
    destination: str = BUILT,
    *,
    base: str = "",
    builder: str = "",
    secrets: Mapping[str, Path] | None = None,
    cached: bool = True,
    recipe: Recipe = builders.CODE,
) -> Built:
    """Build an image of the sources under `root`, the code image unless told, and store it. Raises ImageError.

    `base` is an image by digest, "local" for one made here, "" for the Dockerfile's own; `builder` is docker, podman or
    buildah, "" for the first that answers. `secrets` are files for the build alone: `ca` (PEM), `pip` (pip.conf); this
    machine's own where none is given.
    """
    start, place = time.monotonic(), locate(destination)
    engine, ground = builders.find(builder), builders.base(root, base)
    given = {**builders.secrets(os.environ), **(secrets or {})}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copied:
        made = Layout(Path(folder))
        context = builders.context(root, recipe, Path(copied))
        job = builders.Job(context, engine, ground, given, cached, builders.inputs(root, ground, recipe), recipe)
        builders.run(job, made.path)
        image = builders.with_compressed_layers(made)
        oci.copy(image, made, place.store, place.tag)
    return Built(_summary(place, image), engine, ground.name, job.inputs, time.monotonic() - start)


def append(code: str, folder: Path, destination: str) -> Summary:
    """Put the bundle in `folder` on a code image, as one layer, and store the result. Raises ImageError, BundleError.

    In a registry the code image is named by digest. The same code and bundle give the same digest, wherever and however
    often. Without a tag in `destination`, the first 12 characters of the bundle's version are the tag, for people.
    """
    origin, target = locate(code), locate(destination)
    if isinstance(origin.store, Registry) and not origin.digest:
        raise ImageError(f"{code}: name the code image by digest (@sha256:...); a tag may point elsewhere tomorrow")
    bundle.check_files(folder)
    version, base = bundle.version(folder), oci.read(origin.store, origin.reference)
    layer = oci.pack(_files(folder, base, code), oci.layer_type(base))
    config = oci.encoded(_config(base, layer.diff_id, version), base.config.media_type)
    layers = (*base.layers, layer.blob.descriptor)
    manifest = oci.manifest_of(config.descriptor, layers, base.manifest.descriptor.media_type)
    return _store(origin, target, base, (layer.blob, config, manifest), target.tag or version[:12])


def _store(origin: Location, target: Location, base: Image, made: tuple[Blob, Blob, Blob], tag: str) -> Summary:
    """Blobs first, the manifest last: a reader never finds an image with a part missing."""
    layer, config, manifest = made
    for descriptor in base.layers:
        target.store.take(descriptor, origin.store)
    for blob in (layer, config):
        target.store.put(blob)
    target.store.publish(manifest, tag)
    return _summary(target, oci.read(target.store, manifest.descriptor.digest))


def _files(folder: Path, base: Image, code: str) -> dict[str, bytes]:
    """The layer's files; the image says where its server looks for them."""
    where = base.environment.get(BUNDLE_FOLDER, "").strip("/")
    if not where:
        raise ImageError(f"{code}: sets no {BUNDLE_FOLDER}; this is no code image of `flightline image build`")
    if BUNDLE_LABEL in base.labels:
        raise ImageError(
            f"{code}: already holds bundle {base.labels[BUNDLE_LABEL][:12]}; append to its code image, "
            f"{base.labels.get(CODE_LABEL)}"
        )
    return {f"{where}/{name}": (folder / name).read_bytes() for name in (*bundle.MEMBERS, bundle.SUMS)}


def _config(base: Image, diff_id: str, version: str) -> dict[str, Any]:
    """The code image's config with the layer, the version the server must find, and where both came from."""
    document = dict(base.config_document)
    settings, rootfs = dict(document["config"]), dict(document["rootfs"])
    code = base.manifest.descriptor.digest
    settings["Env"] = [*settings.get("Env", ()), f"{BUNDLE_VERSION}={version}"]
    settings["Labels"] = {**base.labels, VERSION_LABEL: version, BUNDLE_LABEL: version, CODE_LABEL: code}
    rootfs["diff_ids"] = [*rootfs["diff_ids"], diff_id]
    step = {"created": "1970-01-01T00:00:00Z", "created_by": f"flightline image append {version}"}
    # Readers count a history's steps against the layers, so one that is not there must not be begun.
    history = {"history": [*document["history"], step]} if document.get("history") else {}
    return {**document, "config": settings, "rootfs": rootfs, **history}


def _latest(place: Location) -> str:
    if isinstance(place.store, Registry):
        raise ImageError(f"{place.name}: which image? add :TAG or @sha256:...")
    return ""


def _summary(place: Location, image: Image) -> Summary:
    labels, digest = image.labels, image.manifest.descriptor.digest
    return Summary(
        reference=f"{place.name}@{digest}",
        digest=digest,
        size=image.size,
        layers=tuple(layer.size for layer in image.layers),
        user=str(image.config_document.get("config", {}).get("User", "")),
        bundle=labels.get(BUNDLE_LABEL, ""),
        code=labels.get(CODE_LABEL, ""),
        labels=labels,
    )
