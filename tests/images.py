"""Images for tests: a small code image made on the spot, a real registry on loopback, and a real container."""

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline import builders, oci
from pipeline.gates.load_server import free_port
from pipeline.oci import Descriptor, Layout

ROOT = Path(__file__).parents[1]
PACKAGES = "apt-get install buildah runc mmdebstrap skopeo docker-registry"


def needs(*tools: str) -> None:
    """Fail where a missing tool could be installed, skip where it could not."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        pytest.fail(f"{', '.join(missing)} missing: {PACKAGES}")
    if missing:
        pytest.skip(f"no image builder on this machine ({', '.join(missing)} missing): {PACKAGES}")


def sources(folder: Path) -> Path:
    """A copy of all that the code image is made of, which nobody edits while it is built."""
    for path in (found for pattern in builders.SOURCES for found in ROOT.glob(pattern)):
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(ROOT))
    shutil.copytree(ROOT / builders.RECIPE.parent, folder / builders.RECIPE.parent, dirs_exist_ok=True)
    return folder


def write_code(path: Path, files: Mapping[str, bytes] | None = None, **config: Any) -> Descriptor:
    """A code image with `files` in a layout at `path`; `config` overrides its settings. Returns the manifest's name."""
    settings = {"User": "65532:65532", "Env": ["PATH=/bin", "FLIGHTLINE_BUNDLE=/bundle"], "Labels": {"kept": "yes"}}
    layer = oci.pack({"app/serving/__init__.py": b"# code\n", **(files or {})})
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {**settings, **config},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created_by": "test"}],
        "x-unknown": "kept",
    }
    made, layout = oci.encoded(document, oci.CONFIG), Layout(path)
    layout.put(layer.blob)
    layout.put(made)
    manifest = oci.manifest_of(made.descriptor, [layer.blob.descriptor])
    layout.publish(manifest, "code")
    return manifest.descriptor


def entries(layout: Path, layer: Descriptor) -> list[tarfile.TarInfo]:
    """What a layer holds."""
    raw = gzip.decompress((layout / "blobs" / layer.digest.replace(":", "/")).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        return archive.getmembers()


@contextmanager
def registry(folder: Path, auth: Mapping[str, Any] | None = None) -> Iterator[str]:
    """A registry of its own on loopback, as `host:port`."""
    needs("docker-registry")
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": host},
        **({"auth": auth} if auth else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "registry.yml").write_text(json.dumps(settings))
    process = subprocess.Popen(["docker-registry", "serve", str(folder / "registry.yml")], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://{host}/v2/", (200, 401))
        yield host
    finally:
        process.terminate()
        process.wait(20)


def wait_for(address: str, expected: tuple[int, ...] = (200,), seconds: float = 30) -> None:
    """Return once an address answers as expected; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while status(address) not in expected:
        if time.monotonic() > deadline:
            pytest.fail(f"{address} did not answer in {seconds} s")
        time.sleep(0.05)


def status(address: str) -> int:
    """The HTTP status of an address, 0 where nothing listens."""
    try:
        return requests.get(address, timeout=5).status_code
    except requests.RequestException:
        return 0


@dataclass(frozen=True)
class Container:
    """A running container: its name, the runtime's process, and where its server listens."""

    name: str
    process: subprocess.Popen[str]
    port: int

    def signal(self, name: str) -> None:
        subprocess.run(["runc", "kill", self.name, name], check=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as the image's user."""
        return subprocess.run(["runc", "exec", self.name, *words], capture_output=True, text=True, check=False)


def unpack(layout: Path, reference: str, folder: Path) -> Mapping[str, Any]:
    """Write an image's file system to `folder/rootfs` and return its config's settings."""
    store = Layout(layout)
    image = oci.read(store, reference)
    for layer in image.layers:
        with store.open(layer) as source, tarfile.open(fileobj=source, mode="r:gz") as archive:
            archive.extractall(folder / "rootfs", numeric_owner=True, filter="tar")
    settings: Mapping[str, Any] = image.config_document["config"]
    return settings


@contextmanager
def container(folder: Path, settings: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Container]:
    """Run the image unpacked in `folder` as the strictest pod would: its user, no capabilities, a read-only root.

    It shares the network of this machine and listens on loopback.
    """
    port, name = free_port(), f"flightline-test-{os.getpid()}-{folder.name}"
    extra = {"FLIGHTLINE_HOST": "127.0.0.1", "FLIGHTLINE_PORT": str(port), **environment}
    (folder / "config.json").write_text(json.dumps(_specification(settings, extra)))
    with (folder / "output").open("w") as output:
        words = ["runc", "run", "--bundle", str(folder), name]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True)
    try:
        yield Container(name, process, port)
    finally:
        if process.poll() is None:
            subprocess.run(["runc", "kill", name, "KILL"], check=False)
            process.wait(20)
        subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True)


def _specification(settings: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    user, group = map(int, settings["User"].split(":"))
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": group},
            "args": settings["Entrypoint"],
            "env": [*settings["Env"], *(f"{name}={value}" for name, value in environment.items())],
            "cwd": settings["WorkingDir"],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }
