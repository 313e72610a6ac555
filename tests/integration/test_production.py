"""Production is what `k8s/releases/production/bundle.dvc` on main names, and nothing else."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.production import restore, rows
from serving import bundle
from tests.checkouts import Checkout

pytestmark = pytest.mark.flights

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


def test_git_that_fails_is_not_taken_for_no_release(released: Checkout) -> None:
    """A checkout that git refuses to read, as in a container that runs as somebody else."""
    (released.root / ".git/config").write_text("[core")
    found = restore(Context(released.root))
    assert (found.path, found.reachable) == (None, False)
    assert "git" in found.note


def test_bundle_that_was_exchanged_in_the_remote_is_not_taken_for_production(released: Checkout) -> None:
    """A remote that hands back a sound bundle, but not the one that main names."""
    path = released.root / f"{RELEASE}.dvc"
    document = yaml.safe_load(path.read_text())
    cached = cache_path(released, document["outs"][0]["md5"])
    entries = json.loads(cached.read_text())
    bundle_folder = released.root / "build/bundle"
    other = {each["relpath"]: bundle_folder / each["relpath"] for each in entries}
    metrics = json.loads(other["metrics.json"].read_text())
    metrics["split"]["trained_until"] = "2013-01-02"
    forge(released, entries, "metrics.json", json.dumps(metrics).encode())
    sums = "".join(
        f"{hashlib.sha256(content(released, each)).hexdigest()}  {each['relpath']}\n"
        for each in sorted(entries, key=lambda each: each["relpath"])
        if each["relpath"] != bundle.SUMS
    )
    forge(released, entries, bundle.SUMS, sums.encode())
    cached.chmod(0o644)
    cached.write_text(json.dumps(entries, sort_keys=True))
    shutil.rmtree(released.root / ".dvc/cache")
    found = restore(Context(released.root))
    assert (found.path, found.reachable) == (None, False)


def cache_path(made: Checkout, md5: str) -> Path:
    return made.root / ".remotes/trusted/files/md5" / md5[:2] / md5[2:]


def content(made: Checkout, entry: dict[str, str]) -> bytes:
    return cache_path(made, entry["md5"]).read_bytes()


def forge(made: Checkout, entries: list[dict[str, str]], name: str, altered: bytes) -> None:
    """Put other content into the remote under its own right hash, and into the folder's list."""
    digest = hashlib.md5(altered, usedforsecurity=False).hexdigest()
    cache_path(made, digest).parent.mkdir(parents=True, exist_ok=True)
    cache_path(made, digest).write_bytes(altered)
    next(each for each in entries if each["relpath"] == name)["md5"] = digest


def test_load_without_a_reachable_production_is_inconclusive(released: Checkout) -> None:
    released.edit_params(lambda params: params["gates"]["load"].update(rounds=3, max_rounds=3, stress_users=[1]))
    shutil.rmtree(released.root / ".dvc/cache")
    shutil.rmtree(released.root / ".remotes")
    judged = released.run("flightline", "gate", "load", check=False)
    assert judged.returncode == 2
    assert "'trusted'" in judged.stdout


def test_production_that_reads_a_column_in_another_unit_is_not_compared_with(released: Checkout) -> None:
    schema = released.root / "model/schema.py"
    schema.write_text(schema.read_text().replace('"air temperature", "°F"', '"air temperature", "°C"'))
    released.run("dvc", "repro")
    judged = released.run("flightline", "gate", "benchmark", check=False)
    assert judged.returncode == 2
    assert "'temp' is a number in °F" in judged.stdout


def test_rows_that_are_not_here_come_from_the_trusted_remote(copy: Checkout) -> None:
    table = copy.root / "build/rows/rows.csv"
    before = table.read_bytes()
    copy.run("dvc", "push", "-q", "--remote", "trusted", "prepare")
    shutil.rmtree(table.parent)
    shutil.rmtree(copy.root / ".dvc/cache")
    with rows(Context(copy.root)) as found:
        assert found.read_bytes() == before
    assert not table.exists()
    assert not found.exists()


def test_rows_that_cannot_be_had_are_an_error_that_names_the_remote(copy: Checkout) -> None:
    shutil.rmtree(copy.root / "build/rows")
    shutil.rmtree(copy.root / ".dvc/cache")
    shutil.rmtree(copy.root / ".remotes", ignore_errors=True)
    with (
        pytest.raises(UnavailableError, match=r"build/rows/rows.csv that DVC remote 'trusted'"),
        rows(Context(copy.root)),
    ):
        pass
