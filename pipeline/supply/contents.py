"""What an image holds, read out of its layers: Debian's packages, Python's, the interpreter and the bundle."""

import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import PurePosixPath

from pipeline import oci
from pipeline.oci import Descriptor, Image, ImageError, Store

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_READ = re.compile(
    r"var/lib/dpkg/status(\.d/[^/]+)?|(usr/lib|etc)/os-release|(.*/)?[^/]+\.dist-info/METADATA"
    r"|usr/local/include/python[\d.]+/patchlevel\.h"
)
_INTERPRETER = re.compile(r'^#define\s+PY_VERSION\s+"([^"]+)"', re.MULTILINE)
_LONGEST_LICENSE = 64


@dataclass(frozen=True, order=True)
class Package:
    """One installed package. `architecture` is Debian's, `license` as the package states it; "" where it does not."""

    name: str
    version: str
    architecture: str = ""
    license: str = ""


@dataclass(frozen=True)
class Contents:
    """`system` is os-release; `interpreter` the version of a Python that no Debian package brings, else "".

    `bundle` maps the names of the bundle's files to their bytes.
    """

    system: Mapping[str, str]
    debian: tuple[Package, ...]
    python: tuple[Package, ...]
    interpreter: str
    bundle: Mapping[str, bytes]


def read(store: Store, image: Image, folder: str) -> Contents:
    """Read an image whose bundle is in `folder`. Raises ImageError."""
    inside = f"{folder.strip('/')}/"
    files: dict[str, bytes] = {}
    for layer in image.layers:
        for name, data in _entries(store, layer, inside):
            _lay(files, name, data)
    return Contents(
        system=_system(files.get("usr/lib/os-release") or files.get("etc/os-release", b"")),
        debian=tuple(sorted(set(_debian(files)))),
        python=tuple(sorted(set(_python(files)))),
        interpreter=next(filter(None, map(_interpreter, files.items())), ""),
        bundle={name.removeprefix(inside): data for name, data in files.items() if name.startswith(inside)},
    )


def _entries(store: Store, layer: Descriptor, inside: str) -> Iterator[tuple[str, bytes | None]]:
    """What is wanted of a layer, checked against its digest first; None for a name that the layer takes away."""
    with store.open(layer) as source, tempfile.TemporaryFile() as kept:
        oci.copy_checked(source, kept, layer)
        kept.seek(0)
        try:
            with tarfile.open(fileobj=kept, mode="r:*") as archive:
                for entry in archive:
                    yield from _entry(archive, entry, inside)
        except tarfile.TarError as error:
            raise ImageError(f"{layer.digest}: {layer.media_type} cannot be unpacked ({error}); use gzip") from error


def _entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, inside: str) -> Iterator[tuple[str, bytes | None]]:
    name = PurePosixPath("/", entry.name).as_posix().lstrip("/")
    if PurePosixPath(name).name.startswith(_WHITEOUT):
        yield name, None
    elif entry.isfile() and (name.startswith(inside) or _READ.fullmatch(name)):
        content = archive.extractfile(entry)
        yield name, content.read() if content else b""


def _lay(files: dict[str, bytes], name: str, data: bytes | None) -> None:
    """Lay one entry over what earlier layers left. A whiteout removes a name and all below it."""
    if data is not None:
        files[name] = data
        return
    path = PurePosixPath(name)
    gone = path.parent if path.name == _OPAQUE else path.with_name(path.name.removeprefix(_WHITEOUT))
    for other in [one for one in files if PurePosixPath(one).is_relative_to(gone)]:
        del files[other]


def _system(text: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.decode().splitlines() if "=" in line)
    return {name: value.strip("\"'") for name, _, value in pairs}


def _debian(files: Mapping[str, bytes]) -> Iterator[Package]:
    """Packages that dpkg calls installed; what was removed leaves a record too."""
    for name, data in files.items():
        if not name.startswith("var/lib/dpkg/"):
            continue
        for stanza in data.split(b"\n\n"):
            found = BytesHeaderParser().parsebytes(stanza.strip() + b"\n\n")
            if found["Package"] and found.get("Status", "installed").endswith("installed"):
                yield Package(found["Package"], found["Version"], found.get("Architecture", ""))


def _python(files: Mapping[str, bytes]) -> Iterator[Package]:
    for name, data in files.items():
        if name.endswith(".dist-info/METADATA"):
            found = BytesHeaderParser().parsebytes(data)
            stated = found.get("License-Expression") or found.get("License") or ""
            brief = stated if len(stated) <= _LONGEST_LICENSE and "\n" not in stated else ""
            yield Package(normalised(found["Name"]), found["Version"], license=brief)


def normalised(name: str) -> str:
    """A Python package's name as indexes compare it: https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _interpreter(file: tuple[str, bytes]) -> str:
    name, data = file
    found = _INTERPRETER.search(data.decode(errors="replace")) if name.endswith("/patchlevel.h") else None
    return found[1] if found else ""
