"""Prepared branches as pull requests, on real git and a forge behind HTTP: one each, told by git, closed in time."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import reports, signature
from pipeline.cli_delivery import delivery
from pipeline.delivery import pulls
from pipeline.delivery.freeze import FREEZE
from pipeline.delivery.hold import hold, unhold
from pipeline.delivery.pulls import Key
from pipeline.delivery.reconcile import promotion_evidence
from pipeline.delivery.rollback import rollback
from pipeline.forge import ForgeError
from pipeline.monitoring.store import VARIABLE, open_store
from serving import bundle
from serving.signature import encode
from tests import desks, observed
from tests.checkouts import PROJECT
from tests.deliveries import BRANCH, PUSH, Fork, say
from tests.desks import Office, checks, cluster
from tests.forges import Fault


@pytest.fixture
def office(three_released: Fork) -> Iterator[Office]:
    with desks.office(three_released) as made:
        yield made


@pytest.fixture
def builtin(three_released: Fork) -> Iterator[Office]:
    with desks.office(three_released, builtin=True) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where predictions are kept."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "observed"))
    return tmp_path / "observed"


def top(body: str) -> str:
    """What is seen before anything is unfolded."""
    return re.sub(r"<!--.*?-->", "", body.partition("<details>")[0]).strip()


# One a branch


def test_promotion_opens_one_pull_request_and_a_second_run_changes_nothing(office: Office) -> None:
    first = office.promote()
    pull = office.only()
    assert (first.outcome, first.exit_code, first.pull_request) == ("prepared", 0, pull["html_url"])
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (first.branch, "main")
    assert pull["title"].startswith("promote(production): ")
    assert office.promote().pull_request == first.pull_request
    assert office.played.said("PATCH") == []


def test_second_run_finishes_what_the_first_began(office: Office) -> None:
    """The branch was pushed and the forge did not answer; then it answered, and somebody spoiled the body."""
    branch = office.fork.promote(BRANCH).branch
    assert office.pulls() == []
    office.promote()
    whole = office.only()["body"]
    office.only()["body"] = whole.partition("\n")[0] + "\nold"
    office.promote()
    assert (office.only()["body"], office.only()["head"]["ref"]) == (whole, branch)


def test_own_token_starts_no_checks_for_the_forge_does(office: Office) -> None:
    office.promote()
    assert office.checked() == []


def test_built_in_token_starts_the_checks_once_a_commit(builtin: Office) -> None:
    branch = str(builtin.promote().branch)
    assert builtin.checked() == checks(branch)
    builtin.promote()
    assert builtin.checked() == checks(branch)


def test_checks_that_were_not_started_are_started_by_the_next_run(builtin: Office) -> None:
    builtin.fork.promote(BRANCH)
    branch = str(builtin.fork.promote(BRANCH).branch)
    # The pull request is opened, and the first dispatch refused.
    builtin.played.faults.append(Fault(404, "POST", headers={"X-Later": "1"}))
    with pytest.raises(ForgeError):
        builtin.promote()
    builtin.promote()
    assert builtin.checked() == checks(branch)
    assert len(builtin.pulls()) == 1


def test_release_rollback_hold_and_unhold_have_one_each(office: Office) -> None:
    made, newest = office.fork, office.identity()
    back = rollback(made.context, "staging", [*made.timeline().releases()][-1][0], "slow", BRANCH, say)
    assert pulls.ask(office.desk, "rollback", back).pull_request
    held = hold(made.context, "production", newest[:12], "not on a Friday", BRANCH, say)
    assert pulls.ask(office.desk, "hold", held).pull_request
    made.train(4.0)
    assert pulls.ask(office.desk, "release", made.release(BRANCH)).pull_request
    kinds = [Key.read(one["body"]) for one in office.pulls()]
    assert [(one.kind, one.env) for one in kinds if one] == [
        ("rollback", "staging"),
        ("hold", "production"),
        ("release", "staging"),
    ]
    assert "not on a Friday" in office.pulls()[1]["body"]


def test_pull_request_of_a_fork_or_a_person_is_left_alone(office: Office) -> None:
    """Its branch is named as ours are, and its first line claims to be ours."""
    key = Key(kind="promote", env="production", identity="0" * 64)
    foreign = office.played.add_pull("promote/000000000000", repository="evil/model", body=key.line())
    person = office.played.add_pull("promote/mine", body="my work")
    lying = office.played.add_pull("a", body=key.model_copy(update={"since": "1" * 40}).line())
    writer = office.played.add_pull("promote/000000000000", body=key.line(), user={"login": "colleague"})
    office.promote()
    assert [one["state"] for one in (foreign, person, lying, writer)] == ["open"] * 4
    assert not office.played.comments


# What the version answered where it is


def answered(office: Office, wrong: float = 0.0) -> None:
    """A version of the checkout's own model in staging, and seven requests in the store that it answered."""
    made = office.fork
    for name in ("params.yaml", "model"):
        subprocess.run(["cp", "-r", str(PROJECT / name), str(made.root)], check=True)
    described = signature.of_model(made.context.model.card, made.context.model.schema)
    made.train(1.0, described)
    assert made.release().outcome == "pushed"
    made.pull()
    opened = bundle.load(made.root / "build/bundle")
    row = {one.name: one.example for one in described.inputs}
    (score,) = opened.score(encode(described, {name: [value] for name, value in row.items()}))
    said = {"model": described.model, "version": opened.version, "features": row, "score": float(score) + wrong}
    lines = [observed.line(f"row {at}", **said) for at in range(7)]
    assert open_store(made.context).add_predictions(lines).kept == 7


@pytest.mark.flights
def test_promotion_says_that_logged_requests_were_asked_of_the_bundle_again(office: Office, store: Path) -> None:
    answered(office)
    assert office.promote().outcome == "prepared"
    line = "7 of 7 logged requests re-scored from the bundle: greatest difference 0 (1e-05 allowed)"
    assert f"**Logged requests:** {line}." in top(office.only()["body"])


def test_promotion_without_logged_requests_says_so(office: Office, store: Path) -> None:
    office.promote()
    assert "**Logged requests:** none re-scored: " in top(office.only()["body"])


@pytest.mark.flights
def test_version_whose_logged_scores_are_not_its_bundles_is_not_promoted(office: Office, store: Path) -> None:
    answered(office, wrong=2e-5)
    found = office.promote()
    assert (found.outcome, found.exit_code, office.pulls()) == ("refused", 1, [])
    assert "request row " in found.reason
    assert "flightline trace staging" in found.reason


# Closed when main has moved past it


def test_newer_release_supersedes_the_promotion_of_the_older(office: Office) -> None:
    office.promote()
    office.fork.released(4.0)
    office.promote()
    old, new = office.played.pulls[1], office.played.pulls[0]
    assert (old["state"], new["state"]) == ("closed", "open")
    (said,) = office.played.comments[old["number"]]
    assert f"superseded by #{new['number']}" in said["body"]


def test_older_release_that_finishes_late_opens_nothing(office: Office) -> None:
    office.fork.train(4.0)
    prepared = office.fork.release(BRANCH)
    office.fork.train(5.0)
    newer = pulls.ask(office.desk, "release", office.fork.release(BRANCH))
    found = pulls.ask(office.desk, "release", prepared)
    assert (found.outcome, found.pull_request) == ("nothing", newer.pull_request)
    assert office.only()["html_url"] == newer.pull_request


def test_held_release_takes_its_promotion_with_it(office: Office) -> None:
    office.promote()
    hold(office.fork.context, "staging", office.identity()[:12], "drifts, says @team", PUSH, say)
    found = office.promote()
    assert (found.outcome, found.exit_code, office.pulls()) == ("refused", 1, [])
    ((said,),) = office.played.comments.values()
    assert "drifts, says @<!-- -->team" in said["body"]


def test_merged_hold_leaves_nothing_to_close_and_its_unhold_is_another(office: Office) -> None:
    made, newest = office.fork, office.identity()
    held = hold(made.context, "production", newest[:12], "not yet", BRANCH, say)
    pulls.ask(office.desk, "hold", held)
    office.merge(office.only())
    let_go = unhold(made.context, "production", newest[:12], "it is time", BRANCH, say)
    assert pulls.ask(office.desk, "unhold", let_go).outcome == "prepared"
    assert "it is time" in office.only()["body"]


def test_repeated_run_closes_what_a_merge_elsewhere_made_pointless(office: Office) -> None:
    """Somebody pushed the hold that the pull request asks for."""
    made, newest = office.fork, office.identity()
    pulls.ask(office.desk, "hold", hold(made.context, "production", newest[:12], "not yet", BRANCH, say))
    hold(made.context, "production", newest[:12], "not yet", PUSH, say)
    (said,) = office.reconciling.tidy()
    assert (office.pulls(), said.outcome) == ([], "closed")
    assert "is held in production already" in said.reason


@pytest.mark.parametrize("env", ["staging", "production"])
def test_hold_in_either_environment_closes_the_promotion(office: Office, env: str) -> None:
    office.promote()
    hold(office.fork.context, env, office.identity()[:12], "drifts", PUSH, say)
    (said,) = office.reconciling.tidy()
    assert (office.pulls(), said.outcome) == ([], "closed")
    assert re.search(rf"is held in {env} \(held since \S+: drifts\)", said.reason)


# Closed while main is frozen


def frozen(office: Office, text: str) -> None:
    """Main with this freeze."""
    office.fork.pull()
    office.fork.commit("freeze", {FREEZE.as_posix(): text})


def every_kind(office: Office) -> None:
    """A release to staging, a promotion, a rollback and a hold, as open pull requests."""
    made, newest = office.fork, office.identity()
    office.promote()
    back = rollback(made.context, "staging", [*made.timeline().releases()][-1][0], "slow", BRANCH, say)
    pulls.ask(office.desk, "rollback", back)
    pulls.ask(office.desk, "hold", hold(made.context, "staging", newest[:12], "drifts", BRANCH, say))
    made.train(4.0)
    pulls.ask(office.desk, "release", made.release(BRANCH))


def kinds(office: Office) -> list[str]:
    """Of the open pull requests."""
    found = (Key.read(one["body"]) for one in office.pulls())
    return sorted(one.kind for one in found if one)


@pytest.mark.parametrize(
    ("text", "stay"),
    [
        ("- reason: the fair\n", ["hold", "rollback"]),
        ("- {reason: the fair, environments: [production]}\n", ["hold", "release", "rollback"]),
        ("- {reason: the fair, environments: [staging]}\n", ["hold", "promote", "rollback"]),
        ("- {reason: the fair, until: 2020-01-01}\n", ["hold", "promote", "release", "rollback"]),
    ],
)
def test_freeze_closes_what_it_stops_and_nothing_else(office: Office, text: str, stay: list[str]) -> None:
    every_kind(office)
    frozen(office, text)
    closed = office.reconciling.tidy()
    assert kinds(office) == stay
    assert all("is frozen: the fair" in one.reason for one in closed)


def test_freeze_that_cannot_be_read_closes_what_it_could_stop_and_says_what_is_wrong(office: Office) -> None:
    every_kind(office)
    frozen(office, "- {}\n")
    assert all("0.reason: Field required" in one.reason for one in office.reconciling.tidy())
    assert kinds(office) == ["hold", "rollback"]


def test_promotion_that_a_freeze_closed_is_opened_again_after_it(office: Office) -> None:
    office.promote()
    frozen(office, "- reason: the fair\n")
    office.reconciling.tidy()
    ((said,),) = office.played.comments.values()
    assert "not to be merged: production is frozen: the fair" in said["body"]
    frozen(office, "")
    assert office.reconciling.tidy() == ()
    assert office.pulls() == [], "a thaw opens nothing by itself"
    assert office.event("completed", office.identity())[0].outcome == "pull request"
    assert office.only()["number"] == 2


# What it says


def test_top_of_a_promotion_fits_a_phone_and_says_the_verdict_first(office: Office) -> None:
    office.fork.promoted()
    office.fork.pull()
    office.fork.released(4.0)
    office.promote()
    shown = top(office.only()["body"])
    assert shown.startswith("## ✅ Pass: ")
    assert len(shown) < 900
    for words in (
        "**Production:** version",
        "replaces",
        "**Staging:** released 20",
        "**Cluster not confirmed:**",
        "merge",
    ):
        assert words in shown


def test_promotion_shows_production_s_manifests_before_and_after(office: Office) -> None:
    office.fork.promoted()
    office.fork.pull()
    before = office.fork.files("production")["release.yaml"].decode()
    office.fork.released(4.0)
    found = office.promote()
    body = office.only()["body"]
    diff = body.partition("```diff\n")[2].partition("\n```")[0]
    assert re.search(rf"^\+.*{found.version}", diff, re.MULTILINE)
    assert re.search(r"^-.*flightline/version", diff, re.MULTILINE)
    assert "release.yaml" not in diff
    for value in (found.identity, found.version, re.search(r"identity: (\w+)", before)[1]):
        assert value in body
    assert "train 4.0" in body


def test_a_first_release_s_diff_is_bounded(office: Office) -> None:
    made = office.fork
    made.pull()
    data = {f"key-{at}": "x" * 60 for at in range(1500)}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flightline-long"}, "data": data}
    kustomization = {"resources": ["rollout.yaml", "long.yaml"]}
    made.commit(
        "long", {"k8s/base/long.yaml": json.dumps(config), "k8s/base/kustomization.yaml": json.dumps(kustomization)}
    )
    assert made.release().outcome == "pushed"
    office.promote()
    body = office.only()["body"]
    assert len(body) < 60_000
    assert "more lines are left out here" in body


def test_gate_report_comes_from_the_verdict_that_main_s_release_names(office: Office) -> None:
    source = office.fork.timeline().release.source
    verdict = (office.fork.root / "build/verdict.json").read_bytes()
    reports.publish(office.fork.repository, f"commits/{source}", {"verdict.json": verdict})
    office.promote()
    body = office.only()["body"]
    assert "<summary>Benchmark: pass</summary>" in body
    assert f"/reports/commits/{source}/plots/" in body


def test_gate_report_that_says_something_else_is_not_shown(office: Office) -> None:
    source = office.fork.timeline().release.source
    verdict = json.loads((office.fork.root / "build/verdict.json").read_text())
    reports.publish(
        office.fork.repository,
        f"commits/{source}",
        {"verdict.json": json.dumps({**verdict, "reason": "better by 99 %"}).encode()},
    )
    office.promote()
    assert "99 %" not in office.only()["body"]
    assert "is not the one that this release was made with" in office.only()["body"]


def test_gate_report_that_is_not_there_is_said(office: Office) -> None:
    office.promote()
    assert re.search(r"Branch reports has no report of \w{12}", office.only()["body"])


def test_staging_is_told_by_the_cluster_where_it_can_be_asked(office: Office, tmp_path: Path) -> None:
    with cluster(office, {"staging": "healthy"}, tmp_path):
        office.promote()
    shown = top(office.only()["body"])
    assert "**Staging:** healthy since 20" in shown
    assert "not confirmed" not in shown


def test_cluster_that_contradicts_is_shown(office: Office, tmp_path: Path) -> None:
    """It was asked before, and has changed since the branch was prepared."""
    prepared = office.fork.promote(BRANCH)
    with cluster(office, {"staging": "inconclusive"}, tmp_path):
        pulls.ask(office.desk, "promote", prepared, lambda key, _: promotion_evidence(office.desk, key, office.environ))
    assert "**Cluster:** ⚠️ it says otherwise: inconclusive, waiting for a human" in top(office.only()["body"])


@pytest.mark.parametrize("scene", ["inconclusive", "aborted-distance", "analysing"])
def test_promotion_that_the_cluster_contradicts_is_neither_prepared_nor_asked_for(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    before = office.fork.git("ls-remote", "origin")
    with cluster(office, {"staging": scene}, tmp_path):
        code, printed = flightline(office, "promote", "--pull-request", monkeypatch=monkeypatch)
    assert (code, printed.partition(":")[0]) == (1, "refused")
    assert "is not healthy in staging, says the cluster" in printed
    assert office.played.pulls == []
    assert office.fork.git("ls-remote", "origin") == before


EVIL = "]</details>```\n## Merged by @org/admins <img src=x> [click](http://evil) fixes #1 [skip ci]"


def test_foreign_text_stays_text_in_bodies_and_messages(office: Office) -> None:
    made = office.fork
    made.pull()
    made.promoted()
    made.pull()
    made.commit(EVIL, {"docs/notes.md": "x"})
    made.released(4.0)
    office.promote()
    held = hold(made.context, "production", office.identity()[:12], EVIL, BRANCH, say)
    pulls.ask(office.desk, "hold", held)
    promotion, holding = (one["body"] for one in office.pulls())
    for body in (promotion, holding):
        outside = re.sub(r"(```+).*?\n\1", "", body, flags=re.DOTALL)
        assert "&lt;/details&gt;" in outside
        assert "<img" not in outside
        assert "@org" not in outside
        assert "](http://evil" not in outside
        assert "#1 " not in outside
        assert outside.count("<details>") == outside.count("</details>")
        assert not re.search(r"^## Merged", outside, re.MULTILINE)
    message = made.git("show", "-s", "--format=%B", str(held.commit))
    assert "[skip ci]" not in message
    assert "@org" not in message


# The command line


def flightline(office: Office, *words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    from typer.testing import CliRunner

    monkeypatch.chdir(office.fork.root)
    for name in ("FLIGHTLINE_TOKEN", "GITHUB_TOKEN", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in office.environ.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(delivery, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value or 0), done.stdout


@pytest.mark.parametrize("verb", ["rollback", "hold", "unhold"])
def test_verbs_open_a_pull_request_where_they_are_told_to(
    office: Office, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    newest = office.identity()
    if verb == "unhold":
        hold(office.fork.context, "staging", newest[:12], "slow", PUSH, say)
    words = ["--aborted"] if verb == "rollback" else []
    given = [verb, "--env", "staging", *words, newest, "--reason", "because", "--pull-request"]
    code, printed = flightline(office, *given, "--json", monkeypatch=monkeypatch)
    found = json.loads(printed)
    assert (code, found["outcome"], found["pull_request"]) == (0, "prepared", office.only()["html_url"])
    _, printed = flightline(office, *given, monkeypatch=monkeypatch)
    assert office.only()["html_url"] in printed


@pytest.mark.parametrize("other", ["--push", "--dry-run"])
def test_pull_request_goes_with_neither_push_nor_dry_run(
    office: Office, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    from typer import BadParameter

    words = ("hold", "0000000", "--env", "staging", "--reason", "x", "--pull-request", other)
    with pytest.raises(BadParameter):
        flightline(office, *words, monkeypatch=monkeypatch)
