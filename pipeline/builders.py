"""Building the code image with whichever of docker, podman and buildah answers, on a public base or one made here."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import oci
from pipeline.oci import Image, ImageError, Layout

ASK = {"docker": ("docker", "info"), "podman": ("podman", "info"), "buildah": ("buildah", "info")}
LOCAL = "local"
INPUTS_LABEL = "flightline.inputs"
INSTALL = "apt-get install buildah runc (or start Docker)"
SOURCES = (".dockerignore", "Dockerfile", "infra/images/trim.py", "requirements/serve.txt", "serving/**/*.py")
TRAINED = ("train", "gate", "deliver", "monitor")
RECIPE = Path("infra/images/base.sh")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PINNED = re.compile(r"^FROM (\S+) AS pinned$", re.MULTILINE)
_BY_DIGEST = re.compile(r"\S+@(sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Base:
    """A base image: how the builder is told of it, its digest, and its layout where it was made here."""

    name: str
    digest: str
    layout: Path | None = None


@dataclass(frozen=True)
class Recipe:
    """An image that is built here: what it is called, its Dockerfile, and the sources that make it what it is."""

    name: str
    file: str
    sources: tuple[str, ...]


CODE = Recipe("code", "Dockerfile", SOURCES)
TRAINING = Recipe(
    "training",
    "infra/images/training.Dockerfile",
    (
        "infra/images/training.Dockerfile",
        "infra/images/retrain.sh",
        "infra/images/flightline.sh",
        *(f"requirements/{one}.txt" for one in TRAINED),
    ),
)


@dataclass(frozen=True)
class Job:
    """One build: sources, engine, base, secret files by name, may earlier steps be reused, and the inputs' hash."""

    root: Path
    engine: str
    base: Base
    secrets: Mapping[str, Path]
    cached: bool
    inputs: str
    recipe: Recipe = CODE

    @property
    def tag(self) -> str:
        """What the engine's own store calls the result: the same for the same inputs."""
        return f"localhost/flightline-{self.recipe.name}:{self.inputs[:12]}"


def find(wanted: str = "") -> str:
    """The builder named, or the first whose engine answers: a client without an engine is none. Raises ImageError."""
    if wanted and wanted not in ASK:
        raise ImageError(f"{wanted!r} is no builder; use one of {', '.join(ASK)}")
    for name in (wanted,) if wanted else ASK:
        if _answers(name):
            return name
    raise ImageError(f"no image builder answers ({wanted or ', '.join(ASK)}); {INSTALL}")


def _answers(name: str) -> bool:
    if not shutil.which(name):
        return False
    try:
        return subprocess.run(ASK[name], capture_output=True, timeout=30, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def base(root: Path, wanted: str = "") -> Base:
    """The base of a build: "" is the Dockerfile's default, "local" is made here, else a reference by digest."""
    if wanted == LOCAL:
        return make_base(root)
    named = wanted or "".join(_PINNED.findall((root / "Dockerfile").read_text()))
    if not (found := _BY_DIGEST.fullmatch(named)):
        raise ImageError(f"the base image {wanted or 'in Dockerfile'} has no digest; name it as IMAGE@sha256:...")
    return Base(named, found[1])


def secrets(environ: Mapping[str, str]) -> dict[str, Path]:
    """What pip on this machine trusts and is configured by, so that a build gets packages the way the machine does."""
    trusted = [*(environ.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")), CERTIFICATES]
    named = {"ca": trusted, "pip": [environ.get("PIP_CONFIG_FILE", "")]}
    found = {name: [Path(one) for one in places if one and Path(one).is_file()] for name, places in named.items()}
    return {name: places[0] for name, places in found.items() if places}


def make_base(root: Path, cache: Path | None = None) -> Base:
    """A Debian with Python from `infra/images/base.sh`, made once per recipe and kept in the user's cache."""
    recipe = root / RECIPE
    name = f"base-{hashlib.sha256(recipe.read_bytes()).hexdigest()[:16]}"
    folder = (cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flightline") / name
    if not (folder / "index.json").is_file():
        if not shutil.which("mmdebstrap"):
            raise ImageError("a local base is made by mmdebstrap, which is not here; apt-get install mmdebstrap")
        _write_base(recipe, folder)
    return Base(LOCAL, Layout(folder).manifest("").descriptor.digest, folder)


def _write_base(recipe: Path, folder: Path) -> None:
    """The recipe's tar as the one layer of an image; the folder is there whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        tar, made = Path(scratch) / "base.tar", Layout(Path(scratch) / "layout")
        _call([str(recipe), str(tar)])
        with tar.open("rb") as source:
            layer = oci.compressed(source, level=1)
        config = oci.encoded(_base_config(layer.diff_id), oci.CONFIG)
        made.put(layer.blob)
        made.put(config)
        made.publish(oci.manifest_of(config.descriptor, [layer.blob.descriptor]), "base")
        shutil.rmtree(folder, ignore_errors=True)
        made.path.rename(folder)


def _base_config(diff_id: str) -> dict[str, object]:
    return {
        "architecture": oci.PLATFORM.partition("/")[2],
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": str(RECIPE)}],
    }


def inputs(root: Path, base: Base, recipe: Recipe = CODE) -> str:
    """The hash of all that an image is made of: the base's digest, and the name and bytes of each source."""
    found = _sources(root, recipe)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in found]
    return hashlib.sha256("".join((f"{base.digest}\n", *lines)).encode()).hexdigest()


def _sources(root: Path, recipe: Recipe) -> list[Path]:
    return sorted({path for pattern in recipe.sources for path in root.glob(pattern) if path.is_file()})


def context(root: Path, recipe: Recipe, folder: Path) -> Path:
    """What the builder is given: the checkout for the code image, whose .dockerignore is written for it.

    For another it is `folder`, with copies of its sources and nothing else.
    """
    if recipe == CODE:
        return root.resolve()
    for path in _sources(root, recipe):
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder.resolve()


def run(job: Job, folder: Path) -> None:
    """Build, and write the result to an OCI layout in `folder`. Raises ImageError."""
    if job.engine == "docker":
        _with_docker(job, folder)
    else:
        _with_buildah(job, folder)


def command(job: Job, base: str) -> list[str]:
    """What all builders are told, in the same words."""
    labels = {
        INPUTS_LABEL: job.inputs,
        "org.opencontainers.image.base.name": job.base.name,
        "org.opencontainers.image.base.digest": job.base.digest,
    }
    secrets = [f"--secret=id={name},src={path.resolve()}" for name, path in sorted(job.secrets.items())]
    return [
        f"--build-arg=BASE_IMAGE={base}",
        *(f"--label={name}={value}" for name, value in labels.items()),
        *secrets,
        *(() if job.cached else ("--no-cache",)),
        f"--tag={job.tag}",
        f"--file={job.root / job.recipe.file}",
        str(job.root),
    ]


def _with_buildah(job: Job, folder: Path) -> None:
    """Podman and buildah share flags and store; both rewrite times, so that equal sources are equal layers."""
    base = f"oci:{job.base.layout.name}:base" if job.base.layout else job.base.name
    flags = [
        "--layers",
        "--format=oci",
        "--timestamp=0",
        "--identity-label=false",
        *(_isolation() if job.engine == "buildah" else ()),
    ]
    # The store's name for a base is made of its path, where a dot or a capital is refused: hence a relative one.
    _call([job.engine, "build", *flags, *command(job, base)], job.base.layout.parent if job.base.layout else job.root)
    _call([job.engine, "push", "--quiet", job.tag, f"oci:{folder}:code"])


def _isolation() -> list[str]:
    """As root: a plain runtime and the host's network, which need neither systemd nor a network plug-in."""
    runtime = next(filter(shutil.which, ("runc", "crun")), None)
    return ["--isolation=oci", f"--runtime={runtime}", "--network=host"] if os.geteuid() == 0 and runtime else []


def _with_docker(job: Job, folder: Path) -> None:
    """Docker's own store is the way out that every version has: `docker save` writes an OCI layout since Docker 25."""
    base = job.base.name
    if job.base.layout:
        base = f"localhost/flightline-base:{job.base.digest[7:19]}"
        (layer,) = oci.read(Layout(job.base.layout), "").layers
        _call(["docker", "import", str(job.base.layout / "blobs" / layer.digest.replace(":", "/")), base])
    epoch = ["--build-arg=SOURCE_DATE_EPOCH=0", "--provenance=false", "--load"]
    _call(["docker", "buildx", "build", *epoch, *command(job, base)])
    archive = folder / "saved.tar"
    _call(["docker", "save", "--output", str(archive), job.tag])
    unpack_saved(archive, folder)
    archive.unlink()


def unpack_saved(archive: Path, folder: Path) -> None:
    """Take the OCI layout out of what `docker save` wrote. Raises ImageError."""
    with tarfile.open(archive) as source:
        if "index.json" not in source.getnames():
            raise ImageError("`docker save` wrote no OCI layout; Docker 25 or newer does, podman and buildah do")
        source.extractall(folder, filter="data")


def with_compressed_layers(layout: Layout) -> Image:
    """The layout's one image with its layers compressed, in place; Docker saves plain tars. Raises ImageError."""
    image = oci.read(layout, "")
    if not any(layer.media_type.endswith(".tar") for layer in image.layers):
        return image
    layers = [_compressed(layout, layer) if layer.media_type.endswith(".tar") else layer for layer in image.layers]
    config = replace(image.config, media_type=oci.CONFIG)
    manifest = oci.manifest_of(config, layers)
    (layout.path / "index.json").unlink()
    layout.publish(manifest, "code")
    return oci.read(layout, manifest.descriptor.digest)


def _compressed(layout: Layout, layer: oci.Descriptor) -> oci.Descriptor:
    with layout.open(layer) as source:
        packed = oci.compressed(source)
    oci.check(layer, packed.diff_id, layer.size)
    layout.put(packed.blob)
    return packed.blob.descriptor


def _call(words: list[str], folder: Path | None = None) -> None:
    """Run a tool with its output on our stderr. Raises ImageError with what to look at."""
    try:
        subprocess.run(words, stdout=sys.stderr, check=True, cwd=folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(
            f"`{' '.join(words[:2])}` failed ({error.__class__.__name__}); its own message is above. Where no registry "
            f"can be reached, build on a base made here: `flightline image build --base {LOCAL}`"
        ) from error
