"""What resume and abort send, decided on Rollouts as the real controller wrote them (recorded/README.md)."""

from pathlib import Path

import pytest

from pipeline.delivery import control
from pipeline.delivery.cluster import Names
from pipeline.delivery.control import Patches
from pipeline.delivery.models import DeliveryError
from tests.unit.pipeline.delivery import api
from tests.unit.pipeline.delivery.recorded import rollout


def test_resume_goes_past_an_inconclusive_analysis_to_the_next_step() -> None:
    """As `kubectl argo rollouts promote` does: else a pause that follows would keep the rollout where it is."""
    patches = control.resuming(rollout("inconclusive"))
    assert patches == Patches(
        status={"status": {"pauseConditions": None, "controllerPause": False, "currentStepIndex": 3}}
    )


def test_resume_ends_a_pause_and_leaves_the_step_to_the_controller() -> None:
    assert control.resuming(rollout("pause-without-end")) == Patches(status={"status": {"pauseConditions": None}})


def test_resume_undoes_a_pause_by_hand() -> None:
    paused = rollout("analysing")
    paused["spec"]["paused"] = True
    assert control.resuming(paused) == Patches(spec={"spec": {"paused": False}})


def test_next_step_is_never_beyond_the_last() -> None:
    last = rollout("inconclusive")
    last["status"]["currentStepIndex"] = 5
    assert control.resuming(last).status == {
        "status": {"pauseConditions": None, "controllerPause": False, "currentStepIndex": 5}
    }


@pytest.mark.parametrize("scene", ["healthy", "analysing", "image-missing"])
def test_resume_is_refused_where_nothing_is_paused(scene: str) -> None:
    """Promoting a running analysis would skip it."""
    with pytest.raises(DeliveryError, match="not paused: nothing to resume"):
        control.resuming(rollout(scene))


def test_resume_is_refused_after_an_abort() -> None:
    with pytest.raises(DeliveryError, match="was aborted; release anew"):
        control.resuming(rollout("aborted-distance"))


@pytest.mark.parametrize("scene", ["inconclusive", "pause-without-end", "timed-pause", "analysing", "image-missing"])
def test_abort_is_sent_while_something_rolls_out(scene: str) -> None:
    assert control.aborting(rollout(scene)) == Patches(status={"status": {"abort": True}})


@pytest.mark.parametrize("scene", ["healthy", "reverted"])
def test_abort_is_refused_where_nothing_rolls_out(scene: str) -> None:
    with pytest.raises(DeliveryError, match="not rolling out: nothing to abort"):
        control.aborting(rollout(scene))


def test_second_abort_is_refused() -> None:
    with pytest.raises(DeliveryError, match="was aborted already"):
        control.aborting(rollout("aborted-by-hand"))


def test_abort_is_refused_where_there_is_nothing_to_go_back_to() -> None:
    first = rollout("image-missing")
    first["status"]["stableRS"] = ""
    with pytest.raises(DeliveryError, match="no stable version to go back to"):
        control.aborting(first)


def test_reason_is_kept_with_the_identity_it_is_about() -> None:
    told = control.aborting(rollout("inconclusive"), "answers look odd").metadata
    assert told == {"metadata": {"annotations": {"flightline/abort-reason": f"{'c' * 12} answers look odd"}}}


def test_reason_for_another_identity_says_nothing() -> None:
    assert control.abort_reason(rollout("aborted-by-hand")) == "answers look odd to me"
    assert control.abort_reason(rollout("reverted")) == ""


NAMES = Names("flightline-staging", "flightline-staging", "flightline")
PATH = "/apis/argoproj.io/v1alpha1/namespaces/flightline-staging/rollouts/flightline"


def test_rollout_that_moved_on_is_looked_at_again(tmp_path: Path) -> None:
    with api.serving({PATH: rollout("inconclusive")}, tmp_path, changes=2) as server:
        assert control.abort(server.cluster, NAMES, "c" * 64, "odd") == "c" * 64
    assert [path for path, _ in server.patches] == [PATH, f"{PATH}/status"]
    assert server.objects[PATH]["status"]["abort"] is True
    assert server.objects[PATH]["metadata"]["annotations"]["flightline/abort-reason"] == f"{'c' * 12} odd"


def test_rollout_that_took_the_place_of_the_one_looked_at_is_left_alone(tmp_path: Path) -> None:
    """It is the identity that was judged that is aborted, or none."""
    newer = rollout("analysing")
    assert newer["metadata"]["resourceVersion"] != rollout("inconclusive")["metadata"]["resourceVersion"]
    with api.serving({PATH: rollout("inconclusive")}, tmp_path) as server:
        server.then = {PATH: newer}
        with pytest.raises(DeliveryError, match="was meant, bbbb"):
            control.abort(server.cluster, NAMES, "c" * 64)
    assert server.patches == []


def test_rollout_that_never_rests_is_left_alone(tmp_path: Path) -> None:
    with (
        api.serving({PATH: rollout("inconclusive")}, tmp_path, changes=100) as server,
        pytest.raises(DeliveryError, match="changed 10 times"),
    ):
        control.abort(server.cluster, NAMES)
    assert server.patches == []


def test_resume_reaches_the_status_alone(tmp_path: Path) -> None:
    with api.serving({PATH: rollout("inconclusive")}, tmp_path) as server:
        assert control.resume(server.cluster, NAMES, "c" * 12) == "c" * 64
    assert [path for path, _ in server.patches] == [f"{PATH}/status"]
    status = server.objects[PATH]["status"]
    assert ("pauseConditions" in status, status["controllerPause"], status["currentStepIndex"]) == (False, False, 3)


@pytest.mark.parametrize("identity", ["d" * 64, "d" * 12, "ccc"])
def test_identity_that_is_not_the_one_rolling_is_refused(identity: str, tmp_path: Path) -> None:
    with (
        api.serving({PATH: rollout("inconclusive")}, tmp_path) as server,
        pytest.raises(DeliveryError, match=f"identity '{identity}'.* was meant, {'c' * 64} is rolling out"),
    ):
        control.resume(server.cluster, NAMES, identity)
    assert server.patches == []


def test_change_that_the_controller_has_not_seen_is_waited_for(tmp_path: Path) -> None:
    newer = rollout("inconclusive")
    newer["metadata"]["generation"] += 1
    with (
        api.serving({PATH: newer}, tmp_path) as server,
        pytest.raises(DeliveryError, match="has not seen the newest change"),
    ):
        control.abort(server.cluster, NAMES)


def test_rollout_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        api.serving({}, tmp_path) as server,
        pytest.raises(DeliveryError, match="flightline-staging: there is no rollout 'flightline'"),
    ):
        control.resume(server.cluster, NAMES)
