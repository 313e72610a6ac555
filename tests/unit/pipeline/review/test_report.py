"""What main makes of a run: what git and main know goes before whatever the run says."""

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import Override
from pipeline.review import artifact
from pipeline.review.artifact import Artifact, ArtifactError
from pipeline.review.models import Setting
from pipeline.review.report import AGGREGATE, HARMLESS, Known, Report, may_judge, report, warnings
from pipeline.verdict import Decision, Verdict
from tests.unit.pipeline.review import reviews
from tests.unit.pipeline.review.reviews import evidence, known, verdict

PROJECT = Path(__file__).resolve().parents[4]
LINE = Override(gate="benchmark", candidate="3f9a1c27e4b8", reason="a known fault", expires=datetime.date(2013, 6, 30))


def of(judged: Verdict, **changes: object) -> Report:
    """The report of a run that tells the truth."""
    return report(known(judged, **changes), Artifact(evidence(judged), judged))


def states(found: Report) -> dict[str, str]:
    return {one.context.rpartition("/")[2]: one.state for one in found.statuses}


def test_pass_is_a_success_with_a_status_per_gate_and_says_to_merge() -> None:
    found = of(verdict())
    assert states(found) == dict.fromkeys(("data", "benchmark", "differential", "load", "gates"), "success")
    assert found.title == "Pass: fit to replace production"
    assert "Review and merge" in found.next_step
    assert "releases it to staging" in found.next_step


def test_harmed_slice_fails_its_gate_and_the_whole_and_says_not_to_merge() -> None:
    found = of(reviews.harmed())
    assert states(found) == {
        **dict.fromkeys(("data", "differential", "load"), "success"),
        "benchmark": "failure",
        "gates": "failure",
    }
    assert "Do not merge. Gate benchmark" in found.next_step


def test_inconclusive_is_no_success() -> None:
    found = of(reviews.blocked("load", Decision.INCONCLUSIVE, "too few answers"))
    assert states(found)["load"] == states(found)["gates"] == "failure"
    assert "cannot tell" in found.next_step


def test_first_release_is_held_against_the_baseline() -> None:
    found = of(reviews.first_release())
    assert found.title == "Pass: fit for a first release"
    assert found.figures is not None
    assert found.figures.header == ("", "Baseline", "Candidate")


def test_aggregate_is_the_last_status_and_every_description_fits() -> None:
    for found in (of(reviews.blocked("data", Decision.FAIL, "x" * 900)), report(known(), ArtifactError("y" * 900))):
        assert found.statuses[-1].context == AGGREGATE
        assert max(len(one.description) for one in found.statuses) <= 140


@pytest.mark.parametrize("outcome", ["not reproduced", "not judged"])
def test_run_without_a_verdict_fails_and_leaves_no_earlier_gate_standing(outcome: str) -> None:
    said = evidence(outcome=outcome, reason="stage train did not finish")
    found = report(known(), Artifact(said))
    assert found.sentence == "Stage train did not finish."
    assert states(found) == {
        **dict.fromkeys(("data", "benchmark", "differential", "load"), "error"),
        "gates": "failure",
    }


def test_nothing_changed_is_a_success_if_main_sees_that_too() -> None:
    said = Artifact(evidence(outcome="unchanged", model=False))
    assert states(report(known(model=False), said)) == {"gates": "success"}
    lie = report(known(model=True), said)
    assert lie.state == "error"
    assert "'unchanged', but the branch changes what the model is made of" in lie.sentence


def test_artifact_that_cannot_be_used_is_an_error_that_names_why() -> None:
    found = report(known(), ArtifactError("verdict.json: gates.0.gate: not a gate"))
    assert set(states(found).values()) == {"error"}
    assert found.sentence == "verdict.json: gates.0.gate: not a gate"
    assert "run it again" in found.next_step


def test_evidence_of_another_commit_is_not_used() -> None:
    given = verdict()
    found = report(known(given), Artifact(evidence(given, head="c" * 40), given))
    assert found.state == "error"
    assert "head: cccccccccccc, but the pull request is at a1a1a1a1a1a1" in found.sentence


def test_verdict_against_another_production_is_not_used() -> None:
    given = verdict()
    found = report(known(given, production="d" * 64), Artifact(evidence(given), given))
    assert "main's production is dddddddddddd" in found.sentence
    first = reviews.first_release()
    dodged = report(known(first, production="d" * 64), Artifact(evidence(first), first))
    assert dodged.state == "error"
    assert "no release, but main's production is dddddddddddd" in dodged.sentence


def test_production_out_of_reach_is_shown_as_inconclusive() -> None:
    given = reviews.blocked("benchmark", Decision.INCONCLUSIVE, "remote is away").model_copy(
        update={"production": None}
    )
    assert report(known(given, production="d" * 64), Artifact(evidence(given), given)).state == "failure"


def test_provenance_of_another_bundle_is_not_used() -> None:
    given = verdict()
    other = reviews.provenance(given).model_copy(update={"version": "e" * 64})
    for made in (other, None):
        assert report(known(given), Artifact(evidence(given, provenance=made), given)).state == "error"


def overridden() -> Verdict:
    given = reviews.harmed()
    gates = tuple(one.model_copy(update={"override": LINE}) if one.gate == "benchmark" else one for one in given.gates)
    return given.model_copy(update={"gates": gates, "decision": artifact.conclusion(gates)})


def test_override_counts_where_the_branch_has_the_reviewed_line() -> None:
    found = of(overridden(), overrides=(LINE,))
    assert found.state == "success"
    assert [one.title for one in found.gates][1] == "Benchmark (overridden)"
    assert "overridden until 2013-06-30" in found.statuses[1].description


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "has no such line"),
        ({"overrides": (LINE.model_copy(update={"gate": "data"}),)}, "has no such line"),
        ({"overrides": (LINE,), "today": datetime.date(2013, 7, 1)}, "expired"),
    ],
)
def test_override_that_nobody_could_review_does_not_count(changes: dict[str, object], why: str) -> None:
    found = of(overridden(), **changes)
    assert found.state == "error"
    assert why in found.sentence


def test_machine_written_needs_no_artifact_and_believes_none() -> None:
    for handed in (ArtifactError("missing"), Artifact(evidence(machine=True), reviews.harmed())):
        found = report(known(machine="promote(production): 3f9a", model=False), handed)
        assert states(found) == {"gates": "success"}
        assert found.sentence == "Promote(production): 3f9a."


def test_machine_written_says_what_a_reviewer_should_look_at() -> None:
    found = report(known(machine="holds", model=False, fork="mallory/model", permits=("x goes",)), ArtifactError("-"))
    assert [one.partition(":")[0] for one in found.warnings] == ["x goes", "From the fork mallory/model"]


def test_lock_that_machines_wrote_is_judged_like_any_other() -> None:
    given = reviews.harmed()
    assert report(known(given, machine="dvc.lock"), Artifact(evidence(given), given)).state == "failure"
    assert report(known(machine="dvc.lock"), ArtifactError("missing")).state == "error"
    assert of(verdict(), machine="dvc.lock").state == "success"


def test_release_that_nobody_could_prove_is_an_error_and_no_success() -> None:
    for changes in ({"machine": "promote", "model": False}, {}):
        found = of(verdict(), unproven="the registry does not answer", **changes)
        assert set(states(found).values()) == {"error"}
        assert "the registry does not answer" in found.sentence


def test_machine_flag_of_the_run_itself_changes_nothing() -> None:
    given = reviews.harmed()
    assert report(known(given), Artifact(evidence(given, machine=True), given)).state == "failure"


def test_refused_change_of_releases_goes_before_a_verdict_that_passes() -> None:
    found = of(verdict(), refused=("k8s/releases/production: release.yaml: source is not on main",))
    assert states(found)["gates"] == "failure"
    assert "source is not on main" in found.sentence


def test_changed_thresholds_and_judges_are_pointed_at() -> None:
    limit = Setting(name="gates.benchmark.margin", base="0.02", head="0.5")
    said = list(warnings(known(params=(reviews.END, limit), files=("pipeline/gates/benchmark.py", "README.md"))))
    assert said == [
        "This branch changes what it is judged by: gates.benchmark.margin 0.02 → 0.5.",
        "This branch changes what its run was judged with, or may: pipeline/gates/benchmark.py.",
    ]
    assert list(warnings(known())) == []


def test_fork_is_named() -> None:
    assert "From the fork mallory/model" in of(verdict(), fork="mallory/model").warnings[0]


def test_everything_that_a_gate_loads_is_pointed_at_but_the_model() -> None:
    code = """
import sys, pipeline.cli, pipeline.cli_report, pipeline.gate, pipeline.evidence, pipeline.review.collect, pipeline.run
from pipeline.gates import benchmark, data, differential, load
print(*{one.__file__ for one in sys.modules.values() if getattr(one, "__file__", None)}, sep="\\n")"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    inside = (Path(line) for line in done.stdout.splitlines() if Path(line).is_relative_to(PROJECT))
    ours = {path.relative_to(PROJECT).as_posix() for path in inside if ".venv" not in path.parts}
    assert {"pipeline/config.py", "pipeline/frames.py", "pipeline/gates/benchmark.py"} <= ours
    assert {path for path in ours if not may_judge(path)} <= {path for path in ours if path.startswith("model/")}


@pytest.mark.parametrize(
    "path",
    "Makefile pyproject.toml requirements/gate.txt infra/uv.sh dvc.yaml .dvc/config pipeline/stages/train.py "
    "conftest.py .github/workflows/gate.yml k8s/base/slo.yaml serving/bundle.py params.yaml.py README.md/x.py".split(),
)
def test_what_a_run_is_judged_with_is_pointed_at(path: str) -> None:
    assert list(warnings(known(files=(path,)))) == [
        f"This branch changes what its run was judged with, or may: {path}."
    ]


def test_harmless_paths_are_there() -> None:
    missing = {path for path in HARMLESS if not (PROJECT / path).exists()}
    assert missing <= {"k8s/freeze.yaml"}  # stands there only while releases are frozen


def test_known_says_nothing_of_the_run() -> None:
    assert not {"verdict", "evidence", "decision"} & set(Known.__dataclass_fields__)
