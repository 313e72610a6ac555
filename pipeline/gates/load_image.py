"""An image without a container engine: its files in a folder, its process in a root and namespaces of its own.

The load gate measures so what nodes will run: the image's interpreter, packages, settings and user. As root the user is
the image's; anybody else runs it in a user namespace, where it is root by name and has that person's rights.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline import files, oci
from pipeline.config import Frozen
from pipeline.image import locate
from pipeline.oci import Descriptor, Image, ImageError, Store

UNSHARE = "unshare"
_PROC = "proc"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


class Unpacked(Frozen):
    """An image's files below `root`, and how its process is started: words, variables, folder, `uid:gid`."""

    root: Path
    digest: str
    layers: tuple[str, ...]
    words: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    user: str


@dataclass(frozen=True)
class Images:
    """References of the images that the load gate runs; `production` is None for a first release."""

    candidate: str
    production: str | None


@dataclass(frozen=True)
class Pair:
    """The same, as files."""

    candidate: Unpacked
    production: Unpacked | None


@contextmanager
def unpacked(images: Images, say: Callable[[str], None]) -> Iterator[Pair]:
    """Both as files, in a folder that goes again. Raises ImageError."""
    check_runs()
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        say("unpacking the candidate's image")
        candidate = unpack(images.candidate, Path(folder) / "candidate")
        say("unpacking production's image")
        production = unpack(images.production, Path(folder) / "production", candidate) if images.production else None
        yield Pair(candidate, production)


def unpack(reference: str, root: Path, like: Unpacked | None = None) -> Unpacked:
    """Read an image and write its files below `root`. Raises ImageError.

    Layers that `like` begins with too are linked from there: two images of one code share its files.
    """
    place = locate(reference)
    image = oci.read(place.store, place.reference)
    settings = image.config_document.get("config", {})
    layers = tuple(layer.digest for layer in image.layers)
    _write(image, place.store, root, like)
    return Unpacked(
        root=root,
        digest=image.manifest.descriptor.digest,
        layers=layers,
        words=(*(settings.get("Entrypoint") or ()), *(settings.get("Cmd") or ())),
        environment=dict(image.environment),
        folder=settings.get("WorkingDir") or "/",
        user=settings.get("User") or "0:0",
    )


def command(found: Unpacked, euid: int | None = None) -> list[str]:
    """The words that start it. Raises ImageError where this machine has no `unshare`, or the image no command."""
    if not found.words:
        raise ImageError(f"{found.digest}: has neither Entrypoint nor Cmd, so it cannot be started")
    if (unshare := shutil.which(UNSHARE)) is None:
        raise ImageError(f"no `{UNSHARE}` on PATH, by which an image is run without an engine; install util-linux")
    own = ["--mount", f"--root={found.root}", f"--wd={found.folder}", "--mount-proc"]
    return [unshare, *own, *_as(found.user, os.geteuid() if euid is None else euid), "--", *found.words]


def check_runs() -> None:
    """Raise ImageError where the machine allows no namespaces."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Unpacked(
            root=Path("/"), digest="", layers=(), words=("/bin/true",), environment={}, folder=folder, user="0"
        )
        done = subprocess.run(command(probe), capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or f"{UNSHARE} failed"
        raise ImageError(
            f"an image cannot be run here: {said}; be root, or allow user namespaces "
            "(Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
        )


def _as(user: str, euid: int) -> Sequence[str]:
    """Root takes the image's user; others are root in a namespace, where /proc needs processes of its own."""
    if euid:
        return ("--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    uid, _, gid = user.partition(":")
    if not uid.isdecimal() or not (gid or uid).isdecimal():
        raise ImageError(f"the image runs as {user!r}; name its user by numbers (USER 65532:65532)")
    return (f"--setgid={gid or uid}", f"--setuid={uid}")


def _write(image: Image, store: Store, root: Path, like: Unpacked | None) -> None:
    layers = list(image.layers)
    shared = like.layers[:-1] if like else ()
    if like and shared and shared == tuple(layer.digest for layer in layers[: len(shared)]):
        shutil.copytree(like.root, root, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        shutil.rmtree(root / like.environment.get("FLIGHTLINE_BUNDLE", "/-").strip("/"), ignore_errors=True)
        layers = layers[len(shared) :]
    root.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        _extract(store, layer, root)
    (root / _PROC).mkdir(exist_ok=True)


def _extract(store: Store, layer: Descriptor, root: Path) -> None:
    """One layer, its digest checked before anything of it is written."""
    with tempfile.TemporaryFile() as kept:
        with store.open(layer) as source:
            oci.copy_checked(source, kept, layer)
        kept.seek(0)
        with tarfile.open(fileobj=kept, mode="r:*") as archive:
            for entry in archive:
                _place(archive, entry, root)


def _place(archive: tarfile.TarFile, entry: tarfile.TarInfo, root: Path) -> None:
    """One file; a whiteout removes one of a layer below. What would lie elsewhere is refused."""
    path = Path(entry.name)
    if path.name == _OPAQUE:
        _remove_all(root / path.parent)
    elif path.name.startswith(_WHITEOUT):
        files.remove(root / path.with_name(path.name.removeprefix(_WHITEOUT)))
    elif not entry.isdev():
        try:
            archive.extract(entry, root, numeric_owner=True, filter="tar")
        except tarfile.FilterError as error:
            raise ImageError(
                f"a layer has {entry.name!r}, which would be written outside of the image: {error}"
            ) from error


def _remove_all(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        files.remove(path)


def environment(found: Unpacked, more: Mapping[str, str]) -> dict[str, str]:
    """The image's own variables and these, nothing of this machine's."""
    return {**found.environment, **more}
