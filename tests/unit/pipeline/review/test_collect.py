"""evidence: whatever became of the run, something is handed over that main's code can read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline import paths, reports
from pipeline.context import Context
from pipeline.delivery.models import DeliveryError
from pipeline.dvcfiles import dvc_hash, md5
from pipeline.errors import GitError
from pipeline.frames import TableError
from pipeline.review import artifact, publish
from pipeline.review.collect import FOLDER, collect, unfinished
from pipeline.review.models import Evidence
from pipeline.stages.bundle import inputs
from serving import bundle
from tests import bundles, verdicts
from tests.checkouts import Checkout, checkout
from tests.deliveries import say

METRICS = {"loss": 0.4, "rows": {"train": 5}}
DELIVERED = (paths.BUNDLE.name, paths.VERDICT.name)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the project with a remote, and a branch that moves the window on."""
    made = checkout(tmp_path_factory.mktemp("project"))
    made.set_params({"data": {"start": "2013-01-01", "end": "2013-03-31"}})
    made.commit("a window")
    made.run("git", "init", "-q", "--bare", "-b", "main", f"{made.root}-remote")
    made.run("git", "remote", "add", "origin", f"{made.root}-remote")
    made.run("git", "push", "-q", "origin", "main")
    made.run("git", "checkout", "-q", "-b", "change")
    made.edit_params(lambda document: document["data"].update(end="2013-05-31"))
    made.commit("move the window on")
    return made


@pytest.fixture
def change(copy: Checkout) -> Iterator[Checkout]:
    """The copy, as a finished run leaves it: rows, bundle, metrics, verdict."""
    copy.run("git", "checkout", "-q", "change")
    root = copy.root
    for one in (paths.ROWS, paths.METRICS):
        (root / one).parent.mkdir(parents=True, exist_ok=True)
    (root / paths.ROWS).write_text("a,b\n1,2\n")
    (root / paths.METRICS).write_text(json.dumps(METRICS))
    for name in ("build/raw", "build/model", "build/evaluation/plots"):
        (root / name).mkdir(parents=True, exist_ok=True)
    bundles.write(root / paths.BUNDLE)
    (root / paths.BUNDLE / "inputs.json").write_text(json.dumps(inputs(Context(root))))
    judge(root, bundle.seal(root / paths.BUNDLE))
    yield copy
    copy.run("rm", "-rf", "build")
    copy.run("git", "checkout", "-q", "--force", "change")


def judge(root: Path, version: str) -> None:
    candidate = verdicts.CANDIDATE.model_copy(update={"version": version})
    (root / paths.VERDICT).write_text(verdicts.verdict(candidate=candidate).model_dump_json())


def collected(made: Checkout, base: str = "origin/main") -> Evidence:
    """What the verb says, after main's own code could read it."""
    said = collect(Context(made.root), base, say)
    assert artifact.read(made.root / FOLDER).evidence == said
    return said


def test_judged_run_hands_over_verdict_pictures_differences_and_provenance(change: Checkout) -> None:
    said = collected(change)
    assert (said.outcome, said.model, said.machine, said.reason) == ("judged", True, False, "")
    assert said.head == change.run("git", "rev-parse", "HEAD").stdout.strip()
    assert said.base == change.run("git", "rev-parse", "main").stdout.strip()
    assert [(one.name, one.base, one.head) for one in said.params] == [("data.end", "2013-03-31", "2013-05-31")]
    assert {one.name: one.head for one in said.metrics}["loss"] == 0.4
    assert "build/bundle" in {one.path for one in said.data}
    assert said.provenance is not None
    assert said.provenance.version == bundle.version(change.root / paths.BUNDLE)
    found = artifact.read(change.root / FOLDER)
    assert found.verdict is not None
    assert {"benchmark-outcome", "benchmark-slices", "load-latency"} <= set(found.plots)


def test_base_s_own_figures_stand_beside_where_the_file_is_the_same(change: Checkout) -> None:
    lock = (change.root / "dvc.lock").read_text()
    change.run("git", "checkout", "-q", "-b", "same")
    metrics = next(line for line in lock.split("build/evaluation/metrics.json")[-1].splitlines() if "md5:" in line)
    ours = md5((change.root / paths.METRICS).read_bytes())
    (change.root / "dvc.lock").write_text(lock.replace(metrics.rpartition(" ")[2], ours))
    change.commit("a lock that names these figures")
    said = collected(change, "HEAD")
    assert {one.name: one.base for one in said.metrics} == {"loss": 0.4, "rows.train": 5}


def test_figures_of_the_base_that_no_remote_gives_are_noted(change: Checkout) -> None:
    said = collected(change)
    assert {one.base for one in said.metrics} == {None}
    assert "figures of the base are not shown" in said.notes[0]


def test_stage_that_did_not_finish_is_named(change: Checkout) -> None:
    change.run("rm", "-rf", "build/model", "build/bundle", "build/evaluation")
    said = collected(change)
    assert (said.outcome, said.reason) == ("not reproduced", "stage train did not finish")
    assert not (change.root / FOLDER / "verdict.json").exists()


def test_bundle_of_other_data_is_not_reproduced(change: Checkout) -> None:
    (change.root / paths.ROWS).write_text("a,b\n1,3\n")
    assert "was made from other data" in collected(change).reason


def test_verdict_that_is_missing_or_of_another_bundle_is_not_judged(change: Checkout) -> None:
    judge(change.root, "9" * 64)
    assert "speaks of another bundle" in collected(change).reason
    (change.root / paths.VERDICT).unlink()
    said = collected(change)
    assert said.outcome == "not judged"
    assert "came to no verdict" in said.reason


def test_change_of_words_is_unchanged_and_needs_no_bundle(change: Checkout) -> None:
    change.run("git", "checkout", "-q", "-B", "words", "main")
    (change.root / "README.md").write_text("other words\n")
    change.commit("words")
    change.run("rm", "-rf", "build")
    said = collected(change)
    assert (said.outcome, said.model) == ("unchanged", False)


def test_broken_parameters_still_leave_evidence(change: Checkout) -> None:
    (change.root / "params.yaml").write_text("data: [\n")
    change.commit("broken")
    said = collected(change)
    assert said.outcome == "not reproduced"
    assert any("params.yaml cannot be compared" in note for note in said.notes)
    change.run("git", "reset", "-q", "--hard", "HEAD^")


def test_evidence_of_an_earlier_run_does_not_survive(change: Checkout) -> None:
    collected(change)
    (change.root / FOLDER / "plots" / "old.png").write_bytes(b"x")
    (change.root / paths.VERDICT).unlink()
    collected(change)
    assert list((change.root / FOLDER / "plots").iterdir()) == []


def test_base_that_is_no_commit_is_named(change: Checkout) -> None:
    with pytest.raises(GitError, match=r"nowhere|single revision"):
        collect(Context(change.root), "nowhere", say)


@pytest.mark.parametrize("text", ["", "stages: 5", "[", "stages: {a: {}}", "stages: {a: {outs: [build/none]}}"])
def test_first_unfinished_stage_is_found_or_nothing_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    assert unfinished(tmp_path) == ("a" if "none" in text else "")


@pytest.fixture
def released(change: Checkout) -> Checkout:
    """As a release's job has it: a commit whose dvc.lock names the bundle, this and its verdict, and nothing else."""
    root = change.root
    change.run("git", "checkout", "-q", "--detach")
    lock(change, dvc_hash(root / paths.BUNDLE))
    change.run("rm", "-rf", *(str(one) for one in (root / paths.BUILD).iterdir() if one.name not in DELIVERED))
    return change


def lock(made: Checkout, name: str) -> None:
    """Commit a dvc.lock that calls the bundle so."""
    out = {"path": paths.BUNDLE.as_posix(), "hash": "md5", "md5": name}
    document = {"schema": "2.0", "stages": {"bundle": {"cmd": "flightline bundle", "outs": [out]}}}
    (made.root / "dvc.lock").write_text(yaml.safe_dump(document))
    made.run("git", "commit", "-q", "-a", "-m", "lock")


def test_publish_puts_report_verdict_and_pictures_where_promotions_look(released: Checkout) -> None:
    context = Context(released.root)
    found = publish.publish(context, say)
    assert found.folder == f"commits/{released.run('git', 'rev-parse', 'HEAD').stdout.strip()}"
    from pipeline.delivery.git import Repository

    repository = Repository.of(context)
    report = (reports.read(repository, f"{found.folder}/report.md") or b"").decode()
    assert reports.read(repository, f"{found.folder}/verdict.json") is not None
    shown = [part.partition(")")[0] for part in report.split("](plots/")[1:]]
    assert len(shown) > 5
    for name in shown:
        assert (reports.read(repository, f"{found.folder}/plots/{name}") or b"").startswith(b"\x89PNG")


def test_publish_refuses_a_verdict_of_something_else_and_a_bundle_that_the_lock_does_not_name(
    released: Checkout,
) -> None:
    judge(released.root, "9" * 64)
    with pytest.raises(TableError, match="another bundle"):
        publish.publish(Context(released.root), say)
    lock(released, "9" * 32 + ".dir")
    with pytest.raises(DeliveryError, match=r"dvc\.lock at \w+ names 9999"):
        publish.publish(Context(released.root), say)
