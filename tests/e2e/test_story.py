"""A release's whole life on a real cluster, under load. One story: each chapter starts where the last one ended."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from infra.local import page, users
from infra.local.watch import ENVIRONMENTS, ROLLOUT, aborted, healthy, namespace
from tests.e2e.alarms import PROMETHEUS, decayed
from tests.e2e.dashboards import unanswered
from tests.e2e.figures import held_to_their_limits
from tests.e2e.team import ROLLOUT_FILE
from tests.e2e.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ABORTED, REVERTED = 30.0, 10.0
# A canary has half of the pods at most; a share of requests above that was not the canary's doing.
BROKEN = {"slow": 0.0, "failing": 0.5 / 20, "shifted": 0.0}


def test_01_first_release_reaches_staging_and_production(world: World) -> None:
    with world.timeline.chapter("1 first release, no outside load"):
        world.images["a"] = world.append("code")
        released = world.release("a")
        world.until("staging is healthy", lambda: healthy(world.rollout("staging"), released))
        world.until("staging brings its own traffic", lambda: world.asked("staging") > 0)
        released = world.promote()
        world.until("production is healthy", lambda: healthy(world.rollout("production"), released))
        world.until("production has its three pods", lambda: world.ready("production") == 3)
        for environment in ENVIRONMENTS:
            world.until(f"{environment} is in step", lambda env=environment: world.in_step(env), 30)
        world.open("production")


def test_02_better_model_is_promoted_by_its_analysis(world: World) -> None:
    with world.timeline.chapter("2 a better model"):
        world.train(data={"end": "2013-05-31"})
        world.open("production")
        world.images["b"] = world.append("code")
        released = world.release("b")
        world.takes_traffic("staging", released)
        world.build_ahead("slow", "failing", "shifted", "harmless")
        world.until("its own traffic carries it", lambda: healthy(world.rollout("staging"), released), 120)
        assert world.analysis("staging")["phase"] == "Successful"
        released = world.promote()
        world.takes_traffic("production", released)
        world.until("production promotes it", lambda: healthy(world.rollout("production"), released), 150)
        assert world.analysis("production")["phase"] == "Successful"
        assert world.notified("production", "completed", released)
        _small_and_quick(world)
        world.open("staging")


def _small_and_quick(world: World) -> None:
    pod = world.pods("production")[0]
    world.timeline.figure("a pod's resident memory", world.memory(pod) / 1e6, 120, "MB")
    world.timeline.figure("a pod's start to ready", world.start_to_ready(pod), 3)
    layers = json.loads(world.flightline("image", "inspect", world.images["b"], "--json").stdout)["layers"]
    world.timeline.figure("a new model's layer", layers[-1] / 1e6, 1, "MB")


@pytest.mark.parametrize(("fault", "signal"), [("slow", "p95"), ("failing", "errors"), ("shifted", "ks")])
def test_03_bad_release_is_aborted_by_the_signal_it_should_be(world: World, fault: str, signal: str) -> None:
    with world.timeline.chapter(f"3 a release that is {fault}"):
        before = world.released("staging")["identity"]
        world.change(fault)
        world.images[fault] = world.append(f"code-{fault}")
        released = world.release(fault)
        first = world.takes_traffic("staging", released)
        world.until("it is aborted", lambda: aborted(world.rollout("staging"), released))
        world.timeline.figure("bad canary: first traffic to abort", time.time() - first, ABORTED)
        assert signal in world.failed_metrics("staging")
        assert world.notified("staging", "aborted", released)
        world.revert_aborted("staging", released)
        world.until("all traffic is stable", lambda: healthy(world.rollout("staging"), before))
        world.timeline.figure("aborted: revert to all stable", time.time() - world.pushed, REVERTED)
        assert released in world.held("staging")
        _only_the_canary_failed(world, fault, first)
        world.undo(fault)


def _only_the_canary_failed(world: World, fault: str, start: float) -> None:
    """Since its first traffic only the canary's own answers were errors, and no more of them than its share."""
    now = time.time()
    lost, sent = world.failed("staging", start, now), world.sent("staging", start, now)
    assert {one["status"] for one in lost} <= {500}, lost[:5]
    assert len(lost) <= BROKEN[fault] * len(sent), lost[:5]
    world.excuse("staging", start, now)


def test_04_unrelated_commits_and_a_healthy_staging_release_nothing(world: World) -> None:
    with world.timeline.chapter("4 nothing to release"):
        for number in range(10):
            world.note(f"Note {number}")
        head = world.head()
        assert "nothing" in world.flightline("release", "--image", world.images["b"], "--push").stdout
        assert "nothing" in world.flightline("promote").stdout
        assert world.head() == head
        world.change("slow")
        refused = world.flightline("release", "--image", world.images["slow"], "--push", check=False)
        assert refused.returncode == 1, refused
        assert "held" in refused.stdout + refused.stderr
        world.undo("slow")


def test_05_canary_without_traffic_is_never_promoted(world: World) -> None:
    with world.timeline.chapter("5 no traffic: inconclusive"):
        first = _released_anew(world, "110m")
        second = _paused_in_production(world, first, following="115m")
        world.flightline("abort", "--env", "production")
        _ended_and_reverted(world, first)
        third = _paused_in_production(world, second, following="120m")
        # Its schedule is left out, not what it may do: its own account, Role and way to the API server.
        job = ("create", "job", "--from=cronjob/flightline-deadline", "deadline-now")
        world.kubectl("--namespace", namespace("production"), *job)
        _ended_and_reverted(world, second)
        _paused_in_production(world, third)
        world.flightline("resume", "--env", "production")
        world.until("a person let it go on", lambda: healthy(world.rollout("production"), third))


def _released_anew(world: World, cpu: str) -> str:
    """The same image with another request: another identity, on its way through staging."""
    world.set_request(cpu)
    return world.release("b")


def _ended_and_reverted(world: World, released: str) -> None:
    world.until("it is ended", lambda: aborted(world.rollout("production"), released), 60)
    world.revert_aborted("production", released)
    world.until("production is as before", lambda: world.rollout("production")["status"]["phase"] == "Healthy")


def _paused_in_production(world: World, released: str, following: str = "") -> str:
    """Promote what staging has, with nobody asking; what goes through staging after it, meanwhile."""
    world.until("staging is healthy", lambda: healthy(world.rollout("staging"), released), 150)
    with world.quiet("production"):
        assert world.promote() == released
        after = _released_anew(world, following) if following else ""
        world.until("it is paused as inconclusive", lambda: world.inconclusive("production"), 150)
        assert world.notified("production", "paused", released)
        waits = world.flightline("status", "--env", "production", check=False)
        assert waits.returncode == 2, waits
        assert "nconclusive" in waits.stdout
        status = world.rollout("production")["status"]
        assert status["stableRS"] != status["currentPodHash"]
    return after


def test_06_git_revert_and_rollback_need_no_rebuild(world: World) -> None:
    with world.timeline.chapter("6 back, by git revert and by rollback"):
        first, newest = world.history("production")[0], world.released("production")["identity"]
        reverted = world.revert_newest("production")
        assert newest != reverted
        world.until("production follows the revert", lambda: healthy(world.rollout("production"), reverted))
        world.timeline.figure("git revert to all stable", time.time() - world.pushed, REVERTED)
        world.rollback("production", first)
        world.until("production follows the rollback", lambda: healthy(world.rollout("production"), first), 150)
        assert reverted in world.held("production")


def test_07_bad_change_of_the_manifests_stops_at_staging(world: World) -> None:
    with world.timeline.chapter("7 a bad change of k8s/base"):
        before = _production_objects(world)
        world.edit(ROLLOUT_FILE, "path: /readyz", "path: /nowhere")
        released = world.release("b")
        world.until("the deadline aborts it", lambda: aborted(world.rollout("staging"), released), 120)
        assert _production_objects(world) == before
        world.revert_aborted("staging", released)
        world.until("staging is as before", lambda: world.rollout("staging")["status"]["phase"] == "Healthy")
        world.edit(ROLLOUT_FILE, "path: /nowhere", "path: /readyz")


def _production_objects(world: World) -> dict[str, str]:
    """What a change of staging must not touch: name -> what it says."""
    kinds = ("rollouts", "services", "configmaps", "networkpolicies", "analysistemplates", "poddisruptionbudgets")
    listed = [(kind, one) for kind in kinds for one in world.get("production", kind)["items"]]
    return {f"{kind}/{one['metadata']['name']}": json.dumps(one.get("spec", one.get("data"))) for kind, one in listed}


def test_08_hand_edit_is_healed_and_the_autoscaler_is_left_alone(world: World) -> None:
    with world.timeline.chapter("8 live objects edited by hand"):
        _patch(world, "poddisruptionbudgets", '{"spec":{"maxUnavailable":3}}')
        world.until("the budget is healed", lambda: _spec(world, "poddisruptionbudgets")["maxUnavailable"] == 1)
        _patch(world, "horizontalpodautoscalers", '{"spec":{"minReplicas":4}}')
        world.until("the autoscaler is healed", lambda: _spec(world, "horizontalpodautoscalers")["minReplicas"] == 3)
        world.kubectl("--namespace", namespace("production"), "scale", ROLLOUT, "--replicas=4")
        time.sleep(15)
        # 4, or 3 again where the autoscaler thought so; Argo CD has no say in it and finds nothing to heal.
        assert _spec(world, "rollouts")["replicas"] in (3, 4)
        assert "f:replicas" not in json.dumps(world.applied_fields("production")["f:spec"])
        assert world.in_step("production")


def _patch(world: World, kind: str, patch: str) -> None:
    world.kubectl("--namespace", namespace("production"), "patch", kind, "flightline", "--type=merge", "-p", patch)


def _spec(world: World, kind: str) -> dict[str, object]:
    return dict(world.get("production", kind, "flightline")["spec"])


def test_09_lost_pods_and_a_drained_node_cost_only_what_a_crashed_server_was_answering(world: World) -> None:
    with world.timeline.chapter("9 a pod killed, a container crashed, the node drained"):
        where, pods = ("--namespace", namespace("production")), world.pods("production")
        world.kubectl(*where, "delete", "pod", pods[0], "--wait=false")
        world.until("the pod is replaced", lambda: world.ready("production") >= 3)
        crashed = world.crash(pods[1])
        world.until("the container was restarted", lambda: world.restarts("production", pods[1]) == 1, 30)
        world.until("the container is back", lambda: world.ready("production") >= 3)
        assert "disruption budget" in world.drain(seconds=15)
        assert world.ready("production") >= 2
        world.uncordon()
        world.until("all pods are back", lambda: world.ready("production") >= 3)
        _only_what_was_being_answered(world, crashed)


def _only_what_was_being_answered(world: World, crashed: float) -> None:
    """No process answers after SIGKILL: a request that it had begun is lost, at most one of each user."""
    span = (crashed - 1.0, crashed + 0.2)
    assert len(world.failed("production", *span)) <= users.WORKERS
    world.excuse("production", *span)


@pytest.mark.parametrize(
    "away",
    [
        ("prometheus", "git"),
        pytest.param(("registry",), marks=pytest.mark.nightly),
        pytest.param(("argocd-repo-server",), marks=pytest.mark.nightly),
        pytest.param(("argo-rollouts",), marks=pytest.mark.nightly),
        pytest.param(("apiserver",), marks=pytest.mark.nightly),
    ],
    ids=" and ".join,
)
def test_10_parts_go_away_in_the_middle_and_come_back(world: World, away: tuple[str, ...]) -> None:
    with world.timeline.chapter(f"10 a minute without {' and '.join(away)}"):
        world.set_request(f"{200 + len(away[0])}m")
        released = world.release("b")
        world.takes_traffic("staging", released)
        with world.without(*away):
            time.sleep(60)
        assert not aborted(world.rollout("staging"), released)
        world.until("it is promoted after all", lambda: healthy(world.rollout("staging"), released), 150)


def test_11_concurrent_late_and_repeated_releases(world: World) -> None:
    with world.timeline.chapter("11 two at once, one late, one twice"):
        older = world.clone("older")
        world.set_request("140m")
        newer = world.clone("newer")
        release = ("flightline", "release", "--image", world.images["b"], "--push", "--json")
        both = [newer.start(*release), world.fork.start(*release)]
        outcomes = sorted(json.loads(one.communicate()[0].splitlines()[-1])["outcome"] for one in both)
        # Of two within one second both make the very same commit, and both may say that they pushed it.
        assert outcomes in (["nothing", "pushed"], ["pushed", "pushed"])
        before = newer.run("git", "rev-parse", "HEAD").stdout.strip()
        identity = world.released("staging")["identity"]
        assert world.git("rev-list", "--count", f"{before}..origin/main") == "1"
        late = older.run(*release, check=False)
        assert late.returncode == 1, late.stdout
        assert world.released("staging")["identity"] == identity
        world.follow()
        assert "nothing" in world.flightline("release", "--image", world.images["b"], "--push").stdout
        world.until("staging is healthy", lambda: healthy(world.rollout("staging"), identity), 150)


def test_12_image_that_the_registry_lost_is_aborted_by_the_deadline(world: World) -> None:
    with world.timeline.chapter("12 a digest the registry does not have"):
        world.change("harmless")
        world.images["lost"] = world.append("code-harmless")
        branch = json.loads(world.flightline("release", "--image", world.images["lost"], "--json").stdout)["branch"]
        world.lose(world.images["lost"])
        released = world.merge(branch, "staging")
        world.until("the reason is shown", lambda: "Image" in world.describe(), 60)
        world.until("the deadline aborts it", lambda: aborted(world.rollout("staging"), released), 120)
        world.revert_aborted("staging", released)
        world.until("staging is as before", lambda: world.rollout("staging")["status"]["phase"] == "Healthy")


def test_13_an_alert_reaches_whom_it_concerns_and_every_panel_has_an_answer(world: World) -> None:
    """The rules and routes of this repository in a real Prometheus and Alertmanager; decay is as monitoring says it."""
    with world.timeline.chapter("13 an alert, from a figure to whom it concerns"), decayed(world) as told:
        world.until("retraining is told", lambda: told("retraining"))
        world.until("people are told", lambda: "FlightlineDecay" in _alerts(told("tickets")))
        world.until("every panel of the dashboards has an answer", lambda: not unanswered(PROMETHEUS))
        (started,) = told("retraining")
    assert started["status"] == "firing"
    assert started["commonLabels"].items() >= {"alertname": "FlightlineDecay", "env": "production"}.items()


def _alerts(notifications: list[dict[str, Any]]) -> set[str]:
    return {alert["labels"]["alertname"] for one in notifications for alert in one["alerts"]}


def test_14_no_request_failed_but_those_a_bad_canary_broke(world: World) -> None:
    assert len(world.traffic()) > 1000
    assert not world.unexcused(), world.unexcused()[:10]


def test_15_every_figure_is_within_its_limit(world: World, pytestconfig: pytest.Config) -> None:
    held_to_their_limits(world.timeline, pytestconfig)


def test_16_story_is_told_as_a_page(world: World) -> None:
    world.timeline.write(world.folder)
    assert "<svg" in page.render(world.folder).read_text()
    assert Path(world.folder / "timeline.json").stat().st_size > 0
