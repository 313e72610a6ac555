"""OCI images as data: descriptors, manifests, layers, the image layout on disk. Every digest read is checked.

Formats: https://github.com/opencontainers/image-spec (v1.1). Docker's schema 2 documents have the same shape and are
read too; an image keeps the family it has.
"""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

OCI = "application/vnd.oci.image"
MANIFEST, INDEX, CONFIG, LAYER = (
    f"{OCI}.manifest.v1+json",
    f"{OCI}.index.v1+json",
    f"{OCI}.config.v1+json",
    f"{OCI}.layer.v1.tar+gzip",
)
DOCKER = "application/vnd.docker"
DOCKER_MANIFEST, DOCKER_INDEX = (
    f"{DOCKER}.distribution.manifest.v2+json",
    f"{DOCKER}.distribution.manifest.list.v2+json",
)
LAYER_OF = {MANIFEST: LAYER, DOCKER_MANIFEST: f"{DOCKER}.image.rootfs.diff.tar.gzip"}
INDEXES = (INDEX, DOCKER_INDEX)
PLATFORM = "linux/amd64"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20


class ImageError(Exception):
    """An image that cannot be read, made or stored. The message names the reference, what is wrong and the fix."""


@dataclass(frozen=True)
class Descriptor:
    """What a blob is called: media type, digest (`sha256:` and hex) and size in bytes."""

    media_type: str
    digest: str
    size: int

    def document(self) -> dict[str, Any]:
        """As the specification writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Blob:
    """Some bytes and their descriptor, which `blob` computes."""

    descriptor: Descriptor
    data: bytes


@dataclass(frozen=True)
class Layer:
    """A compressed layer and the digest of its tar, which the config lists."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True)
class Image:
    """A manifest and its config, both read and checked. `config_document` is kept whole, unknown fields too."""

    manifest: Blob
    config: Descriptor
    layers: tuple[Descriptor, ...]
    config_document: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes that a node pulls: layers as compressed, and the config."""
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def labels(self) -> Mapping[str, str]:
        """The config's labels."""
        return self.config_document.get("config", {}).get("Labels") or {}

    @property
    def environment(self) -> Mapping[str, str]:
        """The config's environment."""
        variables = self.config_document.get("config", {}).get("Env") or ()
        return {name: value for name, _, value in (one.partition("=") for one in variables)}


class Store(Protocol):
    """Where images are: a layout on disk or a repository of a registry."""

    def manifest(self, reference: str) -> Blob:
        """The manifest or index of a digest or tag; "" is the only one. Raises ImageError."""

    def open(self, descriptor: Descriptor) -> AbstractContextManager[IO[bytes]]:
        """The bytes of a blob, unchecked. Raises ImageError."""

    def take(self, descriptor: Descriptor, origin: "Store") -> None:
        """Hold this blob of `origin`, checked; nothing is sent twice. Raises ImageError."""

    def put(self, blob: Blob) -> None:
        """Hold these bytes."""

    def publish(self, manifest: Blob, tag: str) -> None:
        """Hold this manifest, whose blobs are there already, and give it the tag, unless that is ""."""


def sha256(data: bytes) -> str:
    """`sha256:` and hex."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(data: bytes, media_type: str) -> Blob:
    """Bytes with their descriptor."""
    return Blob(Descriptor(media_type, sha256(data), len(data)), data)


def encoded(document: Mapping[str, Any], media_type: str) -> Blob:
    """A JSON document as a blob: keys in order, no spaces, so that equal documents are equal bytes."""
    return blob(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), media_type)


def layer_type(image: Image) -> str:
    """The media type a further layer of this image must have. Raises ImageError."""
    family = image.manifest.descriptor.media_type
    if family not in LAYER_OF:
        raise ImageError(f"{image.manifest.descriptor.digest}: {family} cannot take a layer; push it as an OCI image")
    return LAYER_OF[family]


def pack(files: Mapping[str, bytes], media_type: str = LAYER) -> Layer:
    """A layer of read-only files owned by root, with their folders: a function of names and contents alone.

    Names are relative. Times are 0, modes 0444 and 0555, order is by name, gzip's level is 9 and its header bare.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
            archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o555, 0))
        for name in sorted(files):
            archive.addfile(_entry(name, tarfile.REGTYPE, 0o444, len(files[name])), io.BytesIO(files[name]))
    return compressed(io.BytesIO(raw.getvalue()), media_type)


def compressed(tar: IO[bytes], media_type: str = LAYER, level: int = 9) -> Layer:
    """A layer of a tar as it is."""
    packed, digest = io.BytesIO(), hashlib.sha256()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=packed, mtime=0) as sink:
        while chunk := tar.read(_CHUNK):
            digest.update(chunk)
            sink.write(chunk)
    return Layer(blob(packed.getvalue(), media_type), f"sha256:{digest.hexdigest()}")


def _entry(name: str, kind: bytes, mode: int, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size = kind, mode, size
    return entry


def manifest_of(config: Descriptor, layers: Iterable[Descriptor], media_type: str = MANIFEST) -> Blob:
    """The manifest that ties a config to its layers."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.document(),
        "layers": [layer.document() for layer in layers],
    }
    return encoded(document, media_type)


def read(store: Store, reference: str, platform: str = PLATFORM) -> Image:
    """Read the image a digest or tag names; of a multi-platform index, the one for `platform`. Raises ImageError."""
    found = store.manifest(reference)
    if found.descriptor.media_type in INDEXES:
        found = store.manifest(_choose(found, platform))
    document = _parsed(found.data, reference)
    config, layers = _described(document, "config"), tuple(_descriptor(one) for one in document.get("layers", ()))
    return Image(found, config, layers, _parsed(fetch(store, config), reference))


def fetch(store: Store, descriptor: Descriptor) -> bytes:
    """A small blob whole, checked. Raises ImageError."""
    with store.open(descriptor) as source, tempfile.SpooledTemporaryFile(max_size=_CHUNK) as kept:
        copy_checked(source, kept, descriptor)
        kept.seek(0)
        return kept.read()


def copy_checked(source: IO[bytes], target: IO[bytes], descriptor: Descriptor) -> None:
    """Copy a blob and raise ImageError where size or digest is not what its descriptor says."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        target.write(chunk)
    check(descriptor, f"sha256:{digest.hexdigest()}", size)


def check(descriptor: Descriptor, digest: str, size: int) -> None:
    """Raise ImageError unless digest and size are the descriptor's."""
    if (digest, size) != (descriptor.digest, descriptor.size):
        raise ImageError(
            f"{descriptor.digest}: the bytes found are {size} long with digest {digest}, where {descriptor.size} were "
            "promised; the image is damaged or was changed, so build or pull it again"
        )


def copy(image: Image, origin: Store, target: Store, tag: str = "") -> None:
    """Copy an image from one store to another. Raises ImageError."""
    for descriptor in (*image.layers, image.config):
        target.take(descriptor, origin)
    target.publish(image.manifest, tag)


def checked_manifest(data: bytes, media_type: str, reference: str) -> Blob:
    """A manifest that was asked for by digest or tag, checked against it where it is a digest."""
    found = blob(data, media_type)
    if DIGEST.fullmatch(reference) and found.descriptor.digest != reference:
        raise ImageError(f"{reference}: the manifest found has digest {found.descriptor.digest}; do not use this image")
    return found


@dataclass(frozen=True)
class Layout:
    """A folder in the OCI image layout: `oci-layout`, `index.json`, `blobs/sha256/`."""

    path: Path

    def manifest(self, reference: str) -> Blob:
        """The manifest of a digest or tag, or the only one."""
        entry = self._entry(reference)
        with self.open(entry) as source:
            return checked_manifest(source.read(), entry.media_type, entry.digest)

    def open(self, descriptor: Descriptor) -> IO[bytes]:
        """The bytes of a blob."""
        if not self._blob(descriptor.digest).is_file():
            raise ImageError(f"{self.path}: blob {descriptor.digest} is missing; build or pull the image again")
        return self._blob(descriptor.digest).open("rb")

    def take(self, descriptor: Descriptor, origin: Store) -> None:
        """Copy a blob of another store, unless it is here."""
        if self._blob(descriptor.digest).is_file():
            return
        with origin.open(descriptor) as source, tempfile.TemporaryFile() as kept:
            copy_checked(source, kept, descriptor)
            kept.seek(0)
            self._write(descriptor.digest, kept)

    def put(self, blob: Blob) -> None:
        """Write a blob."""
        self._write(blob.descriptor.digest, io.BytesIO(blob.data))

    def publish(self, manifest: Blob, tag: str) -> None:
        """Write the manifest and name it in the index, last."""
        self.put(manifest)
        entry = manifest.descriptor.document()
        if tag:
            entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        others = [one for one in self._index() if _tag(one) != tag and one["digest"] != manifest.descriptor.digest]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]}
        _replace(self.path / "oci-layout", io.BytesIO(b'{"imageLayoutVersion":"1.0.0"}'))
        _replace(self.path / "index.json", io.BytesIO(encoded(index, INDEX).data))

    def _entry(self, reference: str) -> Descriptor:
        """The index's entry for a digest, a tag or "", the only one; a digest inside a nested index is a blob here."""
        entries = self._index()
        named = [one for one in entries if reference in ("", one["digest"], _tag(one))]
        if not named and DIGEST.fullmatch(reference) and self._blob(reference).is_file():
            document = _parsed(self._blob(reference).read_bytes(), reference)
            return Descriptor(document.get("mediaType", MANIFEST), reference, 0)
        if len(named) != 1:
            known = ", ".join(f"{_tag(one) or '(no tag)'} {one['digest']}" for one in entries) or "nothing"
            raise ImageError(f"{self.path}: {reference or 'one image'} was asked for, the layout holds {known}")
        return _descriptor(named[0])

    def _index(self) -> list[dict[str, Any]]:
        path = self.path / "index.json"
        found: list[dict[str, Any]] = (
            _parsed(path.read_bytes(), str(path)).get("manifests", []) if path.is_file() else []
        )
        return found

    def _blob(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise ImageError(f"{self.path}: {digest!r} is not a digest (sha256: and 64 hex digits)")
        return self.path / "blobs" / digest.replace(":", "/")

    def _write(self, digest: str, source: IO[bytes]) -> None:
        _replace(self._blob(digest), source)


def _replace(path: Path, source: IO[bytes]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as kept:
        shutil.copyfileobj(source, kept)
    Path(kept.name).chmod(0o644)
    Path(kept.name).replace(path)


def _choose(index: Blob, platform: str) -> str:
    """The digest of the index's entry for a platform."""
    entries = _parsed(index.data, index.descriptor.digest).get("manifests", ())
    offered = {_platform(one): str(one["digest"]) for one in reversed(entries)}
    if platform not in offered:
        raise ImageError(f"{index.descriptor.digest}: no image for {platform}; it holds {', '.join(sorted(offered))}")
    return offered[platform]


def _platform(entry: Mapping[str, Any]) -> str:
    platform = entry.get("platform", {})
    return f"{platform.get('os', '?')}/{platform.get('architecture', '?')}"


def _tag(entry: Mapping[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get("org.opencontainers.image.ref.name", ""))


def _described(document: Mapping[str, Any], field: str) -> Descriptor:
    if not isinstance(document.get(field), dict):
        raise ImageError(f"the manifest has no {field}; only OCI and Docker schema 2 images can be used")
    return _descriptor(document[field])


def _descriptor(entry: Mapping[str, Any]) -> Descriptor:
    try:
        return Descriptor(str(entry.get("mediaType", MANIFEST)), str(entry["digest"]), int(entry["size"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(f"{entry!r:.80} is no descriptor: digest or size is missing or malformed") from error


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise ImageError(f"{name}: not JSON: {error}; the image is damaged, so build or pull it again") from error
    return document
