import io
import tarfile
from pathlib import Path

import pytest

from pipeline import builders, oci
from pipeline.oci import ImageError, Layout
from tests import images
from tests.images import ROOT


def client(folder: Path, name: str, status: int) -> None:
    """A builder's client on PATH whose engine answers with this exit status."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
    (folder / name).chmod(0o755)


def test_client_without_an_engine_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client(tmp_path / "bin", "docker", 1)
    client(tmp_path / "bin", "buildah", 0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    assert builders.find() == "buildah"


def test_no_builder_at_all_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match=r"no image builder answers .* apt-get install buildah"):
        builders.find()


def test_unknown_builder_is_refused() -> None:
    with pytest.raises(ImageError, match="'kaniko' is no builder; use one of docker, podman, buildah"):
        builders.find("kaniko")


def test_build_trusts_and_asks_whom_this_machine_does(tmp_path: Path) -> None:
    (tmp_path / "proxy.pem").touch()
    (tmp_path / "pip.conf").touch()
    environ = {
        "PIP_CERT": f"{tmp_path}/proxy.pem",
        "SSL_CERT_FILE": "/other.pem",
        "PIP_CONFIG_FILE": f"{tmp_path}/pip.conf",
    }
    assert builders.secrets(environ) == {"ca": tmp_path / "proxy.pem", "pip": tmp_path / "pip.conf"}


def test_configuration_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "CERTIFICATES", "/nowhere.pem")
    assert builders.secrets({"PIP_CERT": "/nowhere/else.pem", "PIP_CONFIG_FILE": "/dev/null"}) == {}


def test_default_base_is_the_dockerfiles_and_has_a_digest() -> None:
    found = builders.base(ROOT)
    assert found.name.endswith(f"@{found.digest}")
    assert found.layout is None


def test_base_without_a_digest_is_refused() -> None:
    with pytest.raises(ImageError, match=r"python:3\.12 has no digest"):
        builders.base(ROOT, "python:3.12")


def test_builder_is_told_the_base_and_labels_the_image_with_it(tmp_path: Path) -> None:
    base = builders.base(ROOT)
    job = builders.Job(ROOT, "buildah", base, {"ca": tmp_path / "ca.pem"}, False, "f" * 64)
    words = builders.command(job, base.name)
    assert f"--build-arg=BASE_IMAGE={base.name}" in words
    assert f"--label=org.opencontainers.image.base.digest={base.digest}" in words
    assert f"--label={builders.INPUTS_LABEL}={'f' * 64}" in words
    assert f"--secret=id=ca,src={tmp_path / 'ca.pem'}" in words
    assert "--no-cache" in words


@pytest.mark.parametrize("name", ["Dockerfile", "requirements/serve.txt", "serving/bundle.py", "infra/images/trim.py"])
def test_inputs_change_with_each_source(tmp_path: Path, name: str) -> None:
    root = images.sources(tmp_path)
    before = builders.inputs(root, builders.Base("base", "sha256:0"))
    (root / name).write_text((root / name).read_text() + "\n")
    assert builders.inputs(root, builders.Base("base", "sha256:0")) != before


def test_inputs_change_with_the_base_and_with_nothing_else(tmp_path: Path) -> None:
    root = images.sources(tmp_path)
    before = builders.inputs(root, builders.Base("base", "sha256:0"))
    (root / "README.md").write_text("new")
    assert builders.inputs(root, builders.Base("renamed", "sha256:0")) == before
    assert builders.inputs(root, builders.Base("base", "sha256:1")) != before


def saved(folder: Path) -> Path:
    """What `docker save` writes: an OCI layout in a tar, its layers not compressed."""
    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("app"))
    layer = oci.blob(files.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    document = {"config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.descriptor.digest]}}
    config, layout = oci.encoded(document, oci.CONFIG), Layout(folder / "saved")
    layout.put(layer)
    layout.put(config)
    layout.publish(oci.manifest_of(config.descriptor, [layer.descriptor]), "latest")
    with tarfile.open(folder / "saved.tar", "w") as archive:
        archive.add(folder / "saved", arcname="")
    return folder / "saved.tar"


def test_layers_that_docker_saved_are_compressed(tmp_path: Path) -> None:
    builders.unpack_saved(saved(tmp_path), tmp_path / "out")
    found = builders.with_compressed_layers(Layout(tmp_path / "out"))
    assert [layer.media_type for layer in found.layers] == [oci.LAYER]
    assert [one.name for one in images.entries(tmp_path / "out", found.layers[0])] == ["app"]
    assert oci.read(Layout(tmp_path / "out"), "").manifest == found.manifest


def test_docker_too_old_to_save_a_layout_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("manifest.json"))
    with pytest.raises(ImageError, match="Docker 25 or newer"):
        builders.unpack_saved(tmp_path / "old.tar", tmp_path / "out")


def test_failed_builder_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client(tmp_path / "bin", "buildah", 3)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    job = builders.Job(ROOT, "buildah", builders.base(ROOT), {}, True, "f" * 64)
    with pytest.raises(ImageError, match=r"`buildah build` failed .* --base local"):
        builders.run(job, tmp_path / "out")
