import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline import oci
from pipeline.oci import Image, ImageError, Layout
from pipeline.supply.contents import Contents, Package, normalised, read
from tests.supply import INSIDE


def layer(files: Mapping[str, bytes]) -> oci.Layer:
    """A layer as builders write them, whose names may begin with `./`."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return oci.compressed(io.BytesIO(raw.getvalue()))


def image(store: Layout, *layers: oci.Layer) -> Image:
    for one in layers:
        store.put(one.blob)
    config = oci.encoded({"config": {}}, oci.CONFIG)
    store.put(config)
    manifest = oci.manifest_of(config.descriptor, [one.blob.descriptor for one in layers])
    store.publish(manifest, "")
    return oci.read(store, manifest.descriptor.digest)


def contents(folder: Path, *layers: Mapping[str, bytes]) -> Contents:
    store = Layout(folder)
    return read(store, image(store, *map(layer, layers)), "/bundle")


def test_packages_of_both_kinds_are_found(tmp_path: Path) -> None:
    found = contents(tmp_path, INSIDE, {"bundle/model.onnx": b"graph"})
    assert found.debian == (Package("libc6", "2.36-9+deb12u13", "amd64"),)
    assert found.python == (Package("click", "8.5.1", license="BSD-3-Clause"),)
    assert found.system["VERSION_ID"] == "12"
    assert found.bundle == {"model.onnx": b"graph"}


def test_package_that_was_removed_is_not_there(tmp_path: Path) -> None:
    assert b"Package: apt" in INSIDE["var/lib/dpkg/status"]
    assert [one.name for one in contents(tmp_path, INSIDE).debian] == ["libc6"]


def test_distribution_with_a_file_for_each_package_is_read(tmp_path: Path) -> None:
    found = contents(tmp_path, {"./var/lib/dpkg/status.d/base": b"Package: base\nVersion: 1\n"})
    assert found.debian == (Package("base", "1"),)


def test_interpreter_that_no_package_brings_is_found(tmp_path: Path) -> None:
    header = b'#define PY_MAJOR_VERSION 3\n#define PY_VERSION      	  "3.12.13"\n'
    found = contents(tmp_path, {"usr/local/include/python3.12/patchlevel.h": header})
    assert found.interpreter == "3.12.13"


@pytest.mark.parametrize(
    "whiteout", ["app/lib/.wh.click-8.5.1.dist-info", "app/.wh.lib", "app/lib/click-8.5.1.dist-info/.wh..wh..opq"]
)
def test_what_a_later_layer_takes_away_is_gone(tmp_path: Path, whiteout: str) -> None:
    found = contents(tmp_path, INSIDE, {whiteout: b""})
    assert (found.python, len(found.debian)) == ((), 1)


def test_a_later_layer_wins(tmp_path: Path) -> None:
    newer = b"Name: click\nVersion: 9\n"
    found = contents(tmp_path, INSIDE, {"./app/lib/click-8.5.1.dist-info/METADATA": newer})
    assert found.python == (Package("click", "9"),)


def test_layer_that_was_changed_is_refused(tmp_path: Path) -> None:
    store, good = Layout(tmp_path), layer(INSIDE)
    made = image(store, good)
    path = tmp_path / "blobs" / good.blob.descriptor.digest.replace(":", "/")
    path.chmod(0o644)
    path.write_bytes(layer({}).blob.data)
    with pytest.raises(ImageError, match="damaged or was changed"):
        read(store, made, "/bundle")


def test_layer_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    store, odd = Layout(tmp_path), oci.blob(b"\x28\xb5\x2f\xfd zstd", "application/vnd.oci.image.layer.v1.tar+zstd")
    made = image(store, oci.Layer(odd, odd.descriptor.digest))
    with pytest.raises(ImageError, match=r"tar\+zstd cannot be unpacked"):
        read(store, made, "/bundle")


@pytest.mark.parametrize("name", ["ruamel.yaml", "Ruamel_Yaml", "ruamel-.yaml"])
def test_python_names_are_compared_as_indexes_do(name: str) -> None:
    assert normalised(name) == "ruamel-yaml"
