import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import read_settings
from pipeline.supply import provenance
from pipeline.supply.provenance import Materials

SETTINGS = read_settings(Path(__file__).resolve().parents[4])
HOME = SETTINGS.repository
MATERIALS = Materials(
    source="1" * 40,
    bundle="2" * 64,
    bundle_dvc="3" * 32 + ".dir",
    code_image=f"sha256:{'4' * 64}",
    inputs="5" * 64,
    base=f"sha256:{'6' * 64}",
    base_name="docker.io/library/python:3.12@sha256:6",
    locks={"requirements/serve.txt": "7" * 64, "dvc.lock": "8" * 64},
)
RUN = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_WORKFLOW_REF": "example/flightline/.github/workflows/deliver.yml@refs/heads/main",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_ATTEMPT": "2",
}


def predicate(**environ: str) -> dict[str, Any]:
    return provenance.predicate(MATERIALS, SETTINGS, environ)


def test_workflow_is_the_builder_and_the_run_can_be_looked_up() -> None:
    details = predicate(**RUN)["runDetails"]
    assert details["builder"]["id"] == f"{HOME}/.github/workflows/deliver.yml@refs/heads/main"
    assert details["metadata"]["invocationId"] == f"{HOME}/actions/runs/42/attempts/2"


def test_builder_is_who_the_settings_name_as_the_signer() -> None:
    assert SETTINGS.signing is not None
    identity = SETTINGS.signing.identity.replace("{repository}", HOME).replace("{branch}", SETTINGS.branch)
    assert predicate(**RUN)["runDetails"]["builder"]["id"] == identity


def test_build_by_hand_says_so() -> None:
    assert predicate()["runDetails"]["builder"]["id"] == f"{HOME}#by-hand"


def test_parameters_are_what_whoever_started_the_build_chose() -> None:
    assert predicate(**RUN)["buildDefinition"]["externalParameters"] == {
        "repository": HOME,
        "commit": "1" * 40,
        "workflow": ".github/workflows/deliver.yml",
        "ref": "refs/heads/main",
    }


def test_every_material_has_its_digest() -> None:
    found = {one["name"]: one["digest"] for one in predicate()["buildDefinition"]["resolvedDependencies"]}
    assert found == {
        "source": {"gitCommit": "1" * 40},
        "base image": {"sha256": "6" * 64},
        "code image": {"sha256": "4" * 64},
        "bundle": {"sha256": "2" * 64},
        "dvc.lock": {"sha256": "8" * 64},
        "requirements/serve.txt": {"sha256": "7" * 64},
    }


def test_commit_and_bundle_are_read_back() -> None:
    assert provenance.sources(predicate()) == ("1" * 40,)
    assert provenance.bundles(predicate()) == ("2" * 64,)
    assert provenance.sources({}) == provenance.bundles({}) == ()


def test_the_same_inputs_give_the_same_words() -> None:
    assert predicate(**RUN) == predicate(**RUN)


def test_no_secret_of_the_environment_is_told() -> None:
    secrets = {name: f"secret-{name}" for name in ("GITHUB_TOKEN", "COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD", "HOME")}
    assert "secret" not in json.dumps(predicate(**RUN, **secrets))


def test_password_in_an_address_is_left_out() -> None:
    settings = SETTINGS.model_copy(update={"repository": "https://user:secret@git.example.com/a/b.git"})
    environ = {**RUN, "GITHUB_SERVER_URL": "https://user:secret@git.example.com"}
    told = json.dumps(provenance.predicate(MATERIALS, settings, environ))
    assert "secret" not in told
    assert "https://git.example.com/a/b" in told


@pytest.mark.parametrize("name", ["local", ""])
def test_base_that_was_made_here_has_no_address(name: str) -> None:
    materials = Materials(**{**vars(MATERIALS), "base_name": name})
    depends = provenance.predicate(materials, SETTINGS, {})["buildDefinition"]["resolvedDependencies"]
    (base,) = (one for one in depends if one["name"] == "base image")
    assert "uri" not in base
