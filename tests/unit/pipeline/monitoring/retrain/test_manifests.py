"""One list of steps, two engines: both carry out the same commands in the same order, with nothing they do not need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import ConfigError, read_settings
from pipeline.monitoring.retrain import manifests
from pipeline.monitoring.retrain.config import Place, Retrain
from pipeline.monitoring.retrain.steps import HOLDER, NAMES, STEPS

PROJECT = Path(__file__).resolve().parents[5]
SETTINGS = read_settings(PROJECT)
PLAIN = Retrain()
SPOT = Retrain(spot=Place(node_selector={"pool": "spot"}, tolerations=({"key": "spot", "operator": "Exists"},)))


def job(retrain: Retrain = PLAIN) -> dict[str, Any]:
    return manifests.cron_job(SETTINGS, retrain)["spec"]["jobTemplate"]["spec"]


def pod(retrain: Retrain = PLAIN) -> dict[str, Any]:
    return job(retrain)["template"]["spec"]


def templates(retrain: Retrain = PLAIN) -> dict[str, dict[str, Any]]:
    listed = manifests.workflow_template(SETTINGS, retrain)["spec"]["templates"]
    return {one["name"]: one for one in listed}


def test_files_in_git_are_as_the_steps_render_them() -> None:
    assert manifests.differing(PROJECT) == ()


def test_steps_are_in_the_order_that_they_need_each_other() -> None:
    assert [one.name for one in STEPS] == list(NAMES)
    assert [one.needs for one in STEPS] == [(), *((name,) for name in NAMES[:-1])]


def test_both_engines_run_the_same_commands_in_the_same_order() -> None:
    containers = [*pod()["initContainers"], *pod()["containers"]]
    made = templates()
    tasks = made["retrain"]["dag"]["tasks"]
    assert [one["name"] for one in containers] == [one["name"] for one in tasks] == list(NAMES)
    assert [one["args"] for one in containers] == [made[name]["container"]["args"] for name in NAMES]
    assert all(one["args"][:3] == ["retrain", "--step", one["name"]] for one in containers)


def test_each_step_has_the_resources_of_the_list_in_both() -> None:
    for step, one in zip(STEPS, [*pod()["initContainers"], *pod()["containers"]], strict=True):
        wanted = {"cpu": step.resources.cpu, "memory": step.resources.memory}
        assert one["resources"]["requests"] == wanted
        assert templates()[step.name]["container"]["resources"]["requests"] == wanted


def test_nothing_follows_a_decision_not_to_go() -> None:
    made = templates()
    assert made["decide"]["outputs"]["parameters"][0]["valueFrom"]["path"] == manifests.GOES
    for task in made["retrain"]["dag"]["tasks"][1:]:
        assert task["when"] == "{{tasks.decide.outputs.parameters.goes}} == true"


def test_eviction_is_tried_again_and_a_refusal_is_not() -> None:
    ignored, final = job()["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (final["action"], final["onExitCodes"]["values"]) == ("FailJob", [1, 64, 65])
    assert pod()["restartPolicy"] == "Never"
    for step in STEPS:
        again = templates()[step.name]["retryStrategy"]
        assert again["limit"] == str(step.retries)
        assert again["expression"] == "!(asInt(lastRetry.exitCode) in [1, 64, 65])"
        # Argo counts it from the start of the first try, and ends the tries themselves.
        assert "maxDuration" not in again["backoff"]


def test_two_at_once_are_kept_apart_by_both() -> None:
    assert manifests.cron_job(SETTINGS, Retrain())["spec"]["concurrencyPolicy"] == "Forbid"
    assert manifests.cron_workflow(SETTINGS, Retrain())["spec"]["concurrencyPolicy"] == "Forbid"
    held = manifests.workflow_template(SETTINGS, Retrain())["spec"]["synchronization"]
    assert held == {"mutexes": [{"name": "flightline-retraining"}]}


def test_what_has_ended_goes_after_a_week_in_both() -> None:
    ended = manifests.workflow_template(SETTINGS, Retrain())["spec"]["ttlStrategy"]["secondsAfterCompletion"]
    assert job()["ttlSecondsAfterFinished"] == ended == 7 * 24 * 3600


def test_the_step_that_trains_goes_to_spot_nodes_and_the_gate_does_not() -> None:
    assert pod(SPOT)["nodeSelector"] == {"pool": "spot"}
    assert templates(SPOT)["reproduce"]["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert "nodeSelector" not in templates(SPOT)["gate"]
    assert "nodeSelector" not in pod()


def test_no_step_has_a_token_of_kubernetes_or_a_right_on_its_node() -> None:
    spec = manifests.workflow_template(SETTINGS, Retrain())["spec"]
    assert pod()["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is False
    for one in [*pod()["initContainers"], *pod()["containers"], *(templates()[name]["container"] for name in NAMES)]:
        held = one["securityContext"]
        assert (held["readOnlyRootFilesystem"], held["allowPrivilegeEscalation"]) == (True, False)
        assert held["capabilities"] == {"drop": ["ALL"]}


def test_workflow_names_the_entry_point_of_the_image() -> None:
    """Argo asks the image's registry otherwise, which it may not be allowed to read."""
    (entry,) = re.findall(r'(?m)^ENTRYPOINT \["(.+)"\]$', (PROJECT / "infra/images/training.Dockerfile").read_text())
    assert all(templates()[name]["container"]["command"] == [entry] for name in NAMES)


def test_executor_has_the_token_that_argo_mounts() -> None:
    """A pod of Argo waits for ever for a Secret of this name, which Kubernetes makes for no account by itself."""
    account = manifests.workflow_template(SETTINGS, Retrain())["spec"]["executor"]["serviceAccountName"]
    objects = yaml.safe_load_all((PROJECT / manifests.FOLDER / "workflow/rbac.yaml").read_text())
    (secret,) = (one for one in objects if one["kind"] == "Secret")
    assert secret["metadata"]["name"] == f"{account}.service-account-token"
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": account}
    assert secret["type"] == "kubernetes.io/service-account-token"


def test_argos_own_containers_are_confined_as_the_namespace_asks() -> None:
    """Argo gives them no security context, and a namespace that enforces "restricted" then refuses the pod."""
    patch = yaml.safe_load(manifests.workflow_template(SETTINGS, Retrain())["spec"]["podSpecPatch"])
    (init,), (wait,) = patch["initContainers"], patch["containers"]
    assert (init["name"], wait["name"]) == ("init", "wait")
    assert init["securityContext"] == wait["securityContext"] == templates()["gate"]["container"]["securityContext"]
    namespace = yaml.safe_load((PROJECT / manifests.FOLDER / "base/namespace.yaml").read_text())
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_run_knows_what_it_is_called_so_that_its_own_pods_go_on_with_its_attempt() -> None:
    (held,) = (one for one in pod()["containers"][0]["env"] if one["name"] == HOLDER)
    assert "job-name" in held["valueFrom"]["fieldRef"]["fieldPath"]
    (held,) = (one for one in templates()["gate"]["container"]["env"] if one["name"] == HOLDER)
    assert held["value"] == "{{workflow.name}}"


def test_image_is_pinned_by_digest(tmp_path: Path) -> None:
    path = tmp_path / manifests.PINNED
    path.parent.mkdir(parents=True)
    path.write_text((PROJECT / manifests.PINNED).read_text())
    manifests.pin(tmp_path, f"127.0.0.1:5000/training@sha256:{'a' * 64}")
    (image,) = yaml.safe_load(path.read_text())["images"]
    assert image == {"name": "training", "newName": "127.0.0.1:5000/training", "digest": f"sha256:{'a' * 64}"}
    with pytest.raises(ConfigError, match="digest"):
        manifests.pin(tmp_path, "127.0.0.1:5000/training:packages")
