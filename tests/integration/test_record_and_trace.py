"""What is known of a bundle: in MLflow once, and link by link back to its data."""

import json
import sqlite3

import pytest
from mlflow import MlflowClient

from pipeline.config import read_params
from serving import bundle
from tests.checkouts import Checkout

pytestmark = pytest.mark.flights


def test_bundle_is_recorded_once_with_its_figures_and_a_registered_version(copy: Checkout) -> None:
    first = json.loads(copy.run("flightline", "record", "--json").stdout)
    again = json.loads(copy.run("flightline", "record", "--json").stdout)
    assert (first["new"], again["new"]) == (True, False)
    assert first["run_id"] == again["run_id"]
    client = MlflowClient(first["tracking_uri"])
    run = client.get_run(first["run_id"])
    assert run.data.params["data.end"] == read_params(copy.root).data["end"]
    assert 0.4 < run.data.metrics["loss"] < 0.6
    assert run.data.tags["flightline.bundle"] == bundle.version(copy.root / "build/bundle")
    names = {artifact.path for artifact in client.list_artifacts(first["run_id"], "bundle")}
    assert "bundle/model.onnx" in names
    assert client.list_artifacts(first["run_id"], "plots")
    (registered,) = client.search_model_versions("name = 'flight-delays'")
    assert registered.run_id == first["run_id"]


def test_recording_that_died_half_way_is_done_again(copy: Checkout) -> None:
    first = json.loads(copy.run("flightline", "record", "--json").stdout)
    with sqlite3.connect(copy.root / ".mlflow/mlflow.db") as database:
        database.execute("UPDATE runs SET status = 'RUNNING'")
        database.execute("DELETE FROM model_versions")
        database.execute("DELETE FROM model_version_tags")
    second = json.loads(copy.run("flightline", "record", "--json").stdout)
    assert second["new"]
    assert second["run_id"] != first["run_id"]


def test_parameters_that_did_not_make_the_bundle_are_not_recorded_under_its_name(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.5))
    refused = copy.run("flightline", "record", check=False)
    assert refused.returncode == 65
    assert "parameters" in refused.stderr
    assert "run `dvc repro`" in refused.stderr
    assert not (copy.root / ".mlflow/mlflow.db").exists()


def test_chain_holds_from_bundle_to_data(copy: Checkout) -> None:
    links = {link["name"]: link for link in json.loads(copy.run("flightline", "trace", "--json").stdout)["links"]}
    assert [
        links[name]["holds"] for name in ("bundle", "source commit", "code", "parameters", "requirements", "data")
    ] == [True] * 6
    assert links["source commit"]["value"] == locked_by(copy)


def locked_by(made: Checkout) -> str:
    """The first commit whose dvc.lock is the one that is here."""
    return made.run("git", "log", "--format=%H", "--", "dvc.lock").stdout.split()[0]


def test_flipped_byte_breaks_the_chain(copy: Checkout) -> None:
    model = copy.root / "build/bundle/model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.unlink()
    model.write_bytes(content)
    traced = copy.run("flightline", "trace", check=False)
    assert traced.returncode == 1
    assert "BROKEN  bundle" in traced.stdout


def test_older_bundle_is_found_by_its_version_and_traced_to_its_own_commit(copy: Checkout) -> None:
    first, commit = bundle.version(copy.root / "build/bundle"), locked_by(copy)
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.2))
    copy.run("dvc", "repro")
    copy.commit("another model")
    links = {
        link["name"]: link for link in json.loads(copy.run("flightline", "trace", first, "--json").stdout)["links"]
    }
    assert links["source commit"]["value"] == commit
    assert links["parameters"]["holds"]


def test_unknown_version_is_refused_with_a_sentence(copy: Checkout) -> None:
    traced = copy.run("flightline", "trace", "f" * 12, check=False)
    assert traced.returncode == 65
    assert "no bundle 'ffffffffffff'" in traced.stderr


def test_parameters_edited_after_the_fact_break_the_chain(copy: Checkout) -> None:
    """A commit whose parameters are not those its lock was made with is found out."""
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.2))
    copy.run("dvc", "repro")
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=9.0))
    copy.commit("not what was trained")
    traced = copy.run("flightline", "trace", check=False)
    assert traced.returncode == 1
    assert "BROKEN  parameters" in traced.stdout
