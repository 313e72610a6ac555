import re
from pathlib import Path

import pytest
import yaml

from infra.local import rollouts
from infra.local.components import State

EVENTS = ("on-rollout-aborted", "on-rollout-completed", "on-rollout-paused")
CONFIGMAP = rollouts.NOTIFICATIONS / "configmap.yaml"


@pytest.fixture(scope="module")
def notifications() -> dict[str, str]:
    return dict(yaml.safe_load(CONFIGMAP.read_text())["data"])


def test_three_events_are_told_and_no_other(notifications: dict[str, str]) -> None:
    assert sorted(key for key in notifications if key.startswith("trigger.")) == [f"trigger.{one}" for one in EVENTS]


@pytest.mark.parametrize("event", EVENTS)
def test_what_an_event_sends_is_defined(notifications: dict[str, str], event: str) -> None:
    (condition,) = yaml.safe_load(notifications[f"trigger.{event}"])
    (template,) = condition["send"]
    assert yaml.safe_load(notifications[f"template.{template}"])["webhook"]["flightline"]["method"] == "POST"


@pytest.mark.parametrize(
    ("event", "workflow"), [("completed", "promote"), ("aborted", "reconcile"), ("paused", "reconcile")]
)
def test_event_starts_its_workflow(notifications: dict[str, str], event: str, workflow: str) -> None:
    webhook = yaml.safe_load(notifications[f"template.flightline-{event}"])["webhook"]["flightline"]
    assert webhook["path"] == f"/actions/workflows/{workflow}.yml/dispatches"


def test_every_message_has_the_same_inputs(notifications: dict[str, str]) -> None:
    """A forge refuses an input that the workflow does not declare."""
    bodies = [text for key, text in notifications.items() if key.startswith("template.")]
    fields = {tuple(re.findall(r'^\s+"(\w+)" ', body, re.MULTILINE)) for body in bodies}
    assert fields == {("event", "environment", "identity", "version", "source", "reason", "message")}


@pytest.mark.parametrize("workflow", ["promote", "reconcile"])
def test_workflow_declares_what_is_sent(notifications: dict[str, str], workflow: str) -> None:
    path = rollouts.PROJECT / f".github/workflows/{workflow}.yml"
    declared = yaml.safe_load(path.read_text())[True]["workflow_dispatch"]["inputs"]
    sent = re.findall(r'^\s+"(\w+)" ', notifications["template.flightline-paused"], re.MULTILINE)
    assert list(declared) == sent
    assert all(one.get("type", "string") == "string" for one in declared.values())


def test_message_is_cut_and_no_input_is_left_out(notifications: dict[str, str]) -> None:
    for text in (notifications["template.flightline-aborted"], notifications["template.flightline-paused"]):
        assert "toString | trunc 1000" in text
        assert text.count('| default "")') >= 4


def test_only_the_pause_has_a_condition(notifications: dict[str, str]) -> None:
    # A condition makes the controller write to the Rollout's annotations at every change of it.
    conditional = [event for event in EVENTS if "when" in yaml.safe_load(notifications[f"trigger.{event}"])[0]]
    assert conditional == ["on-rollout-paused"]


def test_address_is_in_one_place(notifications: dict[str, str]) -> None:
    wanted = set(re.findall(r"\$([\w-]+)", notifications["service.webhook.flightline"]))
    example = yaml.safe_load((rollouts.NOTIFICATIONS / "secret.example.yaml").read_text())
    local = yaml.safe_load(rollouts.notification_secret(rollouts.RECEIVER))
    assert wanted == set(example["stringData"]) == set(local["stringData"])
    assert example["metadata"] == local["metadata"]
    assert "http" not in re.sub(r"#.*", "", CONFIGMAP.read_text()).replace("webhook", "")


def test_secret_is_not_installed_with_the_rest() -> None:
    listed = yaml.safe_load((rollouts.NOTIFICATIONS / "kustomization.yaml").read_text())["resources"]
    assert listed == [CONFIGMAP.name]


def test_controller_runs_with_its_own_account(tmp_path: Path) -> None:
    state = State(tmp_path)
    (controller,) = rollouts.components(state)
    assert f"--kubeconfig={state.kubeconfig_of('argo-rollouts')}" in controller.command
    assert str(state.kubeconfig) not in controller.command


def test_local_controller_gets_the_flags_of_the_bootstrap(tmp_path: Path) -> None:
    deployment = rollouts.PROJECT / "argocd" / "bootstrap" / "argo-rollouts" / "settings" / "deployment.yaml"
    (container,) = yaml.safe_load(deployment.read_text())["spec"]["template"]["spec"]["containers"]
    (controller,) = rollouts.components(State(tmp_path))
    assert {*container["args"]} <= {*controller.command}
