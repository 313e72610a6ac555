"""What the cluster's events lead to, on real git, a forge behind HTTP and a cluster's API as it was recorded."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import reports
from pipeline.config import Settings
from pipeline.delivery import reconcile
from pipeline.delivery.cluster import Cluster, ClusterError
from pipeline.delivery.hold import hold, unhold
from pipeline.delivery.rollback import rollback
from pipeline.delivery.witness import Witness
from pipeline.errors import UnavailableError
from tests import desks
from tests.deliveries import PUSH, Fork, say
from tests.desks import Office, checks, cluster
from tests.integration.test_pull_requests import flightline, top
from tests.prometheus import playing

ABORTED = {"reason": "analysis", "message": 'Metric "errors" assessed Failed'}


@pytest.fixture
def office(three_released: Fork) -> Iterator[Office]:
    with desks.office(three_released) as made:
        yield made


def outcomes(found: object) -> list[str]:
    assert isinstance(found, tuple)
    return [one.outcome for one in found]


# Aborted


def test_abort_opens_one_pull_request_that_reverts_and_holds(office: Office) -> None:
    bad = office.identity()
    (answer,) = office.event("aborted", bad, "flightline-staging", **ABORTED)
    pull = office.only()
    assert (answer.outcome, answer.url) == ("pull request", pull["html_url"])
    assert pull["head"]["ref"] == f"rollback/staging/{bad[:12]}"
    assert 'Metric "errors" assessed Failed' in top(pull["body"])
    assert "**Cluster not confirmed:**" in top(pull["body"])
    office.merge(pull)
    assert bad in office.fork.timeline().held
    assert office.identity() != bad


def test_same_event_again_changes_neither_branch_nor_reviews(office: Office) -> None:
    bad = office.identity()
    office.event("aborted", bad, **ABORTED)
    before = office.fork.git("ls-remote", "origin")
    office.event("aborted", bad, reason="deadline", message="another one says otherwise")
    assert office.fork.git("ls-remote", "origin") == before
    assert len(office.played.pulls) == 1
    assert "otherwise" not in office.only()["body"]


def test_abort_prepared_anew_where_main_changed_beneath_it(office: Office) -> None:
    bad, older = office.identity(), [*office.fork.timeline().releases()][-1][1].identity
    office.event("aborted", bad, **ABORTED)
    before = office.only()["body"]
    hold(office.fork.context, "staging", older[:12], "old", PUSH, say)
    office.event("aborted", bad, **ABORTED)
    assert len(office.played.pulls) == 1
    office.merge(office.only())
    assert {bad, older} <= {one.identity for one in office.fork.timeline().holds}
    assert before.partition("\n")[0] == office.played.pulls[0]["body"].partition("\n")[0]


def test_cluster_confirms_an_abort_with_its_own_words(office: Office, tmp_path: Path) -> None:
    with cluster(office, {"staging": "aborted-distance"}, tmp_path):
        office.event("aborted", office.identity(), message="something else")
    body = office.only()["body"]
    assert "**Cluster:** it confirms that, since 20" in top(body)
    assert "something else" not in body
    assert "| step | score-distance | Failed |" in body


def test_abort_is_closed_when_main_has_moved_on(office: Office) -> None:
    bad = office.identity()
    office.event("aborted", bad, **ABORTED)
    office.fork.released(4.0)
    answers = office.event("aborted", bad, **ABORTED)
    assert outcomes(answers) == ["closed", "nothing"]
    assert office.pulls() == []
    ((said,),) = office.played.comments.values()
    assert f"staging has identity {office.identity()[:12]} now" in said["body"]


def test_revert_that_a_person_closed_is_not_opened_again(office: Office) -> None:
    bad = office.identity()
    office.event("aborted", bad, **ABORTED)
    office.only()["state"] = "closed"
    (answer,) = office.event("aborted", bad, **ABORTED)
    assert (answer.outcome, "a person closed #1" in answer.reason) == ("nothing", True)
    assert office.pulls() == []


def test_revert_that_a_writer_says_was_declined_is_opened(office: Office) -> None:
    """Somebody who may push opened and closed a pull request with the very line that ours would have."""
    bad = office.identity()
    office.event("aborted", bad, **ABORTED)
    pull = office.only()
    pull.update(state="closed", user={"login": "colleague"})
    assert outcomes(office.event("aborted", bad, **ABORTED)) == ["pull request"]
    assert office.only()["number"] != pull["number"]


def test_revert_that_was_superseded_is_opened_again_when_it_counts_again(office: Office) -> None:
    """Somebody went back by hand and forward again: the same identity is released anew, and aborted anew."""
    bad, older = office.identity(), [*office.fork.timeline().releases()][1][1].identity
    office.event("aborted", bad, **ABORTED)
    rollback(office.fork.context, "staging", older[:12], "by hand", PUSH, say)
    office.reconciling.tidy()
    assert office.pulls() == []
    office.fork.pull()
    office.fork.git("revert", "--no-edit", "HEAD")
    office.fork.git("push", "-q", "origin", "HEAD:main")
    assert outcomes(office.event("aborted", bad, **ABORTED)) == ["pull request"]


def test_promotion_that_a_hold_closed_is_opened_again_once_it_is_let_go(office: Office) -> None:
    released = office.identity()
    office.event("completed", released)
    hold(office.fork.context, "staging", released[:12], "drifts", PUSH, say)
    assert outcomes(office.reconciling.tidy()) == ["closed"]
    unhold(office.fork.context, "staging", released[:12], "it does not", PUSH, say)
    assert outcomes(office.event("completed", released)) == ["pull request"]
    assert [one["state"] for one in office.played.pulls] == ["open", "closed"]


def test_checks_of_the_revert_are_started_with_the_built_in_token(three_released: Fork) -> None:
    with desks.office(three_released, builtin=True) as office:
        office.event("aborted", office.identity(), **ABORTED)
        assert office.checked() == checks(office.only()["head"]["ref"])


# Forged


@pytest.mark.parametrize("event", ["aborted", "paused", "completed"])
@pytest.mark.parametrize("identity", ["0" * 64, "", "$(id)", "older"])
def test_event_about_what_main_does_not_release_does_nothing(office: Office, event: str, identity: str) -> None:
    older = [*office.fork.timeline().releases()][-1][1].identity
    before = office.fork.git("ls-remote", "origin")
    answers = office.event(event, older if identity == "older" else identity, **ABORTED)
    assert outcomes(answers) == ["nothing"]
    assert (office.played.pulls, office.played.issues) == ([], [])
    assert office.fork.git("ls-remote", "origin") == before


@pytest.mark.parametrize(("event", "env"), [("deleted", "staging"), ("aborted", "kube-system"), ("completed", "")])
def test_event_or_environment_that_is_none_does_nothing(office: Office, event: str, env: str) -> None:
    assert outcomes(office.event(event, office.identity(), env)) == ["nothing"]


@pytest.mark.parametrize(
    ("event", "scene", "says"),
    [
        ("aborted", "healthy", "Healthy"),
        ("completed", "aborted-distance", "aborted"),
        ("completed", "inconclusive", "inconclusive"),
        ("paused", "healthy", "Healthy"),
    ],
)
def test_event_that_the_cluster_contradicts_does_nothing_and_says_so(
    office: Office, tmp_path: Path, event: str, scene: str, says: str
) -> None:
    with cluster(office, {"staging": scene}, tmp_path):
        (answer,) = office.event(event, office.identity(), **ABORTED)
    assert answer.outcome == "nothing"
    assert "the cluster says otherwise" in answer.reason
    assert says in answer.reason
    assert (office.played.pulls, office.played.issues) == ([], [])


# Completed


def test_completed_staging_opens_the_promotion(office: Office, tmp_path: Path) -> None:
    with cluster(office, {"staging": "healthy"}, tmp_path):
        (answer,) = office.event("completed", office.identity(), "flightline-staging")
    assert (answer.outcome, answer.environment) == ("pull request", "production")
    assert office.only()["head"]["ref"] == f"promote/{office.identity()[:12]}"
    assert "**Staging:** healthy since" in top(office.only()["body"])


def test_completed_production_starts_nothing(office: Office) -> None:
    office.fork.promoted()
    (answer,) = office.event("completed", office.identity("production"), "flightline-production")
    assert (answer.outcome, answer.reason) == ("nothing", "production is the last environment")


def test_completed_twice_is_one_promotion_and_none_once_merged(office: Office) -> None:
    for _ in range(2):
        office.event("completed", office.identity())
    office.merge(office.only())
    (answer,) = office.event("completed", office.identity())
    assert (answer.outcome, len(office.played.pulls)) == ("nothing", 1)


def test_held_release_is_not_promoted_and_the_reason_is_said(office: Office) -> None:
    hold(office.fork.context, "production", office.identity()[:12], "not before Monday", PUSH, say)
    (answer,) = office.event("completed", office.identity())
    assert (answer.outcome, "not before Monday" in answer.reason) == ("refused", True)
    assert office.played.pulls == []


def test_freeze_stops_a_promotion_and_no_revert(office: Office) -> None:
    office.fork.pull()
    office.fork.commit("freeze", {"k8s/freeze.yaml": "- reason: the fair\n"})
    refused = office.event("completed", office.identity())[-1]
    assert (refused.outcome, "the fair" in refused.reason) == ("refused", True)
    assert outcomes(office.event("aborted", office.identity(), **ABORTED)) == ["pull request"]


def test_release_that_comes_while_the_cluster_is_asked_is_not_promoted_unasked(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What completed is confirmed; then main moves on, and the branch would be of what nobody has asked about."""
    first, asked = office.identity(), reconcile.ask

    def slowly(*words: Any) -> Witness:
        found = asked(*words)
        if office.identity() == first:
            office.fork.pull()
            office.fork.released(4.0)
        return found

    monkeypatch.setattr(reconcile, "ask", slowly)
    with cluster(office, {"staging": "healthy"}, tmp_path):
        (answer,) = office.event("completed", first)
    assert (answer.outcome, office.played.pulls) == ("refused", [])


# Paused


def test_pause_is_one_issue_that_goes_when_the_pause_has_ended(office: Office, tmp_path: Path) -> None:
    bad = office.identity()
    with cluster(office, {"staging": "inconclusive"}, tmp_path):
        for _ in range(2):
            (answer,) = office.event("paused", bad, reason="inconclusive", message="requests")
    (issue,) = office.played.issues
    assert (answer.outcome, answer.url) == ("issue", issue["html_url"])
    assert f"flightline resume --env staging --identity {bad[:12]}" in issue["body"]
    assert "it confirms that" in issue["body"]
    with cluster(office, {"staging": "aborted-distance"}, tmp_path):
        office.event("aborted", bad, **ABORTED)
    assert issue["state"] == "closed"
    assert "aborted" in office.played.comments[issue["number"]][0]["body"]


@pytest.mark.parametrize("event", ["completed", "aborted"])
def test_pause_that_only_a_message_ends_stays_open(office: Office, tmp_path: Path, event: str) -> None:
    with cluster(office, {"staging": "inconclusive"}, tmp_path):
        office.event("paused", office.identity())
    office.event(event, office.identity(), **ABORTED)
    assert [one["state"] for one in office.played.issues] == ["open"]


def test_pause_of_what_is_no_longer_released_is_closed(office: Office) -> None:
    office.event("paused", office.identity(), reason="inconclusive")
    office.fork.released(4.0)
    (closed,) = office.reconciling.tidy()
    assert closed.outcome == "closed"
    assert [one["state"] for one in office.played.issues] == ["closed"]


# Pictures


def test_pictures_of_the_canary_are_published_and_shown(office: Office) -> None:
    bad = office.identity()
    released = float(office.fork.git("log", "-1", "--format=%ct", "origin/main"))
    with playing(released) as address:
        office.environ["FLIGHTLINE_PROMETHEUS"] = address
        office.event("aborted", bad, **ABORTED)
    body = office.only()["body"]
    for name in ("errors", "p95", "distance"):
        path = f"aborted/staging/{bad[:12]}/{name}.png"
        assert f"/raw/branch/reports/{path})" in body
        assert (reports.read(office.fork.repository, path) or b"").startswith(b"\x89PNG")


def test_revert_comes_without_pictures_where_prometheus_is_out_of_reach(office: Office) -> None:
    office.environ["FLIGHTLINE_PROMETHEUS"] = "http://127.0.0.1:9"
    assert outcomes(office.event("aborted", office.identity(), **ABORTED)) == ["pull request"]
    assert "There are no pictures" in office.only()["body"]


# Without a cluster that calls out


def test_poll_does_what_the_events_would_have_done(office: Office, tmp_path: Path) -> None:
    office.fork.promoted()
    office.fork.pull()
    office.fork.released(4.0)
    with cluster(office, {"staging": "healthy", "production": "aborted-distance"}, tmp_path):
        found = office.reconciling.poll()
    assert [(one.outcome, one.environment) for one in found[-2:]] == [
        ("refused", "production"),
        ("pull request", "production"),
    ]
    assert "no earlier release" in found[-2].reason
    assert office.only()["head"]["ref"].startswith("promote/")


def promoted_twice(office: Office) -> None:
    """Production has a release to go back to, and staging one more to promote."""
    for bias in (4.0, 5.0):
        office.fork.promoted()
        office.fork.released(bias)


def test_promotion_that_cannot_be_made_keeps_no_abort_waiting(office: Office, tmp_path: Path) -> None:
    """The bundle to promote is nowhere: this checkout has none, and the trusted remote is away."""
    promoted_twice(office)
    shutil.rmtree(office.fork.root / "build/bundle")
    (office.fork.remote.parent / "trusted").rename(tmp_path / "away")
    scenes = {"staging": "healthy", "production": "aborted-distance"}
    with cluster(office, scenes, tmp_path), pytest.raises(UnavailableError, match="trusted"):
        office.reconciling.poll()
    assert office.only()["head"]["ref"] == f"rollback/production/{office.identity('production')[:12]}"
    assert any(one.startswith("staging: ") and "trusted" in one for one in office.told)


def test_environment_that_cannot_be_looked_at_keeps_no_other_waiting(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted_twice(office)
    looked = reconcile.look

    def failing(cluster: Cluster, settings: Settings, env: str, identity: str) -> Witness:
        if env == "staging":
            raise ClusterError("staging's namespace is forbidden")
        return looked(cluster, settings, env, identity)

    monkeypatch.setattr(reconcile, "look", failing)
    with cluster(office, {"production": "aborted-distance"}, tmp_path), pytest.raises(ClusterError, match="forbidden"):
        office.reconciling.poll()
    assert office.only()["head"]["ref"].startswith("rollback/production/")


def test_poll_names_every_fault(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office.fork.promoted()

    def failing(_: Cluster, __: Settings, env: str, ___: str) -> Witness:
        raise ClusterError(f"no word on {env}")

    monkeypatch.setattr(reconcile, "look", failing)
    both = "staging: no word on staging; production: no word on production"
    with cluster(office, {}, tmp_path), pytest.raises(UnavailableError, match=both):
        office.reconciling.poll()


def test_poll_again_writes_nothing(office: Office, tmp_path: Path) -> None:
    released = float(office.fork.git("log", "-1", "--format=%ct", "origin/main"))
    with cluster(office, {"staging": "aborted-distance"}, tmp_path), playing(released) as address:
        office.environ["FLIGHTLINE_PROMETHEUS"] = address
        office.reconciling.poll()
        asked = len(office.played.said("POST") + office.played.said("PATCH"))
        before = office.fork.git("ls-remote", "origin")
        assert outcomes(office.reconciling.poll()) == ["pull request"]
    assert len(office.played.said("POST") + office.played.said("PATCH")) == asked
    assert office.fork.git("ls-remote", "origin") == before


def test_poll_confirms_what_an_event_alone_had_opened(office: Office, tmp_path: Path) -> None:
    office.event("aborted", office.identity(), **ABORTED)
    with cluster(office, {"staging": "aborted-distance"}, tmp_path):
        office.reconciling.poll()
    assert "**Cluster:** it confirms that" in office.only()["body"]


def test_poll_of_a_rollout_under_way_does_nothing(office: Office, tmp_path: Path) -> None:
    with cluster(office, {"staging": "analysing"}, tmp_path):
        assert outcomes(office.reconciling.poll()) == ["nothing"]
    assert (office.played.pulls, office.played.issues) == ([], [])


def test_poll_needs_a_cluster(office: Office, tmp_path: Path) -> None:
    from tests.unit.pipeline.delivery import api

    with api.configured(tmp_path / "none"), pytest.raises(ClusterError, match="KUBECONFIG"):
        office.reconciling.poll()


# The command line


def test_event_on_the_command_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--env", "flightline-staging", "--identity", office.identity(), "--event", "aborted")
    code, printed = flightline(office, "reconcile", *words, "--reason", "analysis", "--json", monkeypatch=monkeypatch)
    (answer,) = json.loads(printed)
    assert (code, answer["outcome"], answer["url"]) == (0, "pull request", office.only()["html_url"])
    code, printed = flightline(office, "reconcile", monkeypatch=monkeypatch)
    assert (code, printed) == (0, "nothing to do\n")


@pytest.mark.parametrize("words", [("--event", "aborted"), ("--env", "staging"), ("--poll", "--env", "staging")])
def test_half_an_event_is_wrong_usage(office: Office, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    from typer import BadParameter

    with pytest.raises(BadParameter):
        flightline(office, "reconcile", *words, monkeypatch=monkeypatch)
