import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from serving import bundle
from serving.bundle import BundleError
from tests import bundles


def refusal(path: Path, **options) -> str:
    with pytest.raises(BundleError) as caught:
        bundle.load(path, **options)
    return str(caught.value)


def test_a_sealed_bundle_opens_and_scores_its_golden_rows(path):
    opened = bundle.load(path, expected=bundle.version(path))
    assert opened.signature == bundles.SIGNATURE
    assert len(opened.golden.scores) == 2


def test_the_list_of_hashes_is_one_that_sha256sum_can_check(path):
    lines = (path / bundle.SUMS).read_text().splitlines()
    pairs = [line.split("  ") for line in lines]
    assert [name for _, name in pairs] == sorted(bundle.MEMBERS)
    assert all(digest == hashlib.sha256((path / name).read_bytes()).hexdigest() for digest, name in pairs)


def test_the_version_is_the_hash_of_that_list(path):
    assert bundle.version(path) == hashlib.sha256((path / "SHA256SUMS").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", bundle.MEMBERS)
def test_one_flipped_byte_is_refused_and_the_file_named(path, name):
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    assert f"{name} does not match its hash" in refusal(path)


@pytest.mark.parametrize("name", bundle.MEMBERS)
def test_a_missing_file_is_refused_and_named(path, name):
    (path / name).unlink()
    assert f"{name} is missing" in refusal(path)


def test_a_folder_that_is_no_bundle_is_refused_with_the_way_to_make_one(tmp_path):
    assert "make bundle" in refusal(tmp_path)


def test_another_version_than_the_expected_one_is_refused(path):
    assert f"{'0' * 12} was to be served" in refusal(path, expected="0" * 64)


def test_another_models_signature_is_refused_even_when_sealed_again(path):
    signature = json.loads((path / "signature.json").read_text())
    (path / "signature.json").write_text(json.dumps(signature | {"title": "Another model"}))
    bundle.seal(path)
    assert "belongs to another model" in refusal(path)


def test_golden_scores_that_do_not_match_are_refused(path):
    golden = json.loads((path / "golden.json").read_text())
    golden["scores"][0] += 1e-3
    (path / "golden.json").write_text(json.dumps(golden))
    bundle.seal(path)
    assert "golden scores do not match" in refusal(path)


@pytest.mark.parametrize("scores", [[], [0.5], [float("nan")] * 2])
def test_golden_scores_that_are_no_scores_are_refused(path, scores):
    opened = bundle.load(path)
    broken = bundle.Bundle(path, "", opened.signature, bundle.Golden(opened.golden.rows, scores), opened.session)
    with pytest.raises(BundleError, match="golden scores"):
        bundle.check_golden(broken)


def test_a_bundle_written_by_a_newer_version_is_refused(path):
    bundles.stamp(onnx.load(path / "model.onnx"), path, written=bundle.FORMAT + 1)
    bundle.seal(path)
    assert f"format {bundle.FORMAT + 1} is newer" in refusal(path)


def test_a_signature_with_a_field_of_a_newer_version_is_refused(path):
    signature = json.loads((path / "signature.json").read_text())
    (path / "signature.json").write_text(json.dumps(signature | {"invented": 1}))
    bundle.seal(path)
    assert "invented" in refusal(path)


def test_a_graph_of_another_width_is_refused(tmp_path):
    narrow = bundles.graph(bundles.SIGNATURE, [0.1] * 4)
    narrow.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    bundles.write(tmp_path / "good")
    good = tmp_path / "good"
    bundles.stamp(narrow, good)
    bundle.seal(good)
    assert "model.onnx" in refusal(good)


def test_a_model_that_is_no_onnx_is_refused(path):
    (path / "model.onnx").write_bytes(b"not a graph")
    bundle.seal(path)
    assert "ONNX Runtime cannot open it" in refusal(path)


def test_file_that_does_not_belong_to_a_bundle_is_refused(tmp_path: Path) -> None:
    bundles.write(tmp_path)
    (tmp_path / "extra.py").write_text("print('hello')")
    with pytest.raises(BundleError, match=r"'extra\.py' does not belong"):
        bundle.load(tmp_path)


def test_listing_that_reaches_outside_the_bundle_is_refused(tmp_path: Path) -> None:
    bundles.write(tmp_path / "bundle")
    (tmp_path / "outside").write_text("secret")
    sums = tmp_path / "bundle" / bundle.SUMS
    sums.write_text(f"{sums.read_text()}{bundle.sha256(tmp_path / 'outside')}  ../outside\n")
    with pytest.raises(BundleError, match=r"'\.\./outside' does not belong"):
        bundle.load(tmp_path / "bundle")


def test_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it is about to report under the home directory."""
    bundles.write(tmp_path / "bundle")
    home = tmp_path / "home"
    home.mkdir()
    code = "import sys; from pathlib import Path; from serving.bundle import load; load(Path(sys.argv[1]))"
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(bundle.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "bundle")], env=environment, check=True)
    assert not list(home.rglob("*onnxruntime*"))


def reseal_golden(path: Path, **changes: object) -> None:
    """Change golden.json and seal the bundle again, as whoever meant well but wrote nonsense would."""
    golden = json.loads((path / "golden.json").read_text())
    (path / "golden.json").write_text(json.dumps({**golden, **changes}))
    bundle.seal(path)


@pytest.mark.parametrize(
    "rows",
    [
        {"temp": [1.0, 2.0]},
        {"temp": [1.0], "seats": [1, 2], "origin": ["JFK", "JFK"], "dest": ["ORD", "ORD"]},
        {"temp": ["warm", 2.0], "seats": [1, 2], "origin": ["JFK", "JFK"], "dest": ["ORD", "ORD"]},
    ],
    ids=["a column is missing", "columns of unequal length", "text where a number belongs"],
)
def test_golden_rows_that_do_not_fit_the_signature_are_refused(path: Path, rows: object) -> None:
    reseal_golden(path, rows=rows)
    assert "golden.json does not fit signature.json" in refusal(path)


def test_golden_scores_of_a_large_scale_are_compared_relative_to_their_size(tmp_path: Path) -> None:
    model = bundles.graph(bundles.SIGNATURE, [0, 0, 0, 0])
    scale = onnx.helper.make_node("Mul", ["unit", "large"], ["score"])
    model.graph.node[-1].output[0] = "unit"
    model.graph.node.append(scale)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([20_000], np.float32), "large"))
    bundles.write(tmp_path, model=model)
    score = json.loads((tmp_path / "golden.json").read_text())["scores"][0]
    reseal_golden(tmp_path, scores=[score + 0.05, score])
    bundle.load(tmp_path)
    reseal_golden(tmp_path, scores=[score + 0.5, score])
    assert "golden scores do not match" in refusal(tmp_path)
