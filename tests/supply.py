"""A checkout whose image is in a real registry, key pairs, and a real cosign: what signing is tested with."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pipeline import builders, image, oci
from pipeline.context import Context
from pipeline.delivery.candidate import BASE_LABEL
from pipeline.dvcfiles import dvc_hash
from pipeline.errors import UnavailableError
from pipeline.registry import Registry
from pipeline.supply.cosign import KEY, KEY_PASSWORD, Cosign
from tests import bundles, images

PROJECT = Path(__file__).resolve().parents[1]
BASE = f"sha256:{'b' * 64}"
PASSWORD = "a password of tests"  # noqa: S105 - of keys made on the spot
LOCK = "click==8.5.1 \\\n    --hash=sha256:00\nuvloop==0.22.1 ; sys_platform != 'win32'\n"
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u13

Package: apt
Status: deinstall ok config-files
Architecture: amd64
Version: 2.6.1
"""
INSIDE = {
    "usr/lib/os-release": b'ID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": STATUS.encode(),
    "app/lib/click-8.5.1.dist-info/METADATA": b"Name: click\nVersion: 8.5.1\nLicense-Expression: BSD-3-Clause\n\nIt\n",
}


@dataclass(frozen=True)
class Keys:
    """A folder with ours.key, ours.pub, theirs.key and theirs.pub."""

    folder: Path

    def public(self, whose: str) -> str:
        return (self.folder / f"{whose}.pub").read_text()

    def private(self, whose: str) -> str:
        return (self.folder / f"{whose}.key").read_text()


@dataclass
class Shop:
    """A checkout and the image that its HEAD makes; `signing` is what its settings say of the signer."""

    root: Path
    registry: str
    image: str

    @property
    def context(self) -> Context:
        """As a verb would read it now."""
        return Context(self.root)

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        done = subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def settle(self, signing: Mapping[str, str], **settings: Any) -> None:
        """Write the settings; nothing is committed."""
        write_settings(self.root, signing, registry=self.registry, **settings)

    def attached(self) -> int:
        """How many signatures and attestations the registry has for the image."""
        host, _, name = self.registry.partition("/")
        tag = self.digest.replace(":", "-")
        kinds = {"Accept": "application/vnd.oci.image.index.v1+json"}
        answer = requests.get(f"http://{host}/v2/{name}/manifests/{tag}", headers=kinds, timeout=10)
        return len(answer.json()["manifests"]) if answer.ok else 0


def cosign() -> Cosign:
    """The pinned one, built where it is not there; without Go the test is skipped."""
    try:
        return Cosign.find(lambda _: None)
    except UnavailableError as error:
        pytest.skip(str(error))


def make_keys(folder: Path) -> Keys:
    environment = {**os.environ, KEY_PASSWORD: PASSWORD}
    for whose in ("ours", "theirs"):
        words = [str(cosign().program), "generate-key-pair", "--output-key-prefix", whose]
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    return Keys(folder)


def as_signer(monkeypatch: pytest.MonkeyPatch, keys: Keys, whose: str = "ours") -> None:
    monkeypatch.setenv(KEY, keys.private(whose))
    monkeypatch.setenv(KEY_PASSWORD, PASSWORD)


@contextmanager
def shop(folder: Path, keys: Keys) -> Iterator[Shop]:
    """A registry with the image that a commit's sources make, signed by nobody."""
    with images.registry(folder / "server") as host:
        yield _stock(folder, keys, f"{host}/flightline")


def _stock(folder: Path, keys: Keys, registry: str) -> Shop:
    root = folder / "checkout"
    (root / "requirements").mkdir(parents=True)
    (root / "requirements/serve.txt").write_text(LOCK)
    (root / "cosign.pub").write_text(keys.public("ours"))
    (root / ".gitignore").write_text("/build\n")
    shutil.copy(PROJECT / "params.yaml", root)
    write_settings(root, {"key": "cosign.pub"}, registry=registry)
    bundles.write(root / "build/bundle")
    out = {"md5": dvc_hash(root / "build/bundle"), "path": "build/bundle"}
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"bundle": {"outs": [out]}}}))
    made = Shop(root, registry, push(folder, root, registry))
    made.git("init", "-q", "-b", "main")
    made.commit("source")
    return made


def push(folder: Path, root: Path, registry: str, inside: Mapping[str, bytes] = INSIDE) -> str:
    """The image of a checkout, by digest."""
    inputs = builders.inputs(root, builders.Base("", BASE))
    labels = {BASE_LABEL: BASE, builders.INPUTS_LABEL: inputs}
    layout = folder / f"code-{len(list(folder.iterdir()))}"
    images.write_code(layout, inside, Labels=labels)
    host, _, repository = registry.partition("/")
    code = oci.read(oci.Layout(layout), "")
    oci.copy(code, oci.Layout(layout), Registry(host, repository))
    reference = f"{registry}@{code.manifest.descriptor.digest}"
    return image.append(reference, root / "build/bundle", registry).reference


def write_settings(root: Path, signing: Mapping[str, str], **changes: Any) -> None:
    """The project's settings with some of them changed, and this signer; none where the mapping is empty."""
    from pipeline.config import read_settings

    settings = {**read_settings(PROJECT).model_dump(exclude={"signing"}), **changes}
    lines = ["[tool.flightline]", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
    if signing:
        lines += ["[tool.flightline.signing]", *(f"{name} = {json.dumps(value)}" for name, value in signing.items())]
    (root / "pyproject.toml").write_text("\n".join([*lines, ""]))
