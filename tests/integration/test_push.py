"""A push to main: what its run is told to do, the lock that comes before a release, and pushes that race."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.delivery.checks import check_change, check_releases
from pipeline.delivery.git import Repository
from pipeline.delivery.history import HELD, folder
from pipeline.delivery.hold import hold, unhold
from pipeline.delivery.models import DeliveryError
from pipeline.delivery.plan import Plan, write
from pipeline.delivery.push import How
from pipeline.delivery.rollback import rollback
from pipeline.delivery.status import look
from pipeline.delivery.wanted import wanted
from pipeline.errors import GitError
from tests import deliveries, forges, pushes
from tests.deliveries import PUSH, outcome_of, overlay, say, start_release
from tests.pushes import Learning, params, said, start_lock

PROJECT = Path(__file__).resolve().parents[2]
FREEZE = "k8s/freeze.yaml"
STAGING = folder("staging")
MERGED = {"state": "closed", "merged_at": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("began")
    pushes.fork(where)
    return where


@pytest.fixture(scope="module")
def went_on(began: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After two releases to staging."""
    where = tmp_path_factory.mktemp("went-on") / "copy"
    made = copied(began, where)
    made.release()
    made.pull()
    made.released(2.0)
    return where


@pytest.fixture
def fork(began: Path, tmp_path: Path) -> Learning:
    return copied(began, tmp_path / "fork")


@pytest.fixture
def two(went_on: Path, tmp_path: Path) -> Learning:
    return copied(went_on, tmp_path / "two")


def copied(where: Path, to: Path) -> Learning:
    shutil.copytree(where, to, symlinks=True)
    made = Learning(to / "clone", to / "remote.git")
    made.git("remote", "set-url", "origin", str(made.remote))
    return made


def answers(found: Plan) -> tuple[bool, bool, bool]:
    return found.machine, found.model, found.release


def identities(made: Learning) -> list[str]:
    return [one.identity for _, one in reversed([*made.timeline().releases()])]


# What was checked already


def merge_of_a_branch(two: Learning, change: str = "README.md", meanwhile: bool = False) -> tuple[str, str]:
    """A branch that changes a file, merged as a forge does: (its commit, the merge)."""
    two.git("checkout", "-q", "-b", "branch")
    (two.root / change).parent.mkdir(parents=True, exist_ok=True)
    (two.root / change).write_text("changed")
    two.git("add", "-A")
    two.git("commit", "-qm", "A branch")
    tip = two.git("rev-parse", "HEAD")
    two.git("checkout", "-q", "main")
    if meanwhile:
        (two.root / "OTHER.md").write_text("meanwhile")
        two.git("add", "-A")
        two.git("commit", "-qm", "Meanwhile")
    two.git("merge", "-q", "--no-ff", "-m", "Merge", "branch")
    return tip, two.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("ends", "found"),
    [
        ([("pr.yml", "success")], True),
        ([("pr.yml", "failure")], False),
        ([("gate.yml", "success")], False),
        ([("pr.yml", "success"), ("pr.yml", "failure")], False),  # the newest one counts
        ([("pr.yml", "success"), ("pr.yml", "")], False),
        ([], False),
    ],
)
def test_files_that_passed_as_a_pull_request_are_checked(
    two: Learning, ends: list[tuple[str, str]], found: bool
) -> None:
    tip, _ = merge_of_a_branch(two)
    with forges.played() as (forge, there, _):
        there.add_pull("branch", sha=tip, **MERGED)
        for workflow, end in ends:
            ran(there, tip, workflow, conclusion=end)
        assert wanted(two.repository, forge, lambda: True, say)[0] == ("delivery" if found else "all")


def ran(there: forges.Played, tip: str, workflow: str = "pr.yml", **given: Any) -> None:
    """A run of the pull request of `branch`, as GitHub tells it."""
    of = {"event": "pull_request", "head_branch": "branch", "head_repository": {"full_name": forges.REPOSITORY}}
    there.add_run(f".github/workflows/{workflow}", **{**of, "head_sha": tip, **given})


@pytest.mark.parametrize(
    "told",
    [
        {"path": "pr.yml@refs/pull/1/head", "head_branch": ""},  # as Gitea tells it
        {"path": "pr.yml@refs/heads/branch", "event": "workflow_dispatch"},
    ],
)
def test_pull_request_is_known_by_its_number_or_its_checks_were_started_on_the_branch_itself(
    two: Learning, told: dict[str, str]
) -> None:
    tip, _ = merge_of_a_branch(two)
    with forges.played() as (forge, there, _):
        there.add_pull("branch", sha=tip, **MERGED)
        ran(there, tip, **told)
        assert wanted(two.repository, forge, lambda: True, say)[0] == "delivery"


def into_another(there: forges.Played, tip: str) -> None:
    there.add_pull("branch", sha=tip, base={"ref": "no-checks", "sha": "c" * 40}, **MERGED)


def beside_another(there: forges.Played, tip: str) -> None:
    there.add_pull("branch", sha=tip, **MERGED)
    there.add_pull("branch", sha="d" * 40, base={"ref": "no-checks", "sha": "c" * 40}, state="closed")


def moved_on_github(there: forges.Played, tip: str) -> None:
    number = there.add_pull("branch", sha=tip, **MERGED)["number"]
    there.timelines[number] = [{"event": "committed"}, {"event": "base_ref_changed"}]


def moved_on_gitea(there: forges.Played, tip: str) -> None:
    number = there.add_pull("branch", sha=tip, **MERGED)["number"]
    there.timelines[number] = [{"type": "pull_push"}, {"type": "change_target_branch"}]


def of_nobody(there: forges.Played, tip: str) -> None:
    there.add_pull("branch", sha=tip, repository="stranger/model", **MERGED)


@pytest.mark.parametrize("happened", [into_another, beside_another, moved_on_github, moved_on_gitea, of_nobody])
def test_run_that_another_branch_s_workflows_may_have_passed_spares_no_check(
    two: Learning, happened: Callable[[forges.Played, str], None]
) -> None:
    """GitHub runs the workflows of a pull request's merge into its base: a branch may be made whose checks are none."""
    tip, _ = merge_of_a_branch(two)
    with forges.played() as (forge, there, _):
        happened(there, tip)
        ran(there, tip)
        assert wanted(two.repository, forge, lambda: True, say)[0] == "all"


def test_run_that_no_pull_request_started_spares_no_check(two: Learning) -> None:
    tip, _ = merge_of_a_branch(two)
    with forges.played() as (forge, there, _):
        there.add_pull("branch", sha=tip, **MERGED)
        ran(there, tip, event="pull_request_target")
        assert wanted(two.repository, forge, lambda: True, say)[0] == "all"


@pytest.mark.parametrize(
    ("change", "meanwhile", "why"),
    [
        ("README.md", True, "no pull request with the same files"),
        (".github/workflows/checks.yml", False, "says what is checked"),
        ("Makefile", False, "says what is checked"),
        ("dvc.lock", False, "only machines wrote"),
        ("k8s/releases/staging/held.yaml", False, "only machines wrote"),
    ],
)
def test_files_that_are_others_than_those_that_passed_are_checked_again(
    two: Learning, change: str, meanwhile: bool, why: str
) -> None:
    tip, _ = merge_of_a_branch(two, change, meanwhile)
    with forges.played() as (forge, there, _):
        there.add_pull("branch", sha=tip, **MERGED)
        ran(there, tip)
        found, said = wanted(two.repository, forge, lambda: True, say)
    assert found == "all"
    assert why in said


def test_run_of_a_commit_that_main_went_straight_on_to_proves_nothing_of_what_it_builds_on(two: Learning) -> None:
    two.commit("Judge less", {"Makefile": "test:"})
    head = two.commit("A word", {"README.md": "changed"})
    with forges.played() as (forge, there, _):
        there.add_pull("branch", sha=head, **MERGED)
        ran(there, head)
        assert wanted(two.repository, forge, lambda: True, say)[0] == "all"


def test_forge_that_is_away_spares_no_check(two: Learning) -> None:
    tip, _ = merge_of_a_branch(two)
    with forges.played() as (forge, there, _):
        there.add_pull("branch", sha=tip, **MERGED)
        ran(there, tip)
        there.faults = [forges.Fault(404)]
        found, said = wanted(two.repository, forge, lambda: True, say)
    assert found == "all"
    assert "404" in said


@pytest.mark.parametrize(("delivered", "found"), [(True, ""), (False, "all")])
def test_lock_is_left_to_the_run_that_wrote_it_and_what_that_left_is_done(
    two: Learning, delivered: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = two.edit(0.5)
    two.repro(3.0)
    two.git("reset", "-q", "--hard", f"{two.commit_lock().commit}")
    with forges.played() as (forge, there, _):
        run = there.add_run(".github/workflows/deliver.yml", head_sha=source, status="in_progress", conclusion="")
        monkeypatch.setattr("time.sleep", lambda _: run.update(status="completed", conclusion="success"))
        assert wanted(two.repository, forge, lambda: not delivered, say)[0] == found
    assert run["status"] == "completed", "its end was waited for"


def test_commit_that_only_looks_like_a_lock_is_delivered(two: Learning) -> None:
    source = two.edit(0.5)
    two.commit(f"lock: nothing of the kind\n\nSource: {source}", {"params.yaml": params(0.7)})
    with forges.played() as (forge, there, _):
        there.add_run(".github/workflows/deliver.yml", head_sha=source, status="in_progress", conclusion="")
        assert wanted(two.repository, forge, lambda: True, say)[0] == "all"


# What a push asks for


def test_push_of_anything_else_asks_for_nothing(two: Learning) -> None:
    two.commit("docs", {"docs/notes.md": "more\n", "tests/test_x.py": ""})
    found = two.plan()
    assert answers(found) == (False, False, False)
    assert found.source == two.git("rev-parse", "HEAD")
    assert f"staging has identity {identities(two)[-1][:12]} already" in found.reason


def test_nothing_is_rendered_where_nothing_that_is_rendered_changed(
    two: Learning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first job of a run has no tools yet: it must not build them to find that there is nothing to do."""
    two.commit("docs", {"docs/notes.md": "more\n"})
    monkeypatch.setenv("FLIGHTLINE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", os.pathsep.join({str(Path(shutil.which("git") or "").parent), "/usr/bin", "/bin"}))
    assert not two.plan().release


def test_first_release_is_asked_for(fork: Learning) -> None:
    found = fork.plan()
    assert (found.release, found.reason) == (True, "staging has no release yet")


@pytest.mark.parametrize(
    ("files", "model", "why"),
    [
        ({"params.yaml": params(0.5)}, True, "estimator in params.yaml"),
        ({"model/features.py": "names = []\n"}, True, "model"),
        ({"dvc.yaml": yaml.safe_dump({"stages": {"bundle": {**pushes.STAGE, "cmd": "other"}}})}, True, "the command"),
        ({"serving/__init__.py": "# server\n"}, False, "serving/__init__.py"),
        ({"Dockerfile": "FROM scratch AS other\n"}, False, "Dockerfile"),
        (
            {"k8s/overlays/staging/kustomization.yaml": overlay("staging", commonAnnotations={"a": "b"})},
            False,
            "is not",
        ),
        ({"k8s/overlays/production/kustomization.yaml": overlay("production", nameSuffix="-x")}, False, "is not"),
    ],
)
def test_change_of_what_is_released_asks_for_a_release(
    two: Learning, files: dict[str, str], why: str, *, model: bool
) -> None:
    two.commit("change", files)
    found = two.plan()
    assert answers(found) == (False, model, True)
    assert why in found.reason


def test_manifests_that_render_to_the_same_release_nothing(two: Learning) -> None:
    path = "k8s/overlays/staging/kustomization.yaml"
    two.commit("a comment", {path: "# why\n" + (two.root / path).read_text()})
    assert not two.plan().release


def test_thresholds_of_gates_are_no_ingredient_of_the_bundle(two: Learning) -> None:
    text = (two.root / "params.yaml").read_text()
    two.commit("margin", {"params.yaml": text.replace("0.02", "0.03")})
    assert answers(two.plan()) == (False, False, False)


def test_bundle_that_comes_back_is_a_release_unless_it_went_back(two: Learning) -> None:
    """An earlier model again, by a later commit: nobody said that it was bad."""
    two.train(1.0)
    assert two.plan().release
    again = two.release()
    assert again.outcome == "pushed"
    two.pull()
    assert not two.plan().release


# Machines' own commits start nothing twice


def test_lock_and_release_are_each_gone_on_with_once(two: Learning) -> None:
    """Parameter merged -> lock commit -> its own push releases -> the release's push finds nothing to do."""
    two.edit(0.5)
    two.repro(3.0)
    assert two.plan().release
    assert two.commit_lock().outcome == "pushed"
    two.git("checkout", "-q", "--", "dvc.lock")
    two.pull()
    assert answers(two.plan("HEAD~1")) == (True, True, True)
    assert two.release().outcome == "pushed"
    assert not two.plan().release  # the very same push again: a run that was started anew
    two.pull()
    assert answers(two.plan("HEAD~1")) == (True, False, False)


def rolled_back(made: Learning) -> None:
    rollback(made.context, "staging", identities(made)[0][:12], "slow", PUSH, say)


def reverted(made: Learning) -> None:
    made.git("revert", "--no-edit", "HEAD")
    made.git("push", "-q", "origin", "HEAD:main")


def held(made: Learning) -> None:
    hold(made.context, "staging", identities(made)[-1][:12], "slow", PUSH, say)


def held_in_production(made: Learning) -> None:
    hold(made.context, "production", identities(made)[-1][:12], "slow", PUSH, say)


def promoted(made: Learning) -> None:
    made.promoted()


def let_go_of_another(made: Learning) -> None:
    hold(made.context, "staging", identities(made)[0][:12], "slow", PUSH, say)
    unhold(made.context, "staging", identities(made)[0][:12], "quick", PUSH, say)


@pytest.mark.parametrize("step", [rolled_back, reverted, held, held_in_production, promoted, let_go_of_another])
def test_commit_of_a_machine_releases_nothing(two: Learning, step: Callable[[Learning], None]) -> None:
    before = two.repository.fetch()
    step(two)
    two.pull()
    found = two.plan(before)
    assert answers(found) == (True, False, False), found.text


def test_permission_for_what_main_makes_is_gone_on_with(two: Learning) -> None:
    newest = identities(two)[-1]
    rolled_back(two)
    two.pull()
    assert "is held in staging" in two.plan().reason
    unhold(two.context, "staging", newest[:12], "sound after all", PUSH, say)
    two.pull()
    assert answers(two.plan()) == (True, False, True)


# Branches


def test_promotion_s_branch_is_known_as_a_machine_s_by_what_it_holds(two: Learning) -> None:
    branch = two.promote().branch
    two.git("fetch", "-q", "origin", str(branch))
    two.git("checkout", "-q", "FETCH_HEAD")
    assert two.plan("origin/main").machine
    path = two.root / folder("production") / "release.yaml"
    path.write_text(path.read_text().replace("ks: 0.0", "ks: 0.5"))
    two.git("commit", "-qam", "promote(production): forged")
    found = two.plan("origin/main")
    assert (found.machine, found.release) == (False, False)
    assert "release.yaml" in found.machine_reason or "manifests.yaml" in found.machine_reason


def test_lock_that_answers_for_other_files_is_not_a_machine_s(two: Learning) -> None:
    path = two.root / "dvc.lock"
    path.write_text(path.read_text().replace("C: 1.0", "C: 2.0"))
    two.commit("by hand")
    found = two.plan()
    assert answers(found) == (False, True, True)
    assert "estimator in params.yaml" in found.machine_reason


def test_lock_that_names_another_bundle_has_it_judged(two: Learning) -> None:
    first = two.git("log", "--format=%H", "--diff-filter=A", "--", "dvc.lock")
    two.commit("an older bundle", {"dvc.lock": two.git("show", f"{first}:dvc.lock") + "\n"})
    found = two.plan()
    assert (found.machine, found.model) == (True, True)


def test_lock_on_its_own_branch_here_is_a_machine_s_and_is_judged(two: Learning) -> None:
    base = two.edit(0.5)
    two.repro(3.0)
    commit = two.commit_lock(deliveries.BRANCH).commit
    two.git("fetch", "-q", "origin", "dvc-lock")
    two.git("checkout", "-q", "--force", str(commit))
    found = two.plan(base)
    assert (found.machine, found.model) == (True, True)
    two.git("push", "-q", "origin", f"{commit}:refs/heads/copy", ":refs/heads/dvc-lock")
    copy = two.plan(base)
    assert (copy.machine, copy.model) == (False, True)
    assert "a person may have written this one" in copy.machine_reason


def test_lock_that_says_the_same_in_other_words_changes_no_model(two: Learning) -> None:
    two.commit("layout", {"dvc.lock": "# by hand\n" + (two.root / "dvc.lock").read_text()})
    assert not two.plan().model


def test_branch_that_left_main_before_the_release_is_no_older_run(two: Learning) -> None:
    two.git("checkout", "-q", "-b", "feature", "HEAD~2")
    two.git("commit", "-q", "--allow-empty", "-m", "feature")
    assert "older run" not in two.plan().reason


# What a workflow reads


def test_output_has_a_line_per_answer_whatever_a_file_is_called(two: Learning, tmp_path: Path) -> None:
    two.commit("trap", {"model/x\nrelease=false\n::error::": "", "model/features.py": "other"})
    found = two.plan()
    write(found.values, tmp_path / "output")
    lines = (tmp_path / "output").read_text().splitlines()
    assert [line.partition("=")[0] for line in lines] == ["machine", "model", "release", "reason", "source"]
    assert lines[:3] == ["machine=false", "model=true", "release=true"]
    assert len(found.text.splitlines()) == 4


@pytest.mark.parametrize("base", ["0" * 40, "f" * 40, "nowhere"])
def test_base_that_is_not_known_spares_nothing(two: Learning, base: str) -> None:
    assert answers(two.plan(base)) == (False, True, False)


def test_main_out_of_reach_is_as_it_was_seen_last(two: Learning) -> None:
    two.git("fetch", "-q", "origin")
    shutil.rmtree(two.remote)
    assert not two.plan().release
    two.git("update-ref", "-d", "refs/remotes/origin/main")
    two.git("checkout", "-q", "--detach")
    two.git("branch", "-q", "-D", "main")
    assert two.plan().release


def test_clone_of_part_of_the_history_says_what_to_fetch(two: Learning, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{two.remote}", str(tmp_path / "part")], check=True)
    with pytest.raises(GitError, match="fetch-depth: 0"):
        Learning(tmp_path / "part", two.remote).plan()


def test_plan_starts_without_what_trains() -> None:
    heavy = "{'model', 'pandas', 'sklearn', 'dvc', 'onnxruntime', 'mlflow', 'numpy'}"
    code = f"import sys, pipeline.delivery.plan, pipeline.delivery.checks; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def flightline(made: Learning, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a workflow runs it."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200"}
    command = [sys.executable, "-P", "-c", "from pipeline.cli import main; main()", *words]
    return subprocess.run(command, cwd=made.root, env=environment, capture_output=True, text=True, check=False)


def test_verbs_of_a_workflow(two: Learning, tmp_path: Path) -> None:
    two.edit(0.5)
    planned = flightline(two, "plan", "--base", "HEAD~1", "--output", str(tmp_path / "plan"))
    assert planned.returncode == 0, planned.stderr
    assert "release=true" in (tmp_path / "plan").read_text().splitlines()
    assert planned.stdout.splitlines()[1].startswith("model    yes  estimator in params.yaml")
    two.repro(3.0)
    locked = flightline(two, "commit-lock", "--push", "--json", "--output", str(tmp_path / "lock"))
    assert locked.returncode == 0, locked.stderr
    found = json.loads(locked.stdout)
    assert (found["outcome"], found["branch"], found["pull_request"]) == ("pushed", "main", None)
    lines = (tmp_path / "lock").read_text().splitlines()
    assert lines == ["outcome=pushed", f"commit={found['commit']}", "branch=main", "pull_request=", "go=false"]
    two.git("checkout", "-q", "--", "dvc.lock")
    two.pull()
    assert flightline(two, "commit-lock", "--push", "--output", str(tmp_path / "again")).returncode == 0
    assert "go=true" in (tmp_path / "again").read_text().splitlines()


# The lock


def test_lock_is_a_commit_of_its_own_once(two: Learning) -> None:
    source = two.edit(0.5)
    (two.root / "notes.txt").write_text("half done\n")
    two.repro(3.0)
    first, again = two.commit_lock(), two.commit_lock()
    assert (first.outcome, again.outcome, again.exit_code) == ("pushed", "nothing", 0)
    assert two.git("diff", "--name-only", source, str(first.commit)) == "dvc.lock"
    assert two.git("show", "-s", "--format=%(trailers:key=Source,valueonly)", str(first.commit)) == source
    assert two.git("show", f"{first.commit}:dvc.lock") == (two.root / "dvc.lock").read_text().strip()


def test_lock_that_answers_already_is_not_committed(two: Learning) -> None:
    before = two.repository.fetch()
    document = yaml.safe_load((two.root / "dvc.lock").read_text())
    (two.root / "dvc.lock").write_text("# reformatted\n" + yaml.safe_dump(document, indent=4))
    assert two.commit_lock().outcome == "nothing"
    assert two.repository.fetch() == before


def test_lock_made_of_work_in_progress_is_refused(two: Learning) -> None:
    (two.root / "model/features.py").write_text("half done\n")
    two.repro(3.0)
    found = two.commit_lock()
    assert (found.outcome, found.exit_code) == ("refused", 1)
    assert "model" in found.reason


def test_lock_of_a_branch_is_refused(two: Learning) -> None:
    two.git("checkout", "-q", "-b", "feature")
    two.git("commit", "-q", "--allow-empty", "-m", "feature")
    two.repro(3.0)
    with pytest.raises(DeliveryError, match="not on main"):
        two.commit_lock()


def test_lock_goes_on_top_of_what_was_merged_meanwhile_where_it_still_answers(two: Learning, tmp_path: Path) -> None:
    two.edit(0.5)
    two.clone(tmp_path / "other").commit("docs", {"docs/notes.md": "more\n"})
    two.repro(3.0)
    found = two.commit_lock()
    assert found.outcome == "pushed"
    assert two.subjects()[1] == "docs"
    assert "the run of that commit goes on" in found.reason


@pytest.mark.parametrize(
    "path", ["docs/notes.md", "k8s/overlays/staging/kustomization.yaml", "k8s/releases/production/held.yaml"]
)
def test_lock_on_top_of_what_this_run_never_checked_is_released_by_its_own_run(
    two: Learning, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checks are waited for: those of the merge's run stop nothing, as that finds the lock there already."""
    source = two.edit(0.5)
    other = two.clone(tmp_path / "other")
    text = (two.root / path).read_text() if (two.root / path).is_file() else ""
    other.commit("meanwhile", {path: f"{text}# more\n"})
    two.repro(3.0)
    other.repro(3.0)
    done = flightline(two, "commit-lock", "--push", "--output", str(tmp_path / "source"))
    assert "the run of that commit goes on" in done.stdout
    assert flightline(other, "commit-lock", "--push", "--output", str(tmp_path / "merge")).returncode == 0
    outputs = [(tmp_path / one).read_text().splitlines() for one in ("source", "merge")]
    assert [("commit=" in one, "go=false" in one) for one in outputs] == [(True, True)] * 2, "neither goes on"
    assert ["outcome=pushed" in one for one in outputs] == [True, False]
    two.git("checkout", "-q", "--", "dvc.lock")
    two.pull()
    assert two.plan().release
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("a run is waited for that leaves this commit alone"))
    with forges.played() as (forge, there, _):
        there.add_run(".github/workflows/deliver.yml", head_sha=source, status="in_progress", conclusion="")
        assert wanted(two.repository, forge, lambda: True, say)[0] == "all"
    assert flightline(two, "commit-lock", "--push", "--output", str(tmp_path / "lock")).returncode == 0
    assert "go=true" in (tmp_path / "lock").read_text().splitlines()


def test_lock_of_what_main_no_longer_is_gives_way_to_the_newer_run(two: Learning, tmp_path: Path) -> None:
    two.edit(0.5)
    newer = two.clone(tmp_path / "other").edit(0.25)
    two.repro(3.0)
    found = two.commit_lock()
    assert (found.outcome, found.exit_code) == ("nothing", 0)
    assert "the run of the newer commit commits its own" in found.reason
    assert two.repository.fetch() == newer


def test_first_lock_of_the_same_files_stays(two: Learning, tmp_path: Path) -> None:
    """Two machines trained the same to other bytes: the second must not undo what the first may have released."""
    two.edit(0.5)
    other = two.clone(tmp_path / "other")
    other.repro(3.5)
    assert other.commit_lock().outcome == "pushed"
    two.repro(3.0)
    found = two.commit_lock()
    assert (found.outcome, "another dvc.lock for the same files" in found.reason) == ("nothing", True)


def test_lock_is_prepared_on_a_branch_for_a_pull_request(two: Learning) -> None:
    main = two.edit(0.5)
    two.repro(3.0)
    first = two.commit_lock(How())
    assert (first.outcome, first.branch) == ("prepared", "dvc-lock")
    assert two.repository.fetch() == main
    assert two.commit_lock(How()).commit == first.commit
    two.repro(3.5)
    assert two.commit_lock(How()).commit not in {first.commit, None}
    assert two.repository.tip("dvc-lock") != first.commit


@pytest.mark.parametrize(
    ("variable", "started"), [("FLIGHTLINE_TOKEN", []), ("GITHUB_TOKEN", ["pr.yml", "gate.yml", "report.yml"])]
)
def test_lock_s_pull_request_is_one_and_its_checks_start(
    two: Learning, variable: str, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLIGHTLINE_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    two.edit(0.5)
    two.repro(3.0)
    with forges.serving() as (address, forge):
        for name, value in (("GITHUB_API_URL", address), ("GITHUB_REPOSITORY", forges.REPOSITORY), (variable, "x")):
            monkeypatch.setenv(name, value)
        found = [flightline(two, "commit-lock", "--pull-request", "--json") for _ in range(2)]
    assert [one.returncode for one in found] == [0, 0], found[0].stderr
    first, again = (json.loads(one.stdout) for one in found)
    (pull,) = forge.pulls
    assert first["pull_request"] == again["pull_request"] == pull["html_url"]
    assert (pull["head"]["ref"], pull["title"][:12]) == ("dvc-lock", "lock: bundle")
    assert [one["workflow"] for one in forge.dispatched] == started


def test_branch_with_somebody_s_work_is_not_replaced_by_a_lock(two: Learning) -> None:
    theirs = two.repository.commit(two.edit(0.5), {"README.md": b"theirs\n"}, "work\n\nBundle: x\n")
    assert two.repository.push(theirs, "dvc-lock") is None
    two.repro(3.0)
    with pytest.raises(DeliveryError, match=r"did not prepare for dvc\.lock"):
        two.commit_lock(How())


# Pushes that race


def test_of_two_merges_within_a_second_the_newer_one_s_run_goes_on(two: Learning, tmp_path: Path) -> None:
    two.edit(0.5)
    other = two.clone(tmp_path / "other")
    other.edit(0.25)
    older, newer = two.plan(), other.plan()
    assert (older.release, newer.release) == (False, True)
    assert "its own run goes on" in older.reason


def test_run_goes_on_where_the_newer_merge_brings_nothing(two: Learning, tmp_path: Path) -> None:
    """The newer run alone would do, but nobody waits for it twice: the release is one all the same."""
    two.edit(0.5)
    two.clone(tmp_path / "other").commit("docs", {"docs/notes.md": "more\n"})
    assert two.plan().release


def test_locks_of_two_merges_at_once_end_with_the_newer(two: Learning, tmp_path: Path) -> None:
    two.edit(0.5)
    two.repro(3.0)
    other = two.clone(tmp_path / "other")
    newest = other.edit(0.25)
    other.repro(3.5)
    running = [(one, start_lock(one)) for one in (two, other)]
    found = [said(one, process).outcome for one, process in running]
    assert found == ["nothing", "pushed"]
    tip = two.repository.fetch()
    assert two.git("rev-parse", f"{tip}^") == newest
    assert two.git("show", f"{tip}:dvc.lock") == (other.root / "dvc.lock").read_text().strip()


def test_one_lock_by_two_runs_at_once_is_one_commit(two: Learning, tmp_path: Path) -> None:
    two.edit(0.5)
    other = two.clone(tmp_path / "other")
    two.repro(3.0)
    other.repro(3.0)
    running = [(one, start_lock(one)) for one in (two, other)]
    assert {said(one, process).outcome for one, process in running} <= {"pushed", "nothing"}
    assert sum(subject.startswith("lock:") for subject in two.subjects()) == 1


def merging(folder_: Path, made: Learning) -> Path:
    """A `git` that, before the first push that it sees, has somebody else merge."""
    folder_.mkdir()
    theirs = folder_ / "theirs"
    subprocess.run(["git", "clone", "-q", str(made.remote), str(theirs)], check=True)
    deliveries.configure(theirs)
    real = shutil.which("git")
    (folder_ / "git").write_text(
        f"""#!/bin/sh
if [ "$1" = push ] && mkdir {folder_}/once 2>/dev/null; then
  (cd {theirs} && {real} pull -q && echo more > README.md && {real} add -A && {real} commit -qm "merged meanwhile" \\
    && {real} push -q origin HEAD:main)
fi
exec {real} "$@"
"""
    )
    (folder_ / "git").chmod(0o755)
    return folder_


def test_merge_while_a_release_is_being_written_is_under_it(two: Learning, tmp_path: Path) -> None:
    two.train(3.0)
    shims = merging(tmp_path / "shims", two)
    process = start_release(two, two.image(), PATH=f"{shims}{os.pathsep}{os.environ['PATH']}")
    assert outcome_of(two, process) == "pushed"
    assert two.subjects()[1] == "merged meanwhile"
    two.pull()
    assert not two.plan().release
    assert check_change(two.context, "HEAD~1", "HEAD") == ()


def test_merge_while_a_lock_is_being_written_is_under_it(
    two: Learning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.edit(0.5)
    two.repro(3.0)
    monkeypatch.setenv("PATH", f"{merging(tmp_path / 'shims', two)}{os.pathsep}{os.environ['PATH']}")
    assert two.commit_lock().outcome == "pushed"
    assert two.subjects()[:2] == [two.subjects()[0], "merged meanwhile"]


# The freeze


def test_freeze_stops_release_and_promotion_and_nothing_else(two: Learning) -> None:
    two.commit("freeze", {FREEZE: "- reason: end of the year\n"})
    two.train(3.0)
    assert "end of the year" in two.plan().reason
    for found in (two.release(), two.promote()):
        assert (found.outcome, found.exit_code) == ("refused", 1)
        assert "end of the year" in found.reason
    assert rollback(two.context, "staging", identities(two)[0][:12], "slow", PUSH, say).outcome == "pushed"
    newest = identities(two)[-1]
    assert hold(two.context, "production", newest[:12], "slow", PUSH, say).outcome == "pushed"
    assert unhold(two.context, "production", newest[:12], "quick", PUSH, say).outcome == "pushed"


def test_freeze_holds_where_and_as_long_as_it_says(two: Learning) -> None:
    two.commit(
        "freeze", {FREEZE: "- {environments: [production], reason: audit}\n- {reason: past, until: 2020-01-01}\n"}
    )
    two.train(3.0)
    assert two.plan().release
    assert two.release().outcome == "pushed"
    assert "audit" in two.promote().reason
    two.pull()
    two.git("rm", "-q", FREEZE)
    two.commit("thaw")
    assert two.promote().outcome == "prepared"


def test_freeze_on_main_counts_whatever_the_checkout_says(two: Learning, tmp_path: Path) -> None:
    two.train(3.0)
    two.clone(tmp_path / "other").commit("freeze", {FREEZE: "- reason: right now\n"})
    assert "right now" in two.release().reason


def test_release_merged_by_hand_during_a_freeze_is_refused(two: Learning) -> None:
    found = two.promote()
    base = two.commit("freeze", {FREEZE: "- reason: end of the year\n"})
    assert "end of the year" in check_change(two.context, base, str(found.commit))[0].problem


def test_freeze_that_cannot_be_read_stops_releases_and_says_why(two: Learning) -> None:
    two.commit("freeze", {FREEZE: "- {reason: audit, environments: [prod]}\n"})
    two.train(3.0)
    with pytest.raises(DeliveryError, match="'prod' is no environment"):
        two.release()


def test_freeze_is_a_note_of_the_status(two: Learning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two.commit("freeze", {FREEZE: "- reason: end of the year\n"})
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found = look(two.context, ("staging", "production"))
    assert [note for note in found.notes if "frozen" in note] == [
        "staging is frozen by k8s/freeze.yaml: end of the year",
        "production is frozen by k8s/freeze.yaml: end of the year",
    ]


def test_validate_says_what_is_wrong_with_a_freeze(two: Learning) -> None:
    assert check_releases(two.context) == ()
    (two.root / FREEZE).write_text("- {reason: x, until: tomorrow}\n")
    (found,) = check_releases(two.context)
    assert found.path == FREEZE
    for word in ("0.until", "'tomorrow'", "2026-12-31"):
        assert word in found.problem


def test_held_line_is_the_only_file_a_hold_changes(two: Learning) -> None:
    before = two.repository.fetch()
    held(two)
    assert Repository.of(two.context).changed(before, two.repository.fetch()) == [f"{STAGING}/{HELD}"]
