import os
import shutil
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from pipeline import image, oci
from pipeline.gates import load_image, load_server
from pipeline.gates.load_image import Unpacked
from pipeline.gates.load_server import ServerError
from pipeline.oci import ImageError, Layout
from tests import bundles, images

BUSYBOX = shutil.which("busybox")
SERVE = "exec busybox httpd -f -p $FLIGHTLINE_PORT -h /www"


def runs() -> str:
    """Why an image cannot be run here, "" where it can."""
    try:
        load_image.check_runs()
    except ImageError as error:
        return str(error)
    return "" if BUSYBOX else "busybox-static is not installed"


needs_namespaces = pytest.mark.skipif(bool(runs()), reason=runs() or "-")


def write(folder: Path, script: str = SERVE, **config: object) -> str:
    """An image whose server is busybox: static, so that it runs on nothing but the image's own files."""
    files = {"bin/busybox": Path(BUSYBOX or "/dev/null").read_bytes(), "www/readyz": b"ready"}
    settings = {"Entrypoint": ["busybox", "sh", "-c", script], "WorkingDir": "/www", **config}
    images.write_code(folder / "code", files, **settings)
    bundles.write(folder / "bundle")
    return image.append(f"oci:{folder / 'code'}", folder / "bundle", f"oci:{folder / 'made'}").reference


def unpacked(reference: str, root: Path, like: Unpacked | None = None) -> Unpacked:
    """The tests' layers have no program's mode, which those of a builder have."""
    found = load_image.unpack(reference, root, like)
    (root / "bin/busybox").chmod(0o555)
    return found


def test_it_is_started_as_the_image_says(tmp_path: Path) -> None:
    found = unpacked(write(tmp_path), tmp_path / "root")
    assert (found.words[:2], found.folder, found.user) == (("busybox", "sh"), "/www", "65532:65532")
    assert load_image.environment(found, {"FLIGHTLINE_PORT": "1"}) == {**found.environment, "FLIGHTLINE_PORT": "1"}
    assert (tmp_path / "root/bundle/model.onnx").read_bytes() == (tmp_path / "bundle/model.onnx").read_bytes()


def test_root_takes_the_images_user_and_others_a_namespace(tmp_path: Path) -> None:
    found = unpacked(write(tmp_path), tmp_path / "root")
    assert {"--setuid=65532", "--setgid=65532"} <= {*load_image.command(found, euid=0)}
    assert {"--user", "--map-root-user"} <= {*load_image.command(found, euid=1000)}


def test_a_user_by_name_is_refused(tmp_path: Path) -> None:
    found = unpacked(write(tmp_path, User="nobody"), tmp_path / "root")
    with pytest.raises(ImageError, match="name its user by numbers"):
        load_image.command(found, euid=0)


def test_two_images_of_one_code_share_its_files_but_not_the_bundle(tmp_path: Path) -> None:
    first = unpacked(write(tmp_path), tmp_path / "first")
    bundles.write(tmp_path / "other", metrics={"loss": 0.4, "estimator": "toy", "rows": {"train": 9}})
    again = image.append(f"oci:{tmp_path / 'code'}", tmp_path / "other", f"oci:{tmp_path / 'made'}").reference
    load_image.unpack(again, tmp_path / "second", first)
    one, other = ((tmp_path / name).stat() for name in ("first/bin/busybox", "second/bin/busybox"))
    assert one.st_ino == other.st_ino
    for root, bundle in (("first", "bundle"), ("second", "other")):
        assert (tmp_path / root / "bundle/SHA256SUMS").read_bytes() == (tmp_path / bundle / "SHA256SUMS").read_bytes()


def layered(folder: Path, *layers: dict[str, bytes]) -> str:
    """An image of these layers, the later ones above."""
    layout, packed = Layout(folder), [oci.pack(files) for files in layers]
    document = {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/x"]}, "rootfs": {"type": "layers"}}
    document["rootfs"]["diff_ids"] = [one.diff_id for one in packed]  # type: ignore[index]
    config = oci.encoded(document, oci.CONFIG)
    for blob in (*(one.blob for one in packed), config):
        layout.put(blob)
    layout.publish(oci.manifest_of(config.descriptor, [one.blob.descriptor for one in packed]), "code")
    return f"oci:{folder}"


def test_what_a_layer_above_takes_away_is_gone(tmp_path: Path) -> None:
    below = {"a/kept": b"1", "a/gone": b"2", "b/old": b"3"}
    above = {"a/.wh.gone": b"", "b/.wh..wh..opq": b"", "b/new": b"4"}
    load_image.unpack(layered(tmp_path / "layout", below, above), tmp_path / "root")
    found = {str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert found == {"a/kept", "b/new"}


def test_a_layer_that_would_write_outside_of_the_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="would be written outside of the image"):
        load_image.unpack(layered(tmp_path / "layout", {"../../escaped": b"x"}), tmp_path / "a/root")
    assert not (tmp_path / "escaped").exists()


@needs_namespaces
def test_the_images_own_server_answers_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THIS_MACHINE", "1")
    found = unpacked(write(tmp_path), tmp_path / "root")
    with load_server.serve(found) as server:
        process = psutil.Process(server.process.pid)
        inner = (process.children(recursive=True) or [process])[-1]
        assert Path(f"/proc/{inner.pid}/root").readlink() == tmp_path / "root"
        assert "OF_THIS_MACHINE" not in inner.environ()
        assert os.geteuid() != 0 or inner.uids().real == 65532
        assert server.memory_bytes() > 0
    assert not psutil.pid_exists(server.process.pid)


@needs_namespaces
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    found = unpacked(write(tmp_path, script="echo no model >&2; exit 65"), tmp_path / "root")
    with pytest.raises(ServerError, match="no model"), load_server.serve(found):
        pass


@needs_namespaces
def test_it_leaves_no_mount_behind(tmp_path: Path) -> None:
    found = unpacked(write(tmp_path), tmp_path / "root")
    with load_server.serve(found):
        pass
    mounts = subprocess.run(["cat", "/proc/self/mounts"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in mounts
    assert stat.S_ISDIR((tmp_path / "root/proc").stat().st_mode)
