"""From a run to one comment and its statuses: a real repository, and a forge that answers as real ones do."""

import datetime
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import production, reports
from pipeline.delivery.git import Repository
from pipeline.delivery.hold import hold, unhold
from pipeline.delivery.models import Hold, write_holds, write_release
from pipeline.delivery.proofs import Proofs
from pipeline.forge import Forge
from pipeline.review import comment, post
from pipeline.review.models import Evidence
from pipeline.verdict import Decision, Verdict
from tests import deliveries, forges, pushes, verdicts
from tests.deliveries import Fork, say
from tests.forges import Fault, Played
from tests.unit.pipeline.delivery.releases import release
from tests.unit.pipeline.review import reviews

STAGES = """\
stages:
  bundle:
    cmd: make it
    deps: [model]
    params: [data]
    outs: [build/bundle]
"""
PARAMS = "data: {end: '2013-03-31'}\ngates:\n  overrides: []\n"
PRODUCTION = verdicts.PRODUCTION.version


@dataclass
class World:
    """A fork of the template on a forge, and what runs of pull requests hand over."""

    fork: Fork
    forge: Forge
    played: Played
    handed: Path

    def branch(self, name: str, files: dict[str, str]) -> str:
        """A commit on a branch from main, pushed."""
        self.fork.git("checkout", "-q", "-B", name, "origin/main")
        for path, text in files.items():
            (self.fork.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.fork.root / path).write_text(text)
        self.fork.git("add", "-A")
        self.fork.git("commit", "-q", "-m", f"change of {name}")
        self.fork.git("push", "-q", "--force", "origin", f"HEAD:refs/heads/{name}")
        sha = self.fork.git("rev-parse", "HEAD")
        self.fork.git("checkout", "-q", "main")
        return sha

    def pull(self, sha: str, **given: object) -> int:
        """An open pull request whose head is there, as a forge keeps it."""
        number = int(self.played.add_pull("change", sha=sha, **given)["number"])
        self.keep(number, sha)
        return number

    def keep(self, number: int, sha: str) -> None:
        ref = f"refs/pull/{number}/head"
        self.fork.git("push", "-q", "--force", "origin", f"{sha}:{ref}")

    def hand_over(self, sha: str, judged: Verdict | None = None, **changes: object) -> None:
        """What the run of a commit leaves."""
        base = self.fork.git("rev-parse", "main")
        said: Evidence = reviews.evidence(judged, **{"head": sha, "base": base, **changes})
        names = ["benchmark-outcome", "load-latency", "not-of-this-verdict"] if judged else []
        reviews.hand_over(self.handed, said, judged, names)

    def run(self, sha: str, **ended: str) -> int:
        """A run of that commit that succeeded, or ended otherwise."""
        said = {"event": "pull_request", "head_sha": sha, "head_branch": "", **ended}
        return int(self.played.add_run("gate.yml", **said)["id"])

    def ended(self, run: int, clone: Path | None = None) -> post.Posted:
        """The report of a run."""
        context = self.fork.context if clone is None else Fork(clone, self.fork.remote).context
        return post.post(context, self.forge, run, self.handed, say, Proofs(context.root, deliveries.expect))

    def post(self, sha: str, clone: Path | None = None, **ended: str) -> post.Posted:
        """The report of a run of that commit."""
        return self.ended(self.run(sha, **ended), clone)

    @property
    def comments(self) -> list[str]:
        return [one["body"] for every in self.played.comments.values() for one in every]

    def states(self, sha: str) -> dict[str, str]:
        """The newest state of each context."""
        return {one["context"]: one["state"] for one in self.played.statuses if one["sha"] == sha}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    fork = deliveries.fork(tmp_path)
    fork.commit("the model", {"dvc.yaml": STAGES, "params.yaml": PARAMS, "model/a.py": "", "README.md": "hello\n"})
    released = release("a").model_copy(update={"version": PRODUCTION, "environment": "production"})
    fork.commit("released", {"k8s/releases/production/release.yaml": write_release(released).decode()})
    with forges.played() as (forge, played, _):
        yield World(fork, forge, played, tmp_path / "evidence")


def model_change(world: World) -> tuple[str, int]:
    sha = world.branch("change", {"params.yaml": PARAMS.replace("03-31", "05-31")})
    return sha, world.pull(sha)


def test_constant_is_the_one_of_production() -> None:
    assert post.PRODUCTION == production.PRODUCTION


def test_one_comment_pictures_and_a_status_per_gate(world: World) -> None:
    sha, number = model_change(world)
    world.hand_over(sha, reviews.verdict())
    found = world.post(sha)
    assert (found.pull, found.state) == (number, "success")
    (body,) = world.comments
    assert "## ✅ Pass: fit to replace production" in body
    assert "data.end" in body
    assert world.states(sha) == dict.fromkeys(
        [f"flightline/{name}" for name in ("data", "benchmark", "differential", "load", "gates")], "success"
    )
    assert {one["target_url"] for one in world.played.statuses} == {found.comment}
    shown = re.findall(r'<img src="([^"]*)"', body)
    assert len(shown) == 2
    for address in shown:
        path = address.partition(f"/raw/branch/{reports.BRANCH}/")[2]
        assert (reports.read(world.fork.repository, path) or b"").startswith(b"\x89PNG")
        assert path.startswith(f"pulls/{number}/{sha[:12]}-")
    tip = world.fork.repository.tip(reports.BRANCH)
    assert len(world.fork.repository.files(str(tip), f"pulls/{number}")) == len(shown)


def test_next_run_updates_the_same_comment_and_replaces_its_pictures(world: World) -> None:
    sha, number = model_change(world)
    world.hand_over(sha, reviews.verdict())
    world.post(sha)
    newer = world.branch("change", {"params.yaml": PARAMS.replace("03-31", "06-28")})
    world.played.pulls[0]["head"]["sha"] = newer
    world.keep(number, newer)
    world.hand_over(newer, reviews.harmed())
    assert world.post(newer).state == "failure"
    (body,) = world.comments
    assert "❌ Fail" in body
    tip = world.fork.repository.tip(reports.BRANCH)
    listed = world.fork.repository.text("ls-tree", "-r", "--name-only", str(tip), "--", "pulls/")
    assert {path.split("/")[2].partition("-")[0] for path in listed.splitlines()} == {newer[:12]}


def test_run_of_an_older_commit_writes_nothing_over_a_newer_report(world: World) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    world.played.pulls[0]["head"]["sha"] = "9" * 40
    found = world.post(sha)
    assert found.state == "nothing"
    assert "no open pull request is at" in found.reason
    assert (world.comments, world.played.statuses) == ([], [])


def test_pull_request_that_moves_on_meanwhile_gets_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    publish = reports.publish

    def slow(*arguments: object, **named: object) -> None:
        publish(*arguments, **named)  # type: ignore[arg-type]
        world.played.pulls[0]["head"]["sha"] = "9" * 40

    monkeypatch.setattr(reports, "publish", slow)
    assert "moved on to 999999999999" in world.post(sha).reason
    assert (world.comments, world.played.statuses) == ([], [])


def test_comment_of_somebody_else_with_our_marker_is_left_alone(world: World) -> None:
    sha, number = model_change(world)
    world.played.add_comment(number, f"{comment.MARKER}\n## ✅ Approved", "mallory")
    world.hand_over(sha, reviews.verdict())
    world.post(sha)
    assert [one["user"]["login"] for one in world.played.comments[number]] == ["mallory", "robot"]
    assert world.comments[0] == f"{comment.MARKER}\n## ✅ Approved"


def test_missing_artifact_is_an_error_with_what_to_do(world: World) -> None:
    sha, _ = model_change(world)
    assert world.post(sha).state == "error"
    assert set(world.states(sha).values()) == {"error"}
    assert "there is no artifact" in world.comments[0]
    assert "run it again" in world.comments[0]


def test_fork_that_forges_its_commit_is_found_out(world: World) -> None:
    sha = world.branch("theirs", {"params.yaml": PARAMS.replace("03-31", "05-31")})
    world.pull(sha, repository="mallory/model")
    world.hand_over("f" * 40, reviews.verdict())
    assert world.post(sha).state == "error"
    assert "From the fork mallory/model" in world.comments[0]


def test_fork_that_says_unchanged_of_a_model_change_is_found_out(world: World) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, outcome="unchanged", model=False)
    assert world.post(sha).state == "error"
    assert world.states(sha)["flightline/gates"] == "error"


def test_words_alone_are_nothing_to_judge(world: World) -> None:
    sha = world.branch("words", {"README.md": "hello again\n"})
    world.pull(sha)
    world.hand_over(sha, outcome="unchanged", model=False, provenance=None)
    assert world.post(sha).state == "success"
    assert world.states(sha) == {"flightline/gates": "success"}


def test_verdict_against_another_production_than_main_s_is_not_believed(world: World) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.first_release())
    assert world.post(sha).state == "error"
    assert "but main's production is b07d55e1902c" in world.comments[0]


def test_promotion_that_a_machine_prepared_needs_no_artifact(tmp_path: Path) -> None:
    fork = deliveries.fork(tmp_path)
    fork.released(0.1)
    prepared = fork.promote()
    assert prepared.commit is not None
    with forges.played() as (forge, played, _):
        world = World(fork, forge, played, tmp_path / "evidence")
        world.pull(prepared.commit)
        assert world.post(prepared.commit).state == "success"
        assert world.states(prepared.commit) == {"flightline/gates": "success"}
        assert "Releases and holds alone: no model to judge anew" in world.comments[0]
        assert "production gets bundle" in world.comments[0]


def test_hold_that_a_machine_wrote_says_so(world: World) -> None:
    line = Hold(identity="a" * 64, version="b" * 64, reason="says @everyone", date=datetime.date(2013, 6, 1))
    sha = world.branch("hold", {"k8s/releases/staging/held.yaml": write_holds((line,)).decode()})
    world.pull(sha)
    assert world.post(sha).state == "success"
    assert "staging holds identity aaaaaaaaaaaa (bundle bbbbbbbbbbbb), which is refused there" in world.comments[0]
    assert "⚠️" not in world.comments[0]


def test_permission_is_no_hold_and_is_pointed_at(tmp_path: Path) -> None:
    fork = deliveries.fork(tmp_path)
    first = fork.released(0.1).identity
    fork.released(0.2)
    held = hold(fork.context, "staging", str(first)[:12], "slow", deliveries.PUSH, say)
    fork.pull()
    prepared = unhold(fork.context, "staging", str(first)[:12], "quick", deliveries.BRANCH, say)
    assert held.outcome == "pushed"
    with forges.played() as (forge, played, _):
        world = World(fork, forge, played, tmp_path / "evidence")
        world.pull(str(prepared.commit))
        assert world.post(str(prepared.commit)).state == "success"
        top = world.comments[0].partition("<details>")[0]
    assert f"staging lets identity {str(first)[:12]}" in top
    assert "which may be released there again: quick" in top
    assert "which is refused there" not in top
    assert "⚠️ staging lets" in top


# A lock


@dataclass
class Locked:
    """A fork that trained twice, and a commit that changes nothing but dvc.lock: it names the first bundle again."""

    world: World
    sha: str

    def judged(self, judged: Verdict) -> None:
        self.world.hand_over(self.sha, judged, base=self.world.fork.git("rev-parse", "main"))


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Locked]:
    fork = pushes.fork(tmp_path)
    first = (fork.root / "dvc.lock").read_text()
    fork.train(2.0)
    with forges.played() as (forge, played, _):
        world = World(fork, forge, played, tmp_path / "evidence")
        yield Locked(world, world.branch("dvc-lock", {"dvc.lock": first}))


def refusing() -> Verdict:
    """A first release that does not pass."""
    given = reviews.first_release()
    fails = {"decision": Decision.FAIL, "reason": "no better than the baseline"}
    gates = tuple(one.model_copy(update=fails) if one.gate == "benchmark" else one for one in given.gates)
    return given.model_copy(update={"gates": gates, **fails})


def test_lock_of_a_fork_with_a_verdict_that_fails_is_no_success(locked: Locked) -> None:
    world = locked.world
    world.fork.git("push", "-q", "origin", ":refs/heads/dvc-lock")
    world.pull(locked.sha, repository="mallory/model")
    locked.judged(refusing())
    assert world.post(locked.sha).state == "failure"
    assert world.states(locked.sha)["flightline/gates"] == "failure"
    assert "From the fork mallory/model" in world.comments[0]


@pytest.mark.parametrize("repository", ["mallory/model", ""])
def test_lock_without_a_verdict_is_no_success_whoever_wrote_it(locked: Locked, repository: str) -> None:
    world = locked.world
    world.pull(locked.sha, **({"repository": repository} if repository else {}))
    world.hand_over(locked.sha, outcome="unchanged", machine=True, model=False, provenance=None)
    assert world.post(locked.sha).state == "error"
    assert "'unchanged', but the branch changes what the model is made of" in world.comments[0]


def test_lock_of_the_bot_s_branch_is_merged_once_its_gates_pass(locked: Locked) -> None:
    locked.world.pull(locked.sha)
    locked.judged(reviews.first_release())
    assert locked.world.post(locked.sha).state == "success"
    assert locked.world.states(locked.sha)["flightline/benchmark"] == "success"


def test_lock_that_claims_that_other_files_make_the_same_bundle_is_judged(locked: Locked) -> None:
    world, text = locked.world, (locked.world.fork.root / "dvc.lock").read_text()
    world.fork.commit("other code", {"model/features.py": "names = ['day']\n"})
    made = re.sub(
        r"(path: model\n +hash: md5\n +md5: )\S+", rf"\g<1>{pushes.dvc_hash(world.fork.root / 'model')}", text
    )
    assert made != text
    sha = world.branch("claim", {"dvc.lock": made})
    world.pull(sha)
    world.hand_over(sha, outcome="unchanged", model=False, provenance=None)
    assert world.post(sha).state == "error"


# How the run ended


@pytest.mark.parametrize("conclusion", ["timed_out", "cancelled", "startup_failure"])
def test_run_that_came_to_no_end_takes_an_earlier_success_back(world: World, conclusion: str) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    assert world.post(sha).state == "success"
    assert world.post(sha, conclusion=conclusion).state == "error"
    assert set(world.states(sha).values()) == {"error"}
    assert f"ended as '{conclusion}'" in world.comments[0]


def test_run_that_failed_before_it_handed_anything_over_shows_no_earlier_attempt_s(world: World) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    assert world.post(sha, conclusion="failure").state == "error"
    assert "an earlier attempt's" in world.comments[0]
    world.hand_over(sha, reviews.harmed())
    assert world.post(sha, conclusion="failure").state == "failure"


def test_run_that_was_cancelled_for_a_newer_one_writes_nothing(world: World) -> None:
    sha, _ = model_change(world)
    older, newer = world.run(sha, conclusion="cancelled"), world.run(sha)
    world.hand_over(sha, reviews.verdict())
    assert world.ended(newer).state == "success"
    assert world.ended(older).state == "nothing"
    assert world.states(sha)["flightline/gates"] == "success"


def test_run_that_was_started_again_is_reported_at_its_own_end(world: World) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    assert "started again" in world.post(sha, status="in_progress", conclusion="").reason
    assert world.played.statuses == []


def test_promotion_that_somebody_edited_fails(tmp_path: Path) -> None:
    fork = deliveries.fork(tmp_path)
    fork.released(0.1)
    prepared = fork.promote()
    assert prepared.commit is not None
    fork.git("checkout", "-q", "--detach", prepared.commit)
    path = fork.root / "k8s/releases/production/manifests.yaml"
    path.write_text(path.read_text() + "---\nkind: Secret\n")
    fork.git("commit", "-q", "-a", "--amend", "--no-edit")
    sha = fork.git("rev-parse", "HEAD")
    with forges.played() as (forge, played, _):
        world = World(fork, forge, played, tmp_path / "evidence")
        world.pull(sha)
        world.hand_over(sha, outcome="unchanged", machine=True, model=False, provenance=None)
        assert world.post(sha).state == "failure"
        assert "manifests.yaml is not what" in world.comments[0]


def test_release_written_by_hand_fails_whatever_the_run_says(world: World) -> None:
    text = write_release(release("c").model_copy(update={"environment": "staging"})).decode()
    sha = world.branch("sly", {"k8s/releases/staging/release.yaml": text, "params.yaml": PARAMS + "x: 1\n"})
    world.pull(sha)
    world.hand_over(sha, reviews.verdict(), machine=True)
    assert world.post(sha).state == "failure"
    assert "Not allowed: releases are written by machines" in world.comments[0]
    assert world.states(sha)["flightline/gates"] == "failure"
    assert "flightline/benchmark" in world.states(sha)


def test_remote_without_a_reports_branch_to_push_to_costs_only_the_pictures(world: World) -> None:
    hook = world.fork.remote / "hooks/pre-receive"
    sha, _ = model_change(world)
    hook.write_text("#!/bin/sh\ngrep -q refs/heads/reports && exit 1\nexit 0\n")
    hook.chmod(0o755)
    world.hand_over(sha, reviews.verdict())
    assert world.post(sha).state == "success"
    assert "<img" not in world.comments[0]
    assert "| mean loss |" in world.comments[0]


def test_forge_that_stumbles_gets_one_comment_all_the_same(world: World) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    world.played.faults = [Fault(502, "POST", carried_out=True), Fault(500, "GET"), Fault(429, "GET")]
    assert world.post(sha).state == "success"
    assert len(world.comments) == 1


def test_commits_of_a_fork_are_data_that_nothing_checks_out(world: World, tmp_path: Path) -> None:
    sha, _ = model_change(world)
    world.hand_over(sha, reviews.verdict())
    fresh = tmp_path / "fresh"
    words = ["git", "clone", "-q", "--no-local", "--single-branch", str(world.fork.remote), str(fresh)]
    subprocess.run(words, check=True)
    deliveries.configure(fresh)
    assert not Repository(fresh, "main", "x").knows(sha)
    assert world.post(sha, fresh).state == "success"
    assert "05-31" not in (fresh / "params.yaml").read_text()


@pytest.mark.parametrize(
    "text",
    ["{", "- 1\n", "gates: 5\n", "gates: {overrides: [1]}\n", "a: &a [*a, *a]\n", f"a: {'[' * 50_000}{']' * 50_000}\n"],
)
def test_params_that_cannot_be_read_stop_no_report(world: World, text: str) -> None:
    sha = world.branch("broken", {"params.yaml": text})
    world.pull(sha)
    world.hand_over(sha, outcome="not reproduced", reason="params.yaml: not YAML", provenance=None)
    assert world.post(sha).state == "failure"
    assert "Not reproduced" in world.comments[0]
