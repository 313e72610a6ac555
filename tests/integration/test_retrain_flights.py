"""Retraining on the flights, whole: no gain from April, one pull request from May, however often it is killed."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import reports
from pipeline.delivery import answers
from pipeline.delivery.git import Here, Repository
from pipeline.delivery.models import Code, Expects, Judged, Release, write_release
from pipeline.monitoring.retrain import ledger
from pipeline.monitoring.retrain.attempts import Attempt
from serving import bundle
from tests import forges
from tests.checkouts import Checkout
from tests.forges import REPOSITORY, Fault, Played
from tests.retrainings import observation

pytestmark = [pytest.mark.alone, pytest.mark.flights]

APRIL, MAY = date(2013, 4, 28), date(2013, 5, 26)
FOLDER = "k8s/releases/production"
HEX, DIGEST = "0" * 64, f"sha256:{'0' * 64}"


def release(made: Checkout) -> None:
    """The checkout's bundle in production on main, as a promotion puts it there."""
    shutil.copytree(made.root / "build/bundle", made.root / FOLDER / "bundle")
    made.run("dvc", "add", "-q", f"{FOLDER}/bundle")
    made.run("dvc", "push", "-q", "--remote", "trusted", f"{FOLDER}/bundle.dvc")
    shutil.rmtree(made.root / FOLDER / "bundle")
    said = Release(
        environment="production",
        identity=HEX,
        version=bundle.version(made.root / "build/bundle"),
        source=made.run("git", "rev-parse", "HEAD").stdout.strip(),
        image=f"registry.example.com/flightline@{DIGEST}",
        code=Code(image=DIGEST, inputs=HEX),
        metrics={},
        expects=Expects(released=None, ks=0, max_ks=1, rows=0),
        verdict=Judged(decision="pass", reason="first"),
    )
    (made.root / FOLDER / "release.yaml").write_bytes(write_release(said))
    made.commit("promote(production)")


def quick(made: Checkout) -> None:
    """Shorter rounds of load and no stress; every comment of params.yaml stays."""
    path = made.root / "params.yaml"
    changes = {"max_rounds: 25": "max_rounds: 6", " rounds: 10": " rounds: 3", "[1, 2, 4, 8, 16, 32, 64]": "[1]"}
    text = path.read_text()
    for old, new in {**changes, "max_slowdown: 0.25": "max_slowdown: 5.0"}.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture
def released(copy: Checkout, tmp_path: Path) -> Checkout:
    """Production has the window to 31 March; main is at a remote. The load gate is short: speed is not the matter."""
    quick(copy)
    release(copy)
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(copy.root), str(remote)], check=True)
    copy.run("git", "remote", "add", "origin", str(remote))
    copy.run("git", "fetch", "-q", "origin")
    return copy


@contextmanager
def forge() -> Iterator[tuple[dict[str, str], Played]]:
    with forges.serving() as (address, played):
        yield {"GITHUB_API_URL": address, "GITHUB_REPOSITORY": REPOSITORY, "FLIGHTLINE_TOKEN": "for-tests-only"}, played


def words(made: Checkout, end: date) -> list[str]:
    """The command, told what was observed."""
    version = bundle.version(made.root / "build/bundle")
    path = made.root / "build/observed.json"
    path.write_text(observation(end, version=version).model_dump_json())
    return ["flightline", "retrain", "--engine", "local", "--observation", str(path), "--json"]


def retrained(made: Checkout, end: date, environment: dict[str, str]) -> dict[str, Any]:
    done = made.run(*words(made, end), check=False, **environment)
    assert done.stdout.startswith("{"), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def attempts(made: Checkout) -> tuple[Attempt, ...]:
    return ledger.of(Here(made.root)).attempts()


def branch(made: Checkout, name: str) -> str | None:
    return Repository.of(Here(made.root)).tip(name)


def test_window_to_april_gains_nothing_and_opens_no_pull_request(released: Checkout) -> None:
    main = branch(released, "main")
    with forge() as (environment, played):
        ended = retrained(released, APRIL, environment)
        assert (ended["outcome"], played.pulls) == ("no gain", [])
        assert retrained(released, APRIL, environment)["guard"] == "attempted"
    assert "a retrained model must gain at least the margin" in ended["reason"]
    assert (branch(released, "main"), branch(released, "retrain")) == (main, None)
    (attempt,) = attempts(released)
    repository = Repository.of(Here(released.root))
    report = reports.read(repository, f"retrain/{attempt.key}/report.md")
    assert report is not None
    assert b"must gain at least the margin" in report


def test_killed_in_each_step_the_next_run_ends_with_the_one_pull_request(released: Checkout) -> None:
    main = branch(released, "main")
    command = words(released, MAY)
    before = released.run("git", "status", "--porcelain=v2").stdout
    with forge() as (environment, played):
        released.kill_once("decide: reading", *command, **environment)
        assert attempts(released) == ()
        released.kill_once(": advance", *command, **environment)
        released.kill_once(": reproduce", *command, there="build/retrain/tree/build/rows/rows.csv", **environment)
        released.kill_once(": gate", *command, **environment)
        released.kill_once(": propose", *command, **environment)
        ended = retrained(released, MAY, environment)
        assert (ended["outcome"], len(played.pulls)) == ("proposed", 1), ended
        assert retrained(released, MAY, environment)["guard"] == "attempted"
        (pull,) = played.pulls
    (attempt,) = attempts(released)
    assert (attempt.outcome, attempt.tries) == ("proposed", 5)
    assert branch(released, "main") == main
    assert released.run("git", "status", "--porcelain=v2").stdout == before
    _check_branch(released, str(main))
    _check_body(pull, attempt)


def _check_branch(made: Checkout, main: str) -> None:
    """One commit on main, which moves the window and whose lock answers for it."""
    repository = Repository.of(Here(made.root))
    tip = str(branch(made, "retrain"))
    repository.bring("retrain")
    assert repository.text("rev-parse", f"{tip}^") == main
    assert repository.changed(main, tip) == ["dvc.lock", "params.yaml"]
    params, old = (repository.text("show", f"{commit}:params.yaml") for commit in (tip, main))
    assert yaml.safe_load(params)["data"]["end"] == MAY.isoformat()
    assert params.count("#") == old.count("#")
    assert answers.answer(repository, tip).whole


def _check_body(pull: dict[str, Any], attempt: Attempt) -> None:
    """Gain, decay, data, metrics and verdict."""
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("retrain", "main")
    assert pull["title"].startswith("retrain: data to 2013-05-26, better by ")
    body = pull["body"]
    assert body.startswith(f"<!-- flightline:retrain attempt={attempt.key} -->")
    for said in (
        "observed/expected",
        "1.89",
        "data.end",
        "2013-05-26",
        "build/bundle",
        "Gate report",
        "mean loss",
        "roc auc",
    ):
        assert said in body.lower() or said in body, said
    assert len(body) < 65_536


def test_object_store_or_forge_away_leaves_the_attempt_for_the_next_run(released: Checkout) -> None:
    """The remote's place is a file: nothing can be pushed there. The forge is away once the branch is pushed."""
    place = released.root / ".remotes/work"
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    place.write_text("")
    with forge() as (environment, played):
        done = released.run(*words(released, MAY), check=False, **environment)
        assert done.returncode == 69, done.stderr
        assert "error: `dvc push` failed" in done.stderr
        (attempt,) = attempts(released)
        assert (attempt.outcome, attempt.next) == (None, "reproduce")
        place.unlink()
        played.faults = [Fault(status=503, method="POST") for _ in range(9)]
        again = released.run(*words(released, MAY), check=False, **environment)
        assert again.returncode == 69, again.stderr
        assert (attempts(released)[0].outcome, attempts(released)[0].next) == (None, "propose")
        pushed = branch(released, "retrain")
        assert (pushed is not None, played.pulls) == (True, [])
        played.faults.clear()
        assert retrained(released, MAY, environment)["outcome"] == "proposed"
        assert [pull["head"]["ref"] for pull in played.pulls] == ["retrain"]
        assert branch(released, "retrain") == pushed


def test_stage_that_fails_ends_the_attempt_with_its_reason(released: Checkout) -> None:
    source = released.root / "model/source.py"
    source.write_text(
        source.read_text().replace('"planes": _read_csv("planes.csv")', '"planes": _read_csv("gone.csv")')
    )
    released.commit("a source that is gone")
    released.run("git", "push", "-q", "origin", "HEAD:main")
    with forge() as (environment, played):
        ended = retrained(released, MAY, environment)
    assert ended["outcome"] == "failed"
    assert ended["reason"].startswith("reproduce: ")
    assert played.pulls == []
