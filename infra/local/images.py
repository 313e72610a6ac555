"""The few images that the cluster itself runs: one layer each, of files of this machine, with digests that repeat."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.components import REGISTRY, State
from pipeline import oci
from pipeline.oci import ImageError
from pipeline.registry import Registry

PAUSE = "pause:1"
APPLETS = (
    *("cat", "date", "echo", "env", "false", "grep", "httpd", "id", "ip", "kill", "ls", "mkdir", "nc", "nslookup"),
    *("ps", "rm", "sh", "sleep", "test", "timeout", "touch", "true", "wget"),
)


@dataclass(frozen=True)
class Recipe:
    """An image of files: where each comes from, by its name in the image; links to them; and the OCI config."""

    name: str
    files: Mapping[str, Path]
    config: Mapping[str, Any]
    links: Mapping[str, str] = field(default_factory=dict)
    tag: str = "1"


def recipes(state: State) -> tuple[Recipe, ...]:
    """Pause, CoreDNS, metrics-server where the tool is there, and busybox for tests."""
    found = [
        Recipe("pause", {"pause": Path("/usr/bin/catatonit")}, {"Entrypoint": ["/pause", "-P"], "User": "65535:65535"}),
        Recipe("coredns", {"coredns": state.bin / "coredns"}, {"Entrypoint": ["/coredns"]}),
        Recipe(
            "busybox",
            {"bin/busybox": Path("/bin/busybox")},
            {"Entrypoint": ["/bin/busybox"], "Cmd": ["sh"], "Env": ["PATH=/bin"], "User": "65532:65532"},
            {f"bin/{name}": "busybox" for name in APPLETS},
        ),
    ]
    server = state.bin / "metrics-server"
    if server.exists():
        found.append(Recipe("metrics-server", {server.name: server}, {"Entrypoint": [f"/{server.name}"]}))
    return tuple(found)


def push(state: State) -> Mapping[str, str]:
    """Have every image in the registry; its reference by digest, by name."""
    return {recipe.name: have(state, recipe) for recipe in recipes(state)}


def have(state: State, recipe: Recipe) -> str:
    """Have an image in the registry; its reference by digest. What is there already is not made again."""
    path, key = state.data / "images.json", _key(recipe)
    known: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    digest = _pushed(recipe, known.get(key, ""))
    others = {name: one for name, one in known.items() if name.partition(" ")[0] != recipe.name}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**others, key: digest}, indent=2))
    return f"{REGISTRY}/{recipe.name}@{digest}"


def layer(recipe: Recipe) -> oci.Layer:
    """The files and links as a tar that depends on names and contents alone; all may be read and run by everybody."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry, source in _entries(recipe):
            if source is None:
                archive.addfile(entry)
                continue
            with source.open("rb") as content:
                archive.addfile(entry, content)
    raw.seek(0)
    return oci.compressed(raw, level=1)


def _entries(recipe: Recipe) -> Iterator[tuple[tarfile.TarInfo, Path | None]]:
    names = (*recipe.files, *recipe.links)
    for folder in sorted({str(parent) for name in names for parent in Path(name).parents} - {"."}):
        yield _entry(folder, tarfile.DIRTYPE), None
    for name, source in sorted(recipe.files.items()):
        entry = _entry(name, tarfile.REGTYPE)
        entry.size = source.stat().st_size
        yield entry, source
    for name, target in sorted(recipe.links.items()):
        entry = _entry(name, tarfile.SYMTYPE)
        entry.linkname = target
        yield entry, None


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, 0o555
    return entry


def _key(recipe: Recipe) -> str:
    """The name and what changes when the image does, found without reading the files."""
    sources = [source.resolve() for _, source in sorted(recipe.files.items())]
    dated = [f"{one}:{one.stat().st_size}:{one.stat().st_mtime_ns}" for one in sources]
    written = json.dumps([dated, [*recipe.files], dict(recipe.config), dict(recipe.links)], sort_keys=True)
    return f"{recipe.name} {oci.sha256(written.encode())}"


def _pushed(recipe: Recipe, known: str) -> str:
    """The digest in the registry."""
    store = Registry(REGISTRY, recipe.name)
    if known and _holds(store, known):
        return known
    made = layer(recipe)
    document = {
        "architecture": oci.PLATFORM.partition("/")[2],
        "os": "linux",
        "config": recipe.config,
        "rootfs": {"type": "layers", "diff_ids": [made.diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "infra/local/images.py"}],
    }
    config = oci.encoded(document, oci.CONFIG)
    store.put(made.blob)
    store.put(config)
    manifest = oci.manifest_of(config.descriptor, [made.blob.descriptor])
    store.publish(manifest, recipe.tag)
    return manifest.descriptor.digest


def _holds(store: Registry, digest: str) -> bool:
    try:
        store.manifest(digest)
    except ImageError:
        return False
    return True
