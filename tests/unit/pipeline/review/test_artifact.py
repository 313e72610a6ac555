"""A fork's run may hand over anything. What does not fit is named, and nothing of it is used."""

import os
from pathlib import Path

import pytest

from pipeline.config import Override
from pipeline.review import artifact
from pipeline.review.artifact import ArtifactError
from pipeline.verdict import Check, Decision, Table
from tests.unit.pipeline.review import reviews
from tests.unit.pipeline.review.reviews import edit, evidence, hand_over, verdict


@pytest.fixture
def handed(tmp_path: Path) -> Path:
    """A sound artifact."""
    given = verdict()
    return hand_over(tmp_path / "evidence", evidence(given), given, ["benchmark-outcome", "load-latency"])


def test_sound_artifact_is_read_whole(handed: Path) -> None:
    found = artifact.read(handed)
    assert found.evidence.head == reviews.HEAD
    assert found.verdict is not None
    assert found.verdict.model_dump_json() == verdict().model_dump_json()
    assert sorted(found.plots) == ["benchmark-outcome", "load-latency"]


def test_run_without_a_verdict_is_read_too(tmp_path: Path) -> None:
    said = evidence(outcome="not reproduced", reason="stage train did not finish")
    assert artifact.read(hand_over(tmp_path / "evidence", said)).verdict is None


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a file"])
def test_missing_artifact_says_that_the_run_ended_early(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "evidence"
    if what == "an empty folder":
        folder.mkdir()
    if what == "a file":
        folder.write_text("{}")
    with pytest.raises(ArtifactError, match="the run ended before"):
        artifact.read(folder)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"head": "main"}, "head"),
        ({"outcome": "splendid"}, "outcome"),
        ({"reason": "x" * 500}, "reason"),
        ({"metrics": [{"name": "loss", "base": "low", "head": 1}]}, r"metrics\.0\.base"),
        ({"params": [{"name": "a", "base": "1", "head": "2"}] * 300}, "params"),
        ({"data": [{"path": "x", "base": "not a hash", "head": None}]}, r"data\.0\.base"),
        ({"comment": "<img src=x>"}, "comment"),
        ({"outcome": "unchanged"}, "outcome 'unchanged' beside a verdict.json"),
    ],
)
def test_field_that_does_not_fit_is_named(handed: Path, fields: dict[str, object], why: str) -> None:
    edit(handed / "evidence.json", **fields)
    with pytest.raises(ArtifactError, match=rf"evidence\.json: .*{why}"):
        artifact.read(handed)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", '{"schema_version": ' + "[" * 5000])
def test_what_is_no_json_is_refused(handed: Path, text: str) -> None:
    (handed / "verdict.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"verdict\.json"):
        artifact.read(handed)


def test_judged_without_a_verdict_is_refused(handed: Path) -> None:
    (handed / "verdict.json").unlink()
    with pytest.raises(ArtifactError, match="outcome 'judged' without a verdict"):
        artifact.read(handed)


@pytest.mark.parametrize(
    "name", ["x.sh", "plots/x.svg", "plots/Big.png", "plots/deep/x.png", ".hidden", "plots/-x.png"]
)
def test_file_of_another_name_is_refused(handed: Path, name: str) -> None:
    (handed / name).parent.mkdir(exist_ok=True)
    (handed / name).write_text("x")
    with pytest.raises(ArtifactError, match="is no file that `flightline evidence` writes"):
        artifact.read(handed)


def test_link_is_not_followed(handed: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((handed / "plots/load-latency.png").read_bytes())
    (handed / "plots/linked.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ArtifactError, match=r"plots/linked\.png"):
        artifact.read(handed)


def test_linked_folder_and_pipe_are_refused(handed: Path, tmp_path: Path) -> None:
    os.mkfifo(handed / "plots/pipe.png")
    with pytest.raises(ArtifactError, match=r"plots/pipe\.png"):
        artifact.read(handed)
    (tmp_path / "linked").symlink_to(handed)
    with pytest.raises(ArtifactError, match="the run ended before"):
        artifact.read(tmp_path / "linked")


def test_too_large_files_are_not_even_parsed(handed: Path) -> None:
    (handed / "evidence.json").write_bytes(b" " * 300_000)
    with pytest.raises(ArtifactError, match=r"evidence\.json has 300,000 bytes"):
        artifact.read(handed)


def test_picture_that_is_none_is_named(handed: Path) -> None:
    (handed / "plots/benchmark-outcome.png").write_bytes(b"<svg onload='alert(1)'/>")
    with pytest.raises(ArtifactError, match=r"plots/benchmark-outcome\.png: it does not begin as a PNG"):
        artifact.read(handed)


def test_too_many_pictures_are_refused(handed: Path) -> None:
    hand_over(handed, evidence(verdict()), verdict(), [f"x{at}" for at in range(30)])
    with pytest.raises(ArtifactError, match="32 pictures"):
        artifact.read(handed)


def test_verdict_that_says_pass_of_a_gate_that_fails_is_refused() -> None:
    forged = reviews.harmed().model_copy(update={"decision": Decision.PASS})
    with pytest.raises(ArtifactError, match="decision: 'pass', but its gates make it 'fail'"):
        artifact.check_verdict(forged)


def test_gate_that_says_pass_of_a_check_that_fails_is_refused() -> None:
    given = reviews.harmed()
    gates = tuple(one.model_copy(update={"decision": Decision.PASS}) for one in given.gates)
    with pytest.raises(ArtifactError, match="its gates make it 'fail'"):
        artifact.check_verdict(given.model_copy(update={"gates": gates, "decision": Decision.PASS}))


def test_verdict_without_one_of_its_gates_does_not_pass() -> None:
    with pytest.raises(ArtifactError, match="its gates make it 'inconclusive'"):
        artifact.check_verdict(verdict(gates=verdict().gates[:3]))


def test_gate_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ArtifactError, match="one is there twice"):
        artifact.check_verdict(verdict(gates=(*verdict().gates, verdict().gates[0])))


def test_overridden_gate_does_not_count_against_it() -> None:
    line = Override(gate="benchmark", candidate="3f9a1c27e4b8", reason="a known fault", expires="2013-06-30")
    given = reviews.harmed()
    gates = tuple(one.model_copy(update={"override": line}) if one.gate == "benchmark" else one for one in given.gates)
    assert artifact.conclusion(gates) is Decision.PASS


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reason": "x" * 2000}, "characters of a reason"),
        ({"checks": (Check(name="x", decision=None, reason="y"),) * 200}, "200 checks"),
        ({"tables": (Table(name="t", columns=("a",), rows=(("x",),) * 500),)}, "500 rows"),
        ({"tables": (Table(name="t", columns=("a", "b"), rows=(("x",),)),)}, "another length"),
    ],
)
def test_verdict_that_is_too_much_is_refused(changes: dict[str, object], why: str) -> None:
    data = verdict().gates[0].model_copy(update=changes)
    with pytest.raises(ArtifactError, match=why):
        artifact.check_verdict(verdict(gates=(data, *verdict().gates[1:])))
