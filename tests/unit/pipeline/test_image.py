import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import image, oci
from pipeline.oci import Descriptor, ImageError, Layout
from serving.bundle import MEMBERS, SUMS, BundleError
from tests import bundles, images


@pytest.fixture
def code(tmp_path: Path) -> str:
    images.write_code(tmp_path / "code")
    return f"oci:{tmp_path / 'code'}"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundles.write(tmp_path / "bundle")
    return tmp_path / "bundle"


def config_of(reference: str) -> dict[str, object]:
    place = image.locate(reference)
    return dict(oci.read(place.store, place.reference).config_document)


def blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def test_appended_bundle_is_one_layer_of_read_only_files_of_root(code: str, bundle: Path, tmp_path: Path) -> None:
    made = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    place = image.locate(made.reference)
    layer = oci.read(place.store, made.digest).layers[-1]
    found = images.entries(tmp_path / "out", layer)
    assert [one.name for one in found] == ["bundle", *(f"bundle/{name}" for name in sorted((*MEMBERS, SUMS)))]
    assert {(one.uid, one.gid, one.mtime) for one in found} == {(0, 0, 0)}
    assert [one.mode for one in found] == [0o555, *([0o444] * (len(MEMBERS) + 1))]
    assert blob_path(tmp_path / "out", layer.digest).read_bytes()[4:8] == bytes(4), "gzip's own time is 0 too"


def test_appended_image_names_the_bundle_its_code_and_what_the_server_must_find(
    code: str, bundle: Path, tmp_path: Path
) -> None:
    base = image.inspect(code)
    made = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    settings = config_of(made.reference)["config"]
    version = made.bundle
    assert isinstance(settings, dict)
    assert settings["Env"][-1] == f"FLIGHTLINE_BUNDLE_VERSION={version}"
    assert settings["Labels"] == {
        "kept": "yes",
        "org.opencontainers.image.version": version,
        "flightline.bundle": version,
        "flightline.code": base.digest,
    }
    assert (made.code, made.user, len(made.layers)) == (base.digest, base.user, len(base.layers) + 1)


def test_appended_config_lists_the_layer_and_keeps_unknown_fields(code: str, bundle: Path, tmp_path: Path) -> None:
    made = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    before, after = config_of(code), config_of(made.reference)
    assert isinstance(after["rootfs"], dict)
    assert isinstance(before["rootfs"], dict)
    assert isinstance(after["history"], list)
    assert after["x-unknown"] == "kept"
    assert after["rootfs"]["diff_ids"][:-1] == before["rootfs"]["diff_ids"]
    assert len(after["history"]) == len(after["rootfs"]["diff_ids"])


def test_history_is_not_begun_on_an_image_without_one(tmp_path: Path, bundle: Path) -> None:
    place = Layout(tmp_path / "code")
    images.write_code(place.path)
    base = oci.read(place, "")
    document = {key: value for key, value in base.config_document.items() if key != "history"}
    config = oci.encoded(document, oci.CONFIG)
    place.put(config)
    bare = oci.manifest_of(config.descriptor, base.layers)
    place.publish(bare, "bare")
    made = image.append(f"oci:{place.path}:bare", bundle, f"oci:{tmp_path / 'out'}")
    assert "history" not in config_of(made.reference)


def test_same_bundle_in_two_processes_has_the_same_digest(code: str, bundle: Path, tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from pipeline import image; "
    program += "print(image.append(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).digest)"
    found = {
        subprocess.run(
            [sys.executable, "-c", program, code, str(bundle), f"oci:{tmp_path / seed}"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_another_bundle_has_another_digest(code: str, bundle: Path, tmp_path: Path) -> None:
    first = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    bundles.write(tmp_path / "other", metrics={"loss": 1})
    second = image.append(code, tmp_path / "other", f"oci:{tmp_path / 'out'}")
    assert first.digest != second.digest
    assert first.layers[:-1] == second.layers[:-1]


def test_file_times_and_modes_of_the_bundle_do_not_matter(code: str, bundle: Path, tmp_path: Path) -> None:
    first = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    (bundle / "model.onnx").chmod(0o777)
    (bundle / "model.onnx").touch()
    assert image.append(code, bundle, f"oci:{tmp_path / 'again'}").digest == first.digest


def test_bundle_whose_bytes_were_altered_is_refused(code: str, bundle: Path, tmp_path: Path) -> None:
    (bundle / "metrics.json").write_text('{"loss": 0}')
    with pytest.raises(BundleError, match=r"metrics\.json does not match"):
        image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_second_bundle_is_refused_and_the_code_image_named(code: str, bundle: Path, tmp_path: Path) -> None:
    made = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    with pytest.raises(ImageError, match=f"already holds bundle .* append to its code image, {made.code}"):
        image.append(made.reference, bundle, f"oci:{tmp_path / 'twice'}")


def test_image_that_is_not_a_code_image_is_refused(tmp_path: Path, bundle: Path) -> None:
    images.write_code(tmp_path / "code", Env=["PATH=/bin"])
    with pytest.raises(ImageError, match="sets no FLIGHTLINE_BUNDLE"):
        image.append(f"oci:{tmp_path / 'code'}", bundle, f"oci:{tmp_path / 'out'}")


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_tampered_blob_is_refused(tmp_path: Path, bundle: Path, part: str) -> None:
    images.write_code(tmp_path / "code")
    found = oci.read(Layout(tmp_path / "code"), "")
    digest = {"manifest": found.manifest.descriptor, "config": found.config, "layer": found.layers[0]}[part].digest
    path = blob_path(tmp_path / "code", digest)
    path.write_bytes(path.read_bytes().replace(b"e", b"E", 1) if part != "layer" else b"\0" + path.read_bytes()[1:])
    with pytest.raises(ImageError, match=digest):
        image.append(f"oci:{tmp_path / 'code'}", bundle, f"oci:{tmp_path / 'out'}")
    assert not (tmp_path / "out" / "index.json").exists()


def test_missing_blob_is_named(code: str, bundle: Path, tmp_path: Path) -> None:
    (layer,) = oci.read(Layout(tmp_path / "code"), "").layers
    blob_path(tmp_path / "code", layer.digest).unlink()
    with pytest.raises(ImageError, match=f"blob {layer.digest} is missing"):
        image.append(code, bundle, f"oci:{tmp_path / 'out'}")


def test_digest_that_is_not_there_is_refused_with_what_is(code: str, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="was asked for, the layout holds code sha256:"):
        image.append(f"{code}@sha256:{'0' * 64}", bundle, f"oci:{tmp_path / 'out'}")


def test_empty_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="the layout holds nothing"):
        image.inspect(f"oci:{tmp_path}")


def write_index(path: Path, *platforms: str) -> Descriptor:
    """A multi-platform image: one code image per platform, listed in an index."""
    layout = Layout(path)
    named = [(platform, images.write_code(path, Labels={"platform": platform})) for platform in platforms]
    entries = [
        {**one.document(), "platform": dict(zip(("os", "architecture"), name.split("/"), strict=True))}
        for name, one in named
    ]
    index = oci.encoded({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}, oci.INDEX)
    layout.publish(index, "many")
    return index.descriptor


def test_multi_platform_index_gives_the_linux_amd64_image(tmp_path: Path, bundle: Path) -> None:
    index = write_index(tmp_path / "code", "linux/arm64", "linux/amd64")
    made = image.append(f"oci:{tmp_path / 'code'}@{index.digest}", bundle, f"oci:{tmp_path / 'out'}")
    assert made.labels["platform"] == "linux/amd64"
    assert made.code != index.digest


def test_index_without_the_platform_lists_what_it_has(tmp_path: Path, bundle: Path) -> None:
    index = write_index(tmp_path / "code", "linux/arm64", "linux/s390x")
    with pytest.raises(ImageError, match="no image for linux/amd64; it holds linux/arm64, linux/s390x"):
        image.append(f"oci:{tmp_path / 'code'}@{index.digest}", bundle, f"oci:{tmp_path / 'out'}")


@pytest.mark.parametrize("reference", ["", "latest", "flightline:1", "oci:", "host.example/UPPER", "oci:x@sha256:12"])
def test_reference_that_names_no_image_is_refused(reference: str) -> None:
    with pytest.raises(ImageError, match="names no image"):
        image.locate(reference)


def test_code_image_in_a_registry_is_named_by_digest(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="name the code image by digest"):
        image.append("registry.example.com/flightline:latest", bundle, f"oci:{tmp_path / 'out'}")


def test_index_json_of_a_layout_is_what_the_specification_says(code: str, bundle: Path, tmp_path: Path) -> None:
    made = image.append(code, bundle, f"oci:{tmp_path / 'out'}")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    (entry,) = index["manifests"]
    assert json.loads((tmp_path / "out" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert entry["digest"] == made.digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == made.bundle[:12]
