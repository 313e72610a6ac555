"""A push drives everything: the project's own workflows, run on a real forge. The story first, then what goes wrong."""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local import control, demo, forge, gitea, job, members, rollouts, store
from infra.local.accounts import portable
from infra.local.components import ClusterError, Kubectl
from infra.local.gitea import NAME, OWNER, Folders
from infra.local.hand import API, Hand
from infra.local.members import BOT, CLUSTER, Credentials
from infra.local.telling import SHORT, SLOW, UNCHANGED_REPORT, Demo
from infra.local.watch import healthy
from pipeline.delivery.freeze import FREEZE
from pipeline.forge import Client, Forge, Pull, Run
from tests.e2e import strangers
from tests.e2e.edits import comment, frozen, note, regularised, request, scores, until
from tests.e2e.faulty import before_the_forge
from tests.e2e.figures import held_to_their_limits
from tests.e2e.strangers import Meddling, counted
from tests.e2e.world import FLIGHTLINE
from tests.forges import Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

NOWHERE = "0" * 64
# More scores than anybody sends: the analysis stays undecided, and the canary where it is.
NEVER = "1000000000"
# What a shell would do something with; git takes it as the name of a branch.
BRANCH = "odd;touch${IFS}$TMPDIR/pwned;$(touch${IFS}$TMPDIR/pwned)`touch${IFS}$TMPDIR/pwned`'\"&|<x>"
TITLE = "Odd\"; touch $TMPDIR/pwned; $(touch $TMPDIR/pwned) `touch $TMPDIR/pwned` ${{ github.token }} '%0A::error::x"
BODY = "$(touch $TMPDIR/pwned)\n::set-output name=release::true\n<img src=x onerror=alert(1)>\n@everyone"


# The story.


def test_01_first_release_is_what_main_was(story: Demo) -> None:
    demo.first_release(story)


def test_02_one_parameter_reaches_production(story: Demo) -> None:
    demo.better_model(story)
    assert not [one for one in story.reviewer.forge.pulls() if "promote" in one.head_branch]
    closed = story.reviewer.forge.pulls("closed")
    change = next(one for one in closed if one.head_branch == "more-data")
    delivery = story.settled("deliver.yml", merged(story, change))
    assert all_passed(story, delivery) == {"train", "lock", "build", "release"}, "its checks passed as a pull request"
    promoted = next(one for one in closed if one.head_branch.startswith("promote/"))
    assert "/plots/" in promoted.body, "it brings the gates' report, which the delivery published"


def test_03_change_that_the_model_does_not_depend_on_is_reported_at_once_and_releases_nothing(story: Demo) -> None:
    with story.timeline.chapter("a note"):
        released = story.reviewer.released("staging")
        pull = story.propose("note", "A note", note("one"))
        report = story.reported(pull, UNCHANGED_REPORT, "push -> report, the model unchanged")
        assert "Nothing to judge" in report.body
        assert all_passed(story, story.settled("pr.yml", pull.head_sha)) == {"plan", "checks", "gate-summary"}
        only_the_database_is_missing(story, story.settled("security.yml", pull.head_sha))
        story.merge(pull)
        run = story.settled("deliver.yml", story.reviewer.head())
        assert all_passed(story, run) == {"train"}, "there was nothing to deliver"
        assert story.reviewer.released("staging") == released


def test_04_bad_release_is_gone_back_from_and_its_change_is_taken_back(story: Demo) -> None:
    """The revert is of the release: what main would release next still has the bad code, until that is taken back."""
    demo.fooled_gates(story)
    with story.timeline.chapter("the change is taken back"):
        change = next(one for one in story.reviewer.forge.pulls("closed") if one.head_branch == "humidity")
        taken_back(story, change, story.reviewer.file("dvc.lock"))


def test_05_commits_of_machines_release_nothing(story: Demo) -> None:
    """What a release or a promotion writes starts no run; a lock or a revert does, which finds nothing to release."""
    history = identities(story, "staging")
    assert len(history) == 4, history  # the first, the better, the bad one, and the better one again
    assert history[3] == history[1]
    commits = machines(story)
    starting = {one for one, changed in commits.items() if changed & {"dvc.lock", "k8s/releases/staging/held.yaml"}}
    assert starting
    ends = {story.settled("deliver.yml", one, SHORT).conclusion for one in starting}
    assert ends == {"success"}, ends
    pushes = [one for one in story.reviewer.forge.runs(event="push") if one.workflow == "deliver.yml"]
    assert {one.conclusion for one in pushes} == {"success"}, "every delivery came to its end"
    started = {one.head_sha for one in story.reviewer.forge.runs(event="push")}
    assert commits.keys() - starting
    assert not started & (commits.keys() - starting)


def test_06_every_figure_is_within_its_limit(story: Demo, pytestconfig: pytest.Config) -> None:
    held_to_their_limits(story.timeline, pytestconfig)


# Two at once.


@pytest.mark.nightly
def test_07_two_pull_requests_merged_within_a_second(story: Demo) -> None:
    with story.timeline.chapter("two merges within a second"):
        before = str(story.reviewer.released("staging")["identity"])
        changes = {"Ask for 150m": request("150m"), "Wait for more scores": scores("510")}
        pulls = [story.propose(f"two-{at}", title, edit) for at, (title, edit) in enumerate(changes.items())]
        for pull in pulls:
            ready(story, pull)
        start = time.time()
        with ThreadPoolExecutor(len(pulls)) as pressing:
            times = [*pressing.map(lambda pull: story.merge(pull, SHORT), pulls)]
        story.timeline.event(
            f"merged {max(times) - min(times):.1f} s after each other, {max(times) - start:.1f} s in all"
        )
        at_rest(story)
        released = story.reviewer.released("staging")
        manifests = story.reviewer.file("k8s/releases/staging/manifests.yaml")
        assert "cpu: 150m" in manifests
        assert "510" in manifests
        assert released["identity"] != before
        assert released["source"] in story.reviewer.commits(f"{story.reviewer.head()}~6")
        story.healthy("staging", str(released["identity"]))


@pytest.mark.nightly
def test_08_push_while_a_release_commit_is_written(story: Demo) -> None:
    with story.timeline.chapter("a push while a release commit is written"):
        before = str(story.reviewer.released("staging")["identity"])
        change = story.propose("meanwhile-change", "Ask for 170m", request("170m"))
        other = story.propose("meanwhile-note", "A note meanwhile", note("meanwhile"))
        for pull in (change, other):
            ready(story, pull)
        story.mark()
        story.merge(change, SHORT)
        story.until("the release is being written", lambda: reached(story, "deliver.yml", "release"), SLOW)
        story.merge(other, SHORT)
        identity = story.released("staging", before)
        at_rest(story)
        assert story.reviewer.released("staging")["identity"] == identity
        line = story.reviewer.commits(f"{story.reviewer.head()}~6")
        assert {merged(story, change), merged(story, other)} <= set(line)
        story.healthy("staging", identity)


# Strangers and strange words.


def test_09_fork_that_forges_its_verdict_and_plants_caches_gets_nothing(story: Demo, stranger: Hand) -> None:
    """Its run failed, so what passes in its artifact is none of that run's: main's code believes nothing of it."""
    with story.timeline.chapter("a fork that edits the workflow, a script, its verdict and the caches"):
        meddling = Meddling(Folders.of(story.state), f"PLANTED-{secrets.token_hex(8)}")
        kept, main = stored(story), story.reviewer.head()
        pull = strangers.propose(story, stranger, "good-intentions", meddling.clumsy)
        report = story.reported(pull)
        said = story.reviewer.said(story.reviewer.runs(story.seen, ("gate.yml",))[0])
        was_meddled_with(said)
        answers = re.findall(r"token answered (\d+)", said)
        # Gitea lets whoever reads a public repository comment, a job's token too; GitHub's may not.
        assert answers == ["403", "403", answers[2], "403"], "its token sets no status and starts nothing"
        assert gates(story, pull) == "error"
        assert "forged/gates" not in story.reviewer.statuses(pull.head_sha)
        assert "an earlier attempt" in report.body
        assert [one.author for one in story.reviewer.forge.comments(pull.number)] == [report.author]
        assert story.reviewer.merge(pull), "nobody who owns the code has approved it"
        assert stored(story) == kept, "what main restores from is as it was"
        assert story.reviewer.head() == main
        assert meddling.traces() == []
        story.reviewer.forge.update_pull(pull.number, state="closed")


@pytest.mark.nightly
def test_10_reviewer_who_is_fooled_has_main_judge_again(story: Demo, stranger: Hand) -> None:
    """The fork's run ends well with a forged verdict, and is merged: main has the inputs that were planted for."""
    with story.timeline.chapter("a forged verdict that a reviewer believes"):
        meddling = Meddling(Folders.of(story.state), f"PLANTED-{secrets.token_hex(8)}")
        released, lock = story.reviewer.released("staging"), story.reviewer.file("dvc.lock")
        pull = strangers.propose(story, stranger, "better-intentions", meddling.careful)
        report = story.reported(pull)
        assert gates(story, pull) == "success", "its own run says so, and nothing of main's contradicts"
        assert "From the fork" in report.body, "whose word it is, is said"
        assert "changes what its run was judged with" in report.body
        strangers.run_anew(story, pull)
        story.merge(pull)
        run = story.settled("deliver.yml", merged(story, pull))
        assert run.conclusion == "failure"
        assert failed(story, run) == {"build"}, "main's own gates say no"
        assert story.reviewer.released("staging") == released
        assert meddling.traces() == []
        taken_back(story, pull, lock)


def test_11_harmless_fork_gets_the_same_report(story: Demo, stranger: Hand) -> None:
    with story.timeline.chapter("a fork with a note"):
        pull = strangers.propose(story, stranger, "typo", note("from outside"))
        story.reported(pull)
        assert gates(story, pull) == "success"
        strangers.run_anew(story, pull)
        story.merge(pull)


def test_12_branch_and_message_full_of_metacharacters(story: Demo) -> None:
    with story.timeline.chapter("shell metacharacters"):
        pull = story.propose(BRANCH, TITLE, note("odd"), body=BODY)
        report = story.reported(pull)
        assert "onerror" not in report.body
        story.merge(pull)
        story.settled("deliver.yml", story.reviewer.head())
        assert not list(Folders.of(story.state).root.rglob("pwned"))


# What is forged.


def test_13_forged_events_of_a_release_under_way_do_nothing(story: Demo) -> None:
    """With the cluster's own token, which starts workflows; of the identity that rolls out, whose canary never ends."""
    with story.timeline.chapter("forged events while a canary runs"):
        before = str(story.reviewer.released("staging")["identity"])
        story.merge(story.propose("patient", "Wait for scores that never come", scores(NEVER)))
        identity = story.released("staging", before)
        story.takes_traffic("staging", identity)
        events = (("promote.yml", "completed", "staging"), ("reconcile.yml", "aborted", "staging"))
        said = forged(story, [(*one, identity) for one in events])
        assert said.count("and the cluster says otherwise") == len(events)
        assert under_way(story, "staging", identity)
        story.until("it waits for a person", lambda: story.inconclusive("staging"), SLOW)
        story.until("one issue says so", lambda: issues(story) == 1, SLOW)
        story.merge(story.propose("impatient", "Wait for fewer scores", scores("500")))
        story.healthy("staging", story.released("staging", identity))
        story.until("the issue is closed", lambda: issues(story) == 0, SLOW)


def test_14_forged_events_of_anything_else_do_nothing(story: Demo) -> None:
    """Of an identity that nobody knows, of one that is healthy, and of one that production has already."""
    staging, production = (str(story.reviewer.released(one)["identity"]) for one in ("staging", "production"))
    events = [
        ("promote.yml", "completed", "staging", NOWHERE),
        ("promote.yml", "completed", "production", production),
        ("reconcile.yml", "aborted", "staging", NOWHERE),
        ("reconcile.yml", "aborted", "staging", staging),
        ("reconcile.yml", "aborted", "production", production),
    ]
    with story.timeline.chapter("forged events"):
        story.opened("promote", "production", staging)  # what the true event of the same brings
        forged(story, events)
        assert healthy(story.rollout("staging"), staging)
        assert healthy(story.rollout("production"), production)


# What breaks half way.


@pytest.mark.nightly
def test_15_run_cancelled_between_image_and_release_is_run_again(story: Demo) -> None:
    with story.timeline.chapter("cancelled between image and release"):
        before = str(story.reviewer.released("staging")["identity"])
        pull = story.propose("cpu-cancel", "Ask for 190m", request("190m"))
        story.merge(pull)
        story.until("the image is pushed", lambda: ended(story, "deliver.yml", "build"), SLOW)
        run = story.reviewer.runs(story.seen, ("deliver.yml",))[0]
        story.reviewer.press(run, "cancel")
        story.until("it is cancelled", lambda: story.reviewer.forge.run(run.id).status == "completed", SHORT)
        assert story.reviewer.released("staging")["identity"] == before
        story.reviewer.again(run)
        identity = story.released("staging", before)
        story.healthy("staging", identity)
        assert identities(story, "staging").count(identity) == 1, "run again, it was released once"


def test_16_trusted_remote_is_away(story: Demo) -> None:
    with story.timeline.chapter("without the DVC remote"):
        before = str(story.reviewer.released("staging")["identity"])
        with without(story, store.COMPONENT):
            pull = story.propose("june", "Train on data until 28 June", until("2013-06-28"))
            run = story.settled("gate.yml", pull.head_sha)
            assert "trusted" in story.reviewer.said(run)
            assert gates(story, pull) == "failure", "what production has could not be had: inconclusive"
        assert story.reviewer.merge(story.reviewer.forge.pull(pull.number)), "main does not let it in"
        story.reviewer.forge.update_pull(pull.number, state="closed")
        assert story.reviewer.released("staging")["identity"] == before


@pytest.mark.nightly
def test_17_registry_refuses_the_image(story: Demo) -> None:
    with story.timeline.chapter("a registry that takes nothing"):
        before = str(story.reviewer.released("staging")["identity"])
        pull = story.propose("comment", "A comment in the server", comment)
        ready(story, pull)
        story.mark()
        with refusing_images(story):
            story.merge(pull, SHORT)
            run = story.settled("deliver.yml", story.reviewer.head())
            assert failed(story, run) == {"build"}
            assert "POST blobs/uploads/ answered 5" in story.reviewer.said(run), "it was built, and was to be pushed"
            assert story.reviewer.released("staging")["identity"] == before
        story.reviewer.again(run)
        story.healthy("staging", story.released("staging", before))


# What a person starts, and what nobody does.


def test_18_person_goes_back_to_an_earlier_release(story: Demo) -> None:
    """By hand on the workflow's page; what is replaced is held, and what the merge starts does not bring it back."""
    with story.timeline.chapter("back to an earlier release"):
        replaced = str(story.reviewer.released("staging")["identity"])
        target = str(story.reviewer.released("production")["identity"])
        assert target != replaced
        assert target in identities(story, "staging"), "production's came by staging"
        story.mark()
        inputs = {"environment": "staging", "to": target, "reason": "we want the last one back"}
        story.reviewer.forge.dispatch("rollback.yml", "main", inputs)
        story.merge(story.opened("rollback", "staging", replaced, ("rollback.yml",)))
        story.until(
            "main has the earlier release", lambda: story.reviewer.released("staging")["identity"] == target, SHORT
        )
        story.healthy("staging", target)
        assert replaced in story.reviewer.held("staging")
        demo.stays(story, target)


@pytest.mark.nightly
def test_19_cluster_that_cannot_call_out_is_asked_on_a_schedule(story: Demo) -> None:
    with story.timeline.chapter("the poll"), silent(story), variable(story, "FLIGHTLINE_POLL", "true"):
        before = str(story.reviewer.released("staging")["identity"])
        story.merge(story.propose("cpu-poll", "Ask for 210m", request("210m")))
        identity = story.released("staging", before)
        story.healthy("staging", identity)
        story.mark()
        pull = story.opened("promote", "production", identity, ("reconcile.yml",))
        ran = story.reviewer.runs(story.seen, ("reconcile.yml", "promote.yml"))
        assert {(one.workflow, one.event) for one in ran} == {SCHEDULED}, "nobody called"
        assert any("flightline reconcile --poll" in story.reviewer.said(one) for one in ran)
        story.reviewer.forge.update_pull(pull.number, state="closed")


# When the forge is in trouble, or the token is.


def test_20_forge_that_fails_and_loses_answers_has_one_pull_request(story: Demo) -> None:
    """A real verb, the real forge, and between them one that answers 500, 429, late, or not at all after doing it."""
    faults = (
        Fault(500, "GET"),
        Fault(429, "GET", {"Retry-After": "1"}),
        Fault(502, "POST", carried_out=True),
        Fault(503, "POST", carried_out=True),
        Fault(504, "GET", seconds=31),
    )
    with story.timeline.chapter("a forge in trouble"), before_the_forge(*faults) as (address, faulty):
        held, branch = prepared(story, {"GITHUB_API_URL": address, "GITHUB_TOKEN": known(story).tokens[BOT]})
        assert faulty.faults == [], "each of them happened"
        (pull,) = [one for one in story.reviewer.forge.pulls() if one.head_branch == branch]
        assert (faulty.count("POST", "/pulls"), faulty.count("POST", "/dispatches")) == (1, 3)
        started = [one for one in story.reviewer.runs(story.seen) if one.event == "workflow_dispatch"]
        assert sorted(one.workflow for one in started) == ["gate.yml", "pr.yml", "report.yml"], (
            "each of its checks once"
        )
        assert held in pull.body
        story.reviewer.forge.update_pull(pull.number, state="closed")


def test_21_token_without_a_scope_is_told_which(story: Demo) -> None:
    with story.timeline.chapter("a token without a scope"):
        token = narrow(story, "write:repository")
        with pytest.raises(ClusterError, match="read:user"):
            prepared(story, {"GITHUB_API_URL": API, "FLIGHTLINE_TOKEN": token})
        for pull in story.reviewer.forge.pulls():
            story.reviewer.forge.update_pull(pull.number, state="closed")


# When nothing shall change.


@pytest.mark.nightly
def test_22_freeze_stops_a_promotion_that_was_green(story: Demo) -> None:
    """Its checks passed before; so main's own push closes it, and after the thaw a person asks for it again."""
    with story.timeline.chapter("a freeze"):
        identity = str(story.reviewer.released("staging")["identity"])
        pull = asked_for(story, identity)
        ready(story, pull)
        story.mark()
        story.merge(story.propose("freeze", "Nothing before the holidays are over", frozen))
        story.until("the promotion is closed", lambda: story.reviewer.forge.pull(pull.number).state == "closed", SLOW)
        said = [one.body for one in story.reviewer.forge.comments(pull.number)]
        assert any("production is frozen: Holidays" in one for one in said), said
        assert SCHEDULED in {(one.workflow, one.event) for one in story.reviewer.runs(story.seen)}
        story.mark()
        story.reviewer.forge.dispatch("promote.yml", "main", {})
        run = story.settled("promote.yml", story.reviewer.head())
        assert "production is frozen: Holidays" in story.reviewer.said(run)
        story.merge(story.propose("thaw", "The holidays are over", lambda root: (root / FREEZE).unlink()))
        again = asked_for(story, identity)
        story.reviewer.forge.update_pull(again.number, state="closed")


# Without an App.


@pytest.mark.nightly
def test_23_without_an_app_lock_and_release_are_pull_requests(story: Demo) -> None:
    """By the built-in token, one after the other, each with its checks; nothing else writes to main."""
    with story.timeline.chapter("pull-request mode"), pull_request_mode(story):
        before = str(story.reviewer.released("staging")["identity"])
        pull = story.propose("regularised", "Regularise a little less", regularised("0.11"))
        story.reported(pull)
        story.merge(pull)
        lock = by_machine(story, "dvc-lock")
        story.merge(lock)
        release = by_machine(story, "release/")
        assert story.reviewer.released("staging")["identity"] == before, "nothing is released without a merge"
        story.merge(release)
        identity = story.released("staging", before, SHORT)
        story.takes_traffic("staging", identity)
        story.healthy("staging", identity)
        assert {lock.author, release.author}.isdisjoint({BOT}), "the built-in token opened them"
        assert {one.event for one in story.reviewer.runs(story.seen, ("pr.yml", "gate.yml"))} >= {"workflow_dispatch"}
        demo.promote(story, identity)


def test_24_every_workflow_was_run_by_a_real_event(story: Demo, pytestconfig: pytest.Config) -> None:
    """`checks` is part of `pr` and `deliver`. What a week would bring is asked for by hand."""
    story.mark()
    for workflow in ("deliver.yml", "security.yml"):
        story.reviewer.forge.dispatch(workflow, "main", {})
    head = story.reviewer.head()
    assert all_passed(story, story.settled("deliver.yml", head)) == {"train"}
    only_the_database_is_missing(story, story.settled("security.yml", head))
    ran = {(one.workflow, one.event) for one in story.reviewer.forge.runs() if one.conclusion in {"success", "failure"}}
    wanted = {*EVENTS, *(() if "not nightly" in pytestconfig.getoption("markexpr") else NIGHTLY_EVENTS)}
    assert wanted <= ran, wanted - ran


# What they do.

EVENTS = {
    ("pr.yml", "pull_request"),
    ("gate.yml", "pull_request"),
    ("report.yml", "workflow_run"),
    ("report.yml", "workflow_dispatch"),
    ("deliver.yml", "push"),
    ("deliver.yml", "workflow_dispatch"),
    ("promote.yml", "workflow_dispatch"),
    ("reconcile.yml", "workflow_dispatch"),
    ("reconcile.yml", "push"),
    ("rollback.yml", "workflow_dispatch"),
    ("security.yml", "pull_request"),
    ("security.yml", "push"),
    ("security.yml", "workflow_dispatch"),
}
# Gitea tells a scheduled run as the event that registered it, as it does one that a freeze or a hold on main started:
# where neither is pushed, it is the schedule's.
SCHEDULED = ("reconcile.yml", "push")
NIGHTLY_EVENTS = {("pr.yml", "workflow_dispatch"), ("gate.yml", "workflow_dispatch")}


def all_passed(story: Demo, run: Run) -> set[str]:
    """The jobs of a run that ended well; none of the others may have run."""
    ends = {one["name"].rpartition(" / ")[2]: one["conclusion"] for one in story.reviewer.jobs(run)}
    assert set(ends.values()) <= {"success", "skipped"}, (ends, run.url)
    return {name for name, end in ends.items() if end == "success"}


def failed(story: Demo, run: Run) -> set[str]:
    """The jobs of a run that failed."""
    return {one["name"] for one in story.reviewer.jobs(run) if one["conclusion"] == "failure"}


def only_the_database_is_missing(story: Demo, run: Run) -> None:
    """Every scan was made. Where no database of known faults is reached, that one fails, and says so."""
    said = story.reviewer.said(run)
    fell = set(re.findall(r"FAIL (\w+):", said))
    assert len(re.findall(r"(?:ok  |FAIL) \w+: ", said)) >= 5, said[-2000:]
    assert fell <= {"dependencies"}, fell
    assert (run.conclusion == "failure") == bool(fell)
    assert not fell or "could not be audited" in said or "fixed in" in said


def was_meddled_with(said: str) -> None:
    """What a stranger's job was out to do, it did where it could: else it proves nothing."""
    assert f"meddled here as uid {job.STRANGER}; a secret: none" in said, "the branch's own workflow ran, as nobody's"
    assert re.search(r'the gates said:.*"decision":"fail"', said)
    forged = re.search(r"forged:(.*)", said)
    assert forged, "what it handed over is no verdict"
    assert '"decision":"pass"' in forged[1]
    assert "fail" not in forged[1]
    assert counted(said, "run-cache entries that name it") > 0
    assert counted(said, "planted in its own") >= 3
    assert counted(said, "planted in main's") == 0
    assert counted(said, "processes that are not its own") == 0
    assert "the store answered 403" in said
    assert "read the credentials" not in said
    assert "read the runner" not in said


def taken_back(story: Demo, pull: Pull, lock: str) -> None:
    """Revert what was merged, with the lock that main had before it."""
    sha = merged(story, pull)

    def edit(root: Path) -> None:
        story.developer.git("revert", "--no-commit", "--mainline", "1", sha)
        (root / "dvc.lock").write_text(lock)

    before = story.reviewer.released("staging")
    story.merge(story.propose("take-back", "Take it back", edit))
    story.settled("deliver.yml", story.reviewer.head())
    assert story.reviewer.released("staging") == before


def merged(story: Demo, pull: Pull) -> str:
    """The commit on main that a pull request became."""
    path = f"/repos/{story.reviewer.forge.repository}/pulls/{pull.number}"
    return str(story.reviewer.forge.client.get(path)["merge_commit_sha"])


def identities(story: Demo, environment: str) -> list[str]:
    """Every identity that main ever released, the first one first."""
    path = f"k8s/releases/{environment}/release.yaml"
    hand = story.reviewer
    hand.git("fetch", "-q", "origin")
    commits = hand.git("log", "--reverse", "--first-parent", "--format=%H", "origin/main", "--", path).split()
    found = (re.search(r"(?m)^identity: (\w+)", hand.git("show", f"{commit}:{path}")) for commit in commits)
    return [one[1] for one in found if one]


def machines(story: Demo) -> dict[str, set[str]]:
    """Main's commits that change nothing but what machines write, and what each changed."""
    hand = story.reviewer
    hand.git("fetch", "-q", "origin")
    commits = hand.git("log", "--first-parent", "--format=%H", "origin/main", "--", "k8s/releases", "dvc.lock").split()
    changed = {one: {*hand.git("diff", "--name-only", f"{one}^1", one).splitlines()} for one in commits[:-1]}
    return {
        one: paths
        for one, paths in changed.items()
        if all(re.match(r"k8s/releases/|dvc\.lock$", path) for path in paths)
    }


def asked_for(story: Demo, identity: str) -> Pull:
    """The promotion of what staging has, started by hand on the workflow's page."""
    story.mark()
    story.reviewer.forge.dispatch("promote.yml", "main", {})
    return story.opened("promote", "production", identity, ("promote.yml",))


def ready(story: Demo, pull: Pull) -> None:
    """Everything that main requires of a pull request is green."""
    story.reported(pull)
    story.settled("pr.yml", pull.head_sha)


def at_rest(story: Demo) -> None:
    """No delivery runs or waits."""

    def quiet() -> bool:
        runs = list(story.reviewer.runs(story.seen, ("deliver.yml",)))
        return bool(runs) and all(one.status == "completed" for one in runs)

    story.until("every delivery has ended", quiet, SLOW)
    time.sleep(5)  # a release's own push starts one more
    story.until("those they started, too", quiet, SLOW)


def reached(story: Demo, workflow: str, name: str) -> bool:
    """Whether a job of the newest run of a workflow runs, or has."""
    runs = story.reviewer.runs(story.seen, (workflow,))
    return any(
        one["name"].endswith(name) and one["status"] in {"in_progress", "completed"}
        for run in runs
        for one in story.reviewer.jobs(run)
    )


def ended(story: Demo, workflow: str, name: str) -> bool:
    """Whether a job of a run since the mark ended well."""
    runs = story.reviewer.runs(story.seen, (workflow,))
    return any(
        one["name"].endswith(name) and one["conclusion"] == "success"
        for run in runs
        for one in story.reviewer.jobs(run)
    )


def gates(story: Demo, pull: Pull) -> str:
    """The state that main's code gave the pull request's commit, right after its comment."""

    def state() -> str:
        found = story.reviewer.statuses(pull.head_sha).get("flightline/gates", "")
        return "" if found == "pending" else found

    return str(story.until("main's code says what it makes of the gates", state, SLOW))


def forged(story: Demo, events: Sequence[tuple[str, str, str, str]]) -> str:
    """Whoever has the cluster's token lies: (workflow, event, environment, identity). Every workflow runs, and nothing
    comes of it; what they said.
    """
    hand = story.reviewer
    pulls, main = {one.number for one in hand.forge.pulls()}, hand.head()
    cluster = Forge(Client(API, known(story).tokens[CLUSTER]), hand.forge.repository)
    story.mark()
    for workflow, event, environment, identity in events:
        told = {"event": event, "environment": f"flightline-{environment}", "identity": identity}
        nothing = dict.fromkeys(("version", "source", "reason", "message"), "")
        cluster.dispatch(workflow, "main", {**told, **nothing})
        story.timeline.event(f"forged: {environment} is {event}")

    def over() -> list[Run]:
        ran = hand.runs(story.seen, {one[0] for one in events})
        runs = [one for one in ran if one.event == "workflow_dispatch"]  # the schedule's go on
        return runs if len(runs) >= len(events) and all(one.status == "completed" for one in runs) else []

    runs: list[Run] = story.until("what was forged is over", over, SLOW)
    assert {one.conclusion for one in runs} == {"success"}, [one.url for one in runs]
    assert {one.number for one in hand.forge.pulls()} <= pulls, "none is opened; what main has moved past may be closed"
    assert hand.head() == main
    return "\n".join(hand.said(one) for one in runs)


def under_way(story: Demo, environment: str, identity: str) -> bool:
    """Whether `flightline status`, which only reads, says that an identity rolls out, or waits."""
    kubeconfig = story.folder / "reader.kubeconfig"
    kubeconfig.write_text(portable(Kubectl(story.state), story.state, forge.READER))
    story.reviewer.begin("status")
    command = [FLIGHTLINE, "status", "--env", environment, "--json"]
    settings = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(story.reviewer.root)}
    done = subprocess.run(
        command, cwd=story.reviewer.root, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode in {2, 3}, done.stdout + done.stderr  # waits for a person, under way
    (one,) = json.loads(done.stdout)["environments"]
    return bool(one["rollout"]["identity"] == identity)


def issues(story: Demo) -> int:
    """How many are open."""
    found = story.reviewer.forge.client.get(f"/repos/{story.reviewer.forge.repository}/issues?type=issues&state=open")
    return len(found)


def known(story: Demo) -> Credentials:
    """Everybody's."""
    found = members.read(Folders.of(story.state))
    assert found
    return found


def narrow(story: Demo, *scopes: str) -> str:
    """A token of the bot's with these scopes alone."""
    bot = known(story).person(BOT)
    name = f"narrow-{secrets.token_hex(4)}"
    return str(bot.call("POST", f"users/{BOT}/tokens", {"name": name, "scopes": list(scopes)})["sha1"])


def prepared(story: Demo, environment: dict[str, str]) -> tuple[str, str]:
    """A hold on an identity that production never had, by the command line: (identity, branch of its pull request)."""
    hand = story.reviewer
    identity = identities(story, "staging")[0]
    story.mark()
    hand.begin("by-hand")
    words = (
        "flightline",
        "hold",
        identity,
        "--env",
        "production",
        "--reason",
        "a rehearsal",
        "--pull-request",
        "--json",
    )
    told = {**hand.credentials, **environment, "GITHUB_REPOSITORY": f"{OWNER}/{NAME}"}
    found = json.loads(hand.run(*words, **told))
    return str(found["identity"]), str(found["branch"])


def by_machine(story: Demo, branch: str) -> Pull:
    """The pull request that opens by itself from a branch of this name."""

    def found() -> Pull | None:
        return next((one for one in story.reviewer.forge.pulls() if one.head_branch.startswith(branch)), None)

    pull: Pull = story.until(f"a pull request of {branch} opened by itself", found, SLOW, ("deliver.yml",))
    story.timeline.event(f"#{pull.number} by {pull.author}: {pull.title}", pull.url)
    return pull


@contextmanager
def pull_request_mode(story: Demo) -> Iterator[None]:
    """No App, and nobody who pushes to main."""
    at_rest(story)
    forge.up(story.state, story.timeline.say, mode="pull-request")
    try:
        yield
    finally:
        forge.up(story.state, story.timeline.say)


@contextmanager
def silent(story: Demo) -> Iterator[None]:
    """The cluster's token is no token: it starts nothing."""
    kubectl = Kubectl(story.state)
    kubectl.apply(rollouts.notification_secret(gitea.REPOSITORY_API, "none"))
    try:
        yield
    finally:
        kubectl.apply(forge.notifications(known(story)))


@contextmanager
def variable(story: Demo, name: str, value: str) -> Iterator[None]:
    """A variable of the repository."""
    path = f"repos/{OWNER}/{NAME}/actions/variables/{name}"
    administrator = known(story).person(gitea.ADMIN)
    administrator.call("POST", path, {"value": value})
    try:
        yield
    finally:
        administrator.call("DELETE", path)


@contextmanager
def without(story: Demo, component: str) -> Iterator[None]:
    """An outage."""
    switch(story, "stop", component, "stopped")
    story.timeline.event(f"without {component}")
    try:
        yield
    finally:
        switch(story, "start", component, "ready")
        story.timeline.event(f"back: {component}")


@contextmanager
def refusing_images(story: Demo) -> Iterator[None]:
    """A registry that gives everything and takes nothing: where it keeps uploads is no folder."""
    uploads = story.state.data / "registry/docker/registry/v2/repositories/flightline/_uploads"
    aside = uploads.with_name("_uploads.aside")
    uploads.rename(aside)
    uploads.touch()
    story.timeline.event("the registry takes nothing")
    try:
        yield
    finally:
        uploads.unlink()
        aside.rename(uploads)
        story.timeline.event("the registry takes images again")


def switch(story: Demo, verb: str, component: str, phase: str) -> None:
    control.ask(story.state, verb, [component])
    control.wait_until(story.state, [component], (phase,), SHORT)


def stored(story: Demo) -> set[str]:
    """What the trusted remote holds."""
    root = Folders.of(story.state).store
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def stranger(story: Demo) -> Hand:
    """Somebody whom nobody knows, with a fork."""
    return strangers.arrive(story.state, story.folder)
