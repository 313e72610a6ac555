"""A push drives everything: the project's own workflows, run on a real forge. The story first, then what goes wrong."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local import control, demo, gitea, members, store
from infra.local.demo import replace
from infra.local.gitea import ADMIN, OWNER, Folders, Person
from infra.local.hand import Hand
from infra.local.telling import SHORT, SLOW, UNCHANGED_REPORT, Demo
from infra.local.watch import healthy
from pipeline.forge import Pull, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

NOWHERE = "0" * 64
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


def test_03_change_that_the_model_does_not_depend_on_is_reported_at_once_and_releases_nothing(story: Demo) -> None:
    with story.timeline.chapter("a note"):
        released = story.reviewer.released("staging")
        pull = story.propose("note", "A note", note("one"))
        report = story.reported(pull, UNCHANGED_REPORT, "push -> report, the model unchanged")
        assert "unchanged" in report.body.lower()
        story.merge(pull)
        story.settled("deliver.yml", story.reviewer.head())
        assert story.reviewer.released("staging") == released


def test_04_bad_release_is_gone_back_from(story: Demo) -> None:
    demo.fooled_gates(story)


def test_05_commits_of_machines_release_nothing(story: Demo) -> None:
    """Lock, release, promotion and revert are pushes to main, too: each started a run, and none of them released."""
    history = identities(story, "staging")
    assert len(history) == 4, history  # the first, the better, the bad one, and the better one again
    assert history[3] == history[1]
    runs = [story.settled("deliver.yml", commit, SHORT) for commit in machines(story)]
    assert runs
    assert {one.conclusion for one in runs} <= {"success", "cancelled"}, runs


def test_06_every_figure_is_within_its_limit(story: Demo) -> None:
    assert not story.timeline.missed(), story.timeline.missed()


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
        for pull in pulls:
            story.merge(pull, SHORT)
        story.timeline.event(f"both merged within {time.time() - start:.1f} s")
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
        story.until("the release is being written", lambda: job(story, "deliver.yml", "release"), SLOW)
        story.merge(other, SHORT)
        identity = story.released("staging", before)
        at_rest(story)
        assert story.reviewer.released("staging")["identity"] == identity
        line = story.reviewer.commits(f"{story.reviewer.head()}~6")
        assert {merged(story, change), merged(story, other)} <= set(line)
        story.healthy("staging", identity)


# Strangers and strange words.


def test_09_fork_changes_what_judges_it_and_gets_nothing(story: Demo, stranger: Hand) -> None:
    with story.timeline.chapter("a fork that edits the workflow, a script, its verdict and the caches"):
        kept, main = stored(story), story.reviewer.head()
        pull = foreign(story, stranger, "good-intentions", meddle)
        report = story.reported(pull)
        said = story.reviewer.said(story.reviewer.runs(story.seen, ("gate.yml",))[0])
        assert "meddled here; a secret: none" in said, "the branch's own workflow ran, and had no secret"
        assert re.search(r"token answered 20\d", said) is None, "its token writes nothing"
        assert "forged/gates" not in story.reviewer.statuses(pull.head_sha)
        assert stored(story) == kept, "what main restores from is as it was, the run-cache too"
        assert story.reviewer.head() == main
        assert "changes the code that judges" in report.body
        assert "changes what it is judged by" in report.body
        assert [one.author for one in story.reviewer.forge.comments(pull.number)] == [report.author]
        assert story.reviewer.merge(pull), "nobody who owns the code has approved it"
        story.reviewer.forge.update_pull(pull.number, state="closed")


def test_10_harmless_fork_gets_the_same_report(story: Demo, stranger: Hand) -> None:
    with story.timeline.chapter("a fork with a note"):
        pull = foreign(story, stranger, "typo", note("from outside"))
        story.reported(pull)
        assert story.reviewer.statuses(pull.head_sha).get("flightline/gates") == "success"
        story.merge(pull)


def test_11_branch_and_message_full_of_metacharacters(story: Demo) -> None:
    with story.timeline.chapter("shell metacharacters"):
        pull = story.propose(BRANCH, TITLE, note("odd"), body=BODY)
        report = story.reported(pull)
        assert "onerror" not in report.body
        story.merge(pull)
        story.settled("deliver.yml", story.reviewer.head())
        assert not list(Folders.of(story.state).root.rglob("pwned"))


# What is forged.


@pytest.mark.parametrize("identity", ["unknown", "released"])
def test_12_forged_staging_is_healthy_promotes_nothing(story: Demo, identity: str) -> None:
    """Of an identity that nobody knows, and of one that production has: staging's own word is asked for, too."""
    named = NOWHERE if identity == "unknown" else str(story.reviewer.released("production")["identity"])
    forged(story, "promote.yml", "completed", "staging", named)


@pytest.mark.parametrize(("environment", "known"), [("staging", False), ("staging", True), ("production", True)])
def test_13_forged_aborted_reverts_nothing(story: Demo, environment: str, known: bool) -> None:
    """What the cluster is asked about says otherwise."""
    named = str(story.reviewer.released(environment)["identity"]) if known else NOWHERE
    forged(story, "reconcile.yml", "aborted", environment, named)
    assert healthy(story.rollout(environment), str(story.reviewer.released(environment)["identity"]))


# What breaks half way.


@pytest.mark.nightly
def test_14_run_cancelled_between_image_and_release_is_run_again(story: Demo) -> None:
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
        story.healthy("staging", story.released("staging", before))
        assert identities(story, "staging").count(before) >= 1


def test_15_trusted_remote_is_away(story: Demo) -> None:
    with story.timeline.chapter("without the DVC remote"):
        before = str(story.reviewer.released("staging")["identity"])
        with without(story, store.COMPONENT):
            pull = story.propose("june", "Train on data until 28 June", until("2013-06-28"))
            run = story.settled("gate.yml", pull.head_sha)
            assert "trusted" in story.reviewer.said(run)
            states = story.until("the statuses are set", lambda: gates(story, pull), SLOW)
            assert states != "success", "what production has could not be had: inconclusive"
        assert story.reviewer.merge(story.reviewer.forge.pull(pull.number)), "main does not let it in"
        story.reviewer.forge.update_pull(pull.number, state="closed")
        assert story.reviewer.released("staging")["identity"] == before


@pytest.mark.nightly
def test_16_registry_refuses_the_image(story: Demo) -> None:
    with story.timeline.chapter("without the registry"):
        before = str(story.reviewer.released("staging")["identity"])
        pull = story.propose("comment", "A comment in the server", comment)
        ready(story, pull)
        story.mark()
        with without(story, "registry"):
            story.merge(pull, SHORT)
            run = story.settled("deliver.yml", story.reviewer.head())
            assert run.conclusion == "failure"
            assert "127.0.0.1:5000" in story.reviewer.said(run)
            assert story.reviewer.released("staging")["identity"] == before
        story.reviewer.again(run)
        story.healthy("staging", story.released("staging", before))


# What they do.

# The branch's own workflow, as a stranger would like it: it believes itself, and tries every door.
_MEDDLING = """\
      - name: meddled here
        if: always()
        env:
          SECRET: ${{ secrets.COSIGN_PASSWORD }}${{ secrets.FLIGHTLINE_APP_KEY }}${{ secrets.FLIGHTLINE_DVC_CONFIG }}
          TOKEN: ${{ github.token }}
          HERE: ${{ github.api_url }}/repos/${{ github.repository }}
        run: |
          echo "meddled here; a secret: ${SECRET:-none}"
          write() { curl -s -o /dev/null -w "token answered %{http_code}\\n" -H "Authorization: token $TOKEN" \\
            -H 'Content-Type: application/json' "$@" || true; }
          write -d '{"context": "forged/gates", "state": "success"}' "$HERE/statuses/$(git rev-parse HEAD)"
          write -d '{"body": "forged"}' "$HERE/issues/1/comments"
          write -d '{"ref": "main", "inputs": {}}' "$HERE/actions/workflows/promote.yml/dispatches"
          find build/evidence -name verdict.json -exec sed -i 's/"decision": "[a-z]*"/"decision": "pass"/g' {} +
          find .dvc/cache/runs -type f -exec sed -i "s/md5: [0-9a-f]*/md5: $(printf 0%.0s {1..32})/" {} + || true
          dvc push --run-cache -r trusted || true
"""


def note(text: str) -> Callable[[Path], None]:
    """A file that nothing depends on."""

    def edit(root: Path) -> None:
        with (root / "docs/notes.md").open("a") as out:
            out.write(f"{text}\n")

    return edit


def request(cpu: str) -> Callable[[Path], None]:
    """Another release of the same image."""
    return lambda root: edited(root / "k8s/base/rollout.yaml", r"cpu: \d+m", f"cpu: {cpu}")


def scores(least: str) -> Callable[[Path], None]:
    """One more, by another file."""
    return lambda root: edited(root / "k8s/overlays/staging/analysis.yaml", r"min-scores: .*", f"min-scores: '{least}'")


def edited(path: Path, pattern: str, by: str) -> None:
    """Replace the first match of a pattern."""
    text, count = re.subn(pattern, by, path.read_text(), count=1)
    assert count == 1, f"{path} has no {pattern}"
    path.write_text(text)


def until(day: str) -> Callable[[Path], None]:
    """Another window of data."""
    return lambda root: replace(root / "params.yaml", 'end: "2013-05-31"', f'end: "{day}"')


def comment(root: Path) -> None:
    """Another code image of the same server."""
    with (root / "serving/__main__.py").open("a") as out:
        out.write("\n# Nothing but a comment.\n")


def meddle(root: Path) -> None:
    """Edit the workflow, a script that it runs, the limits and the verdict; train something worse."""
    path = root / ".github/workflows/gate.yml"
    text = path.read_text()
    upload = text.index("      - if: ${{ !cancelled()", text.index("flightline evidence"))
    path.write_text(text[:upload] + _MEDDLING + text[upload:])
    with (root / "pipeline/gate.py").open("a") as out:
        out.write("\n# It would say yes.\n")
    replace(root / "params.yaml", "C: 0.1", "C: 0.000001")
    replace(root / "params.yaml", "margin: 0.02", "margin: 0.9")


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


def machines(story: Demo) -> list[str]:
    """Main's commits that change nothing but what machines write."""
    hand = story.reviewer
    hand.git("fetch", "-q", "origin")
    commits = hand.git("log", "--first-parent", "--format=%H", "origin/main", "--", "k8s/releases", "dvc.lock").split()
    changed = {one: hand.git("diff", "--name-only", f"{one}^1", one).splitlines() for one in commits[:-1]}
    return [one for one, paths in changed.items() if all(re.match(r"k8s/releases/|dvc\.lock$", path) for path in paths)]


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


def job(story: Demo, workflow: str, name: str) -> bool:
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
    """The state that main's code gave the pull request's commit; empty until then."""
    found = story.reviewer.statuses(pull.head_sha).get("flightline/gates", "")
    return "" if found == "pending" else found


def forged(story: Demo, workflow: str, event: str, environment: str, identity: str) -> None:
    """Somebody who has the cluster's token lies: the workflow runs, and nothing comes of it."""
    hand = story.reviewer
    pulls, main = {one.number for one in hand.forge.pulls()}, hand.head()
    story.mark()
    names = ("version", "source", "reason", "message")
    told = {
        "event": event,
        "environment": f"flightline-{environment}",
        "identity": identity,
        **dict.fromkeys(names, ""),
    }
    hand.forge.dispatch(workflow, "main", told)

    def over() -> Run | None:
        runs = hand.runs(story.seen, (workflow,))
        return runs[0] if runs and runs[0].status == "completed" else None

    run = story.until(f"forged: {environment} is {event}", over, SLOW)
    assert run.conclusion == "success", run.url
    assert {one.number for one in hand.forge.pulls()} == pulls
    assert hand.head() == main


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
    folders = Folders.of(story.state)
    known = members.read(folders)
    assert known
    administrator, name, password = known.person(ADMIN), "stranger", "a-strangers-own-password"
    person = {"username": name, "email": gitea.email(name), "password": password, "must_change_password": False}
    administrator.call("POST", "admin/users", person, there=True)
    outside = Person(name, password)
    scopes = ["write:repository", "write:issue", "read:user"]
    token = outside.call("POST", f"users/{name}/tokens", {"name": "own", "scopes": scopes})["sha1"]
    outside.call("POST", f"repos/{OWNER}/{gitea.NAME}/forks", {}, there=True)
    hand = Hand.as_person(outside, token, story.folder / name)
    hand.git("remote", "add", "fork", f"{gitea.ADDRESS}/{name}/{gitea.NAME}.git")
    return hand


def foreign(story: Demo, stranger: Hand, branch: str, edit: Callable[[Path], None]) -> Pull:
    """A pull request from a fork; a maintainer lets its workflows run, as the first of a stranger's must be."""
    story.mark()
    stranger.begin(branch)
    edit(stranger.root)
    stranger.git("add", "-A")
    stranger.git("commit", "-q", "-m", f"From outside: {branch}")
    story.pushed = time.time()
    stranger.git("push", "-q", "--force", "fork", f"HEAD:refs/heads/{branch}")
    asked = {"head": f"stranger:{branch}", "base": "main", "title": f"From outside: {branch}", "body": ""}
    made = stranger.forge.client.put("POST", f"/repos/{OWNER}/{gitea.NAME}/pulls", asked)
    pull = story.reviewer.forge.pull(made["number"])
    story.until("its runs are there", lambda: len(story.reviewer.runs(story.seen, ("gate.yml", "pr.yml"))) == 2, SHORT)
    for run in story.reviewer.runs(story.seen, ("gate.yml", "pr.yml")):
        if run.status != "completed":
            story.reviewer.press(run, "approve")
    story.timeline.event(f"pull request #{pull.number} of a fork", pull.url)
    return pull
