"""The image as it is delivered: built, given a bundle, and run for real under the strictest settings a pod can have."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline import builders, image
from pipeline.image import Built, Summary
from tests import bundles, images
from tests.images import ROOT, Container

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
ROW = {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}
FORBIDDEN = {
    "pip",
    "pip3",
    "setuptools",
    "ensurepip",
    "gcc",
    "cc",
    "c++",
    "g++",
    "clang",
    "ld",
    "as",
    "make",
    "apt-get",
}

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("image")


@pytest.fixture(scope="module")
def sources(folder: Path) -> Path:
    return images.sources(folder / "sources")


def build(sources: Path, layout: Path, *, cached: bool) -> Built:
    secrets = {"ca": CERTIFICATES} if CERTIFICATES.is_file() else {}
    place = f"oci:{layout}:code"
    return image.build(sources, place, base=builders.LOCAL, builder="buildah", secrets=secrets, cached=cached)


@pytest.fixture(scope="module")
def built(folder: Path, sources: Path) -> Built:
    """The code image on a base made here, which is kept between runs."""
    images.needs("mmdebstrap", "buildah", "runc")
    made = build(sources, folder / "code", cached=True)
    print(f"code image: {made.image.size:,} bytes in layers of {made.image.layers}, {made.seconds:.1f} s")
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    bundles.write(folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def appended(folder: Path, built: Built, bundle: Path) -> Summary:
    start = time.monotonic()
    made = image.append(built.image.reference, bundle, f"oci:{folder / 'served'}")
    print(f"bundle layer: {made.layers[-1]:,} bytes, appended in {time.monotonic() - start:.2f} s")
    return made


@pytest.fixture(scope="module")
def unpacked(folder: Path, appended: Summary) -> tuple[Path, Mapping[str, Any]]:
    return folder / "run", images.unpack(folder / "served", appended.digest, folder / "run")


@pytest.fixture
def running(unpacked: tuple[Path, Mapping[str, Any]]) -> Iterator[Container]:
    with images.container(*unpacked, {}) as started:
        images.wait_for(address(started, "readyz"))
        yield started


def address(container: Container, path: str) -> str:
    return f"http://127.0.0.1:{container.port}/{path}"


def body() -> bytes:
    return json.dumps(ROW).encode()


def test_container_answers(running: Container) -> None:
    answer = requests.post(address(running, "predict"), json=ROW, timeout=10)
    assert answer.status_code == 200, answer.text
    assert requests.get(address(running, "livez"), timeout=10).status_code == 200


def test_container_runs_as_a_numeric_user_that_is_not_root(running: Container) -> None:
    assert running.run("id", "-u").stdout == "65532\n"
    assert running.run("id", "-g").stdout == "65532\n"


def test_container_needs_no_writable_file(running: Container) -> None:
    mounts = [line.split() for line in running.run("cat", "/proc/mounts").stdout.splitlines()]
    assert [(where, options.split(",")[0]) for _, where, kind, options, *_ in mounts if kind != "proc"] == [("/", "ro")]
    assert requests.post(address(running, "predict"), json=ROW, timeout=10).ok


def test_request_in_flight_is_answered_after_sigterm_and_the_exit_is_0(running: Container) -> None:
    head = (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body())}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
        client.sendall(head.encode() + body()[:5])
        time.sleep(0.2)
        running.signal("TERM")
        time.sleep(0.2)
        client.sendall(body()[5:])
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert running.process.wait(30) == 0


def test_no_installer_and_no_compiler_is_inside(unpacked: tuple[Path, Mapping[str, Any]]) -> None:
    root = unpacked[0] / "rootfs"
    programs = {path.name for path in root.glob("**/bin/*")} | {path.name for path in root.glob("**/sbin/*")}
    packages = {path.name for path in root.glob("**/*-packages/*")} | {path.name for path in root.glob("app/lib/*")}
    stdlib = {path.name for path in root.glob("usr/**/python3.*/*")}
    assert not FORBIDDEN & (programs | packages | stdlib)
    assert not [name for name in programs | packages if name.startswith(("pip", "gcc-", "x86_64-linux-gnu-"))]


def test_only_serving_and_what_it_is_locked_to_is_inside(unpacked: tuple[Path, Mapping[str, Any]]) -> None:
    app = unpacked[0] / "rootfs" / "app"
    locked = {
        line.split("==")[0] for line in (ROOT / "requirements/serve.txt").read_text().splitlines() if "==" in line
    }
    there = {path.name.split("-")[0].lower() for path in (app / "lib").glob("*.dist-info")}
    assert there == locked
    assert {path.name for path in app.iterdir()} == {"lib", "serving"}


def test_bytecode_is_there_and_is_never_stale(unpacked: tuple[Path, Mapping[str, Any]]) -> None:
    unchecked_hash = 1
    for package in ("app/serving", "app/lib/msgspec", "usr/lib/python3.11/json"):
        found = list((unpacked[0] / "rootfs" / package).glob("__pycache__/*.pyc"))
        assert found
        assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in found} == {unchecked_hash}


def test_onnxruntime_reports_to_nobody(running: Container, unpacked: tuple[Path, Mapping[str, Any]]) -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in unpacked[1]["Env"]
    assert "telemetry" not in (unpacked[0] / "output").read_text().lower()


def test_server_refuses_a_bundle_that_the_image_does_not_name(unpacked: tuple[Path, Mapping[str, Any]]) -> None:
    folder, settings = unpacked
    with images.container(folder, settings, {"FLIGHTLINE_BUNDLE_VERSION": "0" * 64}) as refused:
        assert refused.process.wait(30) != 0
    assert "was to be served" in (folder / "output").read_text()


def test_server_refuses_a_bundle_altered_inside_the_image(unpacked: tuple[Path, Mapping[str, Any]]) -> None:
    folder, settings = unpacked
    path = folder / "rootfs/bundle/golden.json"
    kept = path.read_bytes()
    path.write_bytes(kept + b" ")
    try:
        with images.container(folder, settings, {}) as refused:
            assert refused.process.wait(30) != 0
    finally:
        path.write_bytes(kept)
    assert "golden.json does not match its hash" in (folder / "output").read_text()


def test_same_bundle_twice_is_the_same_digest(folder: Path, built: Built, bundle: Path, appended: Summary) -> None:
    assert image.append(built.image.reference, bundle, f"oci:{folder / 'again'}").digest == appended.digest


def test_rebuilding_the_same_sources_gives_the_same_layers(folder: Path, sources: Path, built: Built) -> None:
    again = build(sources, folder / "rebuilt", cached=False)
    print(f"rebuilt without a cache in {again.seconds:.1f} s")
    assert again.inputs == built.inputs
    assert layer_digests(folder / "rebuilt", again) == layer_digests(folder / "code", built)


def layer_digests(layout: Path, made: Built) -> list[str]:
    manifest = layout / "blobs" / made.image.digest.replace(":", "/")
    return [layer["digest"] for layer in json.loads(manifest.read_text())["layers"]]
