import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from pipeline.supply import sbom
from pipeline.supply.contents import Contents, Package

PROJECT = Path(__file__).resolve().parents[4]
NAME, DIGEST, VERSION = "registry.example.com:5000/team/Flightline", f"sha256:{'a' * 64}", "b" * 64
CONTENTS = Contents(
    system={"ID": "debian", "VERSION_ID": "12"},
    debian=(Package("libstdc++6", "12.2.0-14+deb12u1", "amd64"), Package("bsdutils", "1:2.38.1-5", "amd64")),
    python=(
        Package("numpy", "2.4.6", license="BSD-3-Clause AND MIT"),
        Package("onnxruntime", "1.31.1", license="MIT License"),
        Package("uvloop", "0.22.1"),
    ),
    interpreter="3.12.13",
    bundle={"model.onnx": b"graph"},
)


def document(contents: Contents = CONTENTS) -> dict[str, Any]:
    return sbom.document(NAME, DIGEST, VERSION, contents)


@pytest.fixture(scope="module")
def schema() -> jsonschema_rs.Validator:
    """CycloneDX's own, as the package that checkov brings ships it."""
    found = [*(PROJECT / ".venv-scan").glob("lib/python3*/site-packages/cyclonedx/schema/_res")]
    if not found:
        pytest.skip("no checkov in .venv-scan; `make validate` installs it")
    (folder,) = found
    schema = json.loads((folder / f"bom-{sbom.SPECIFICATION}.SNAPSHOT.schema.json").read_text())

    def retrieve(uri: str) -> Any:
        return json.loads((folder / uri.rpartition("/")[2]).read_text())

    return jsonschema_rs.validator_for(schema, retriever=retrieve, validate_formats=True)


def test_document_follows_the_schema(schema: jsonschema_rs.Validator) -> None:
    schema.validate(document())


def test_schema_is_strict_enough_to_fail(schema: jsonschema_rs.Validator) -> None:
    wrong = document()
    wrong["components"][0]["licence"] = "MIT"
    assert not schema.is_valid(wrong)


def test_every_package_is_named_as_vulnerability_databases_name_it() -> None:
    assert {one["purl"] for one in document()["components"] if "purl" in one} == {
        "pkg:deb/debian/bsdutils@1:2.38.1-5?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12",
        "pkg:generic/python@3.12.13",
        "pkg:pypi/numpy@2.4.6",
        "pkg:pypi/onnxruntime@1.31.1",
        "pkg:pypi/uvloop@0.22.1",
    }


def test_licenses_are_what_packages_state() -> None:
    found = {one["name"]: one.get("licenses") for one in document()["components"]}
    assert found["numpy"] == [{"expression": "BSD-3-Clause AND MIT"}]
    assert found["onnxruntime"] == [{"license": {"name": "MIT License"}}]
    assert found["uvloop"] is None


def test_model_is_a_component_of_its_own() -> None:
    (model,) = (one for one in document()["components"] if one["type"] == "machine-learning-model")
    assert model["version"] == VERSION


def test_document_says_which_image_it_is_about() -> None:
    assert sbom.names_image(document()) == DIGEST
    assert sbom.names_image({}) == ""


def test_the_same_image_has_the_same_document() -> None:
    shuffled = Contents(**{**vars(CONTENTS), "debian": CONTENTS.debian[::-1], "python": CONTENTS.python[::-1]})
    assert document() == document(shuffled)
    assert document()["serialNumber"] != sbom.document(NAME, f"sha256:{'c' * 64}", VERSION, CONTENTS)["serialNumber"]
