"""Jobs that hold a key run nothing of the model's code: their verbs work where it cannot even be imported."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline import reports
from tests import forges, pushes
from tests.deliveries import REGISTRY
from tests.keys import TRIED, done, flightline
from tests.pushes import Learning

HALTED = "import of model"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Learning:
    """A fork that released once, and then had another parameter merged and trained: its lock is still to come."""
    found = pushes.fork(tmp_path_factory.mktemp("keys"))
    found.release()
    found.pull()
    found.edit(0.5)
    found.repro(3.0)
    return found


def test_code_of_the_model_is_out_of_reach_here(made: Learning) -> None:
    """Else none of what follows proves anything."""
    said = flightline(made.root, "trace")
    assert said.returncode != 0
    assert HALTED in said.stderr or "No module named 'model" in said.stderr


def test_lock_release_report_and_way_back(made: Learning) -> None:
    """In the order of their jobs."""
    before = made.timeline().identity
    locked = json.loads(done(made.root, "commit-lock", "--push", "--json"))
    assert locked["outcome"] == "pushed"
    made.git("checkout", "-q", "--", "dvc.lock")
    made.pull()
    released = json.loads(done(made.root, "release", "--image", made.image(), "--push", "--json"))
    assert released["outcome"] == "pushed"
    published = json.loads(done(made.root, "publish", "--json"))
    assert reports.read(made.repository, f"{published['folder']}/verdict.json")
    made.pull()
    with forges.serving() as (address, played):
        words = ("rollback", "--env", "staging", "--to", before, "--reason", "a rehearsal", "--pull-request")
        done(made.root, *words, **forge(address))
    assert [one["head"]["ref"] for one in played.pulls] == [f"rollback/staging/{made.timeline().identity[:12]}"]


def test_report_on_a_pull_request(made: Learning) -> None:
    made.git("branch", "change", "origin/main")
    head = made.git("rev-parse", "change")
    with forges.serving() as (address, played):
        played.add_pull("change", sha=head)
        played.add_run(".github/workflows/gate.yml", head_sha=head, event="pull_request")
        assert "success" in done(made.root, "ci", "judged", head, **forge(address))
        done(made.root, "comment", "--run", "1", "--evidence", "build/none", **forge(address))
    assert "flightline/gates" in {one["context"] for one in played.statuses}


def test_logins(made: Learning) -> None:
    docker = {"DOCKER_CONFIG": str(made.root / "build/docker")}
    who = {"FLIGHTLINE_REGISTRY_USER": "robot", "FLIGHTLINE_REGISTRY_TOKEN": "for-tests-only"}
    assert REGISTRY.partition("/")[0] in done(made.root, "ci", "login", **docker, **who)
    assert "trusted" in done(made.root, "ci", "remote")
    assert "no cloud's login" in done(made.root, "ci", "identity")


def test_image(made: Learning, tmp_path: Path) -> None:
    """As far as it comes without a builder."""
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    settings = made.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace(REGISTRY, "127.0.0.1:1/flightline"))
    said = flightline(made.root, "image", "ensure", "--base", "local", PATH=str(tmp_path)).stderr
    assert "ImageError" in said
    assert HALTED not in said


def test_every_verb_is_tried_somewhere() -> None:
    for verb, where in TRIED.items():
        text = (Path(__file__).resolve().parents[2] / where).read_text()
        assert '"' + '", "'.join(verb.split()) + '"' in text, f"{where} does not run `flightline {verb}`"


def forge(address: str) -> dict[str, str]:
    return {
        "GITHUB_API_URL": address,
        "GITHUB_REPOSITORY": forges.REPOSITORY,
        "FLIGHTLINE_TOKEN": "for-tests-only",
    }
