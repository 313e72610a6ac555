"""Production is what `k8s/releases/production/bundle.dvc` on main names, and nothing else."""

import json
import shutil
from collections.abc import Callable

import pytest

from pipeline.context import Context
from pipeline.production import restore
from serving import bundle
from tests.checkouts import Checkout

RELEASE = "k8s/releases/production/bundle"


def release(made: Checkout) -> str:
    """Put the checkout's bundle into production, as a release does: its files to trusted, its name to main."""
    shutil.copytree(made.root / "build/bundle", made.root / RELEASE)
    made.run("dvc", "add", "-q", RELEASE)
    made.run("dvc", "push", "-q", "--remote", "trusted", f"{RELEASE}.dvc")
    shutil.rmtree(made.root / RELEASE)
    made.commit("release")
    return bundle.version(made.root / "build/bundle")


@pytest.fixture
def released(copy: Checkout) -> Checkout:
    release(copy)
    return copy


def test_without_a_release_there_is_no_production(copy: Checkout) -> None:
    found = restore(Context(copy.root))
    assert (found.path, found.reachable) == (None, True)


def test_bundle_that_main_names_is_restored_from_the_trusted_remote_alone(released: Checkout) -> None:
    shutil.rmtree(released.root / ".dvc/cache")
    found = restore(Context(released.root))
    assert found.path is not None
    assert bundle.version(found.path) == bundle.version(released.root / "build/bundle")


def test_branch_that_edits_the_release_changes_nothing(released: Checkout) -> None:
    released.run("git", "checkout", "-q", "-b", "sneaky")
    (released.root / f"{RELEASE}.dvc").unlink()
    released.commit("nothing to compare with")
    assert restore(Context(released.root)).path is not None


def test_remote_main_decides_over_a_stale_local_one(released: Checkout, copies: Callable[[str], Checkout]) -> None:
    clone = copies("clone")
    clone.run("git", "remote", "add", "origin", str(released.root))
    clone.run("git", "fetch", "-q", "origin", "main")
    assert "origin/main" in restore(Context(clone.root)).note


def test_checkout_that_does_not_know_main_is_inconclusive_and_says_what_to_fetch(copy: Checkout) -> None:
    copy.run("git", "branch", "-m", "feature")
    found = restore(Context(copy.root))
    assert not found.reachable
    assert "git fetch origin main" in found.note


def test_remote_out_of_reach_makes_the_gate_inconclusive_and_is_named(released: Checkout) -> None:
    shutil.rmtree(released.root / ".dvc/cache")
    shutil.rmtree(released.root / ".remotes")
    judged = released.run("flightline", "gate", "benchmark", "differential", check=False)
    assert judged.returncode == 2
    assert judged.stdout.count("INCONCLUSIVE") == 2
    assert "'trusted'" in judged.stdout


def test_same_model_as_production_is_no_worse_and_no_better(released: Checkout) -> None:
    judged = released.run("flightline", "gate", "benchmark", "differential", "--json", check=False)
    found = {one["gate"]: one for one in json.loads(judged.stdout)}
    assert found["benchmark"]["decision"] == "pass"
    assert found["benchmark"]["inputs"]["rule"] == "non-inferior"
    assert found["differential"]["decision"] == "pass"


def test_same_model_as_production_earns_no_retrain(released: Checkout) -> None:
    judged = released.run("flightline", "gate", "benchmark", "--retrain", check=False)
    assert judged.returncode != 0
