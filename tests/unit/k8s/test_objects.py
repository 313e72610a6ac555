"""What the rendered objects promise, held against the settings and sources that they depend on."""

import re
from itertools import product
from typing import Any

import pytest
import yaml

from pipeline.slo import read_slo
from serving import replay
from serving.problems import KINDS
from serving.server import _LAST_ANSWERS
from serving.settings import Settings, read, read_as
from tests.unit.k8s.rendering import (
    CHOICES,
    ENVIRONMENTS,
    K8S,
    Objects,
    composed,
    given,
    of_kind,
    overlay,
    pod_templates,
    rollout,
    template,
)

SLO = read_slo(K8S.parent)
NUMBERS = yaml.safe_load((K8S / "overlays/staging/analysis.yaml").read_text())["data"]
TEMPLATES = ("flightline-fast-failure", "flightline-promotion")
COMBINATIONS = [tuple(filter(None, chosen)) for chosen in product(*CHOICES)]

each_combination = pytest.mark.parametrize("components", COMBINATIONS, ids="+".join)


@pytest.fixture(params=ENVIRONMENTS)
def objects(request: pytest.FixtureRequest) -> Objects:
    return overlay(request.param)


def settings_of(objects: Objects) -> Settings:
    (server,) = rollout(objects)["spec"]["template"]["spec"]["containers"]
    return read({one["name"]: one["value"] for one in server["env"]})


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def pod_labels(objects: Objects, component: str) -> dict[str, str]:
    found = [one["metadata"]["labels"] for one in pod_templates(objects)]
    (labels,) = [one for one in found if one["app.kubernetes.io/component"] == component]
    return labels


@each_combination
def test_every_combination_of_components_renders_labelled_objects_of_one_namespace(components: tuple[str, ...]) -> None:
    objects = composed(components)
    for (kind, name), one in objects.items():
        labels = one["metadata"]["labels"]
        assert one["metadata"]["namespace"] == "flightline-staging", (kind, name)
        assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/part-of"] == "flightline", (kind, name)
        assert labels["app.kubernetes.io/component"], (kind, name)


def test_every_component_is_in_some_combination() -> None:
    there = {folder.name for folder in (K8S / "components").iterdir()}
    assert there == {"tuning", *(name for names in COMBINATIONS for name in names)}


@each_combination
def test_no_replacement_is_left_out(components: tuple[str, ...]) -> None:
    """An empty string is where a replacement goes."""

    def empty(node: Any) -> bool:
        # A subscription to a notification is an annotation without a value.
        kept = [value for key, value in node.items() if key != "annotations"] if isinstance(node, dict) else []
        inside = kept or (node if isinstance(node, list) else ())
        return node == "" or any(map(empty, inside))

    found = [key for key, one in composed(components).items() if key[0] != "Role" and empty(one)]
    assert not found


def test_every_pod_is_restricted(objects: Objects) -> None:
    for pod in (one["spec"] for one in pod_templates(objects)):
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == context["runAsGroup"] == 65532
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}


def test_only_the_deadline_has_a_token(objects: Objects) -> None:
    assert all(one["automountServiceAccountToken"] is False for one in of_kind(objects, "ServiceAccount"))
    mounted = [one for one in pod_templates(objects) if one["spec"]["automountServiceAccountToken"]]
    assert [one["metadata"]["labels"]["app.kubernetes.io/component"] for one in mounted] == ["deadline"]


def test_the_deadline_may_get_one_rollout_and_patch_its_status_and_nothing_else(objects: Objects) -> None:
    (role,) = of_kind(objects, "Role")
    of = {"apiGroups": ["argoproj.io"], "resourceNames": ["flightline"]}
    assert role["rules"] == [
        {**of, "resources": ["rollouts"], "verbs": ["get"]},
        {**of, "resources": ["rollouts/status"], "verbs": ["patch"]},
    ]
    (binding,) = of_kind(objects, "RoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [one["name"] for one in binding["subjects"]] == ["flightline-deadline"]
    assert not of_kind(objects, "ClusterRole")


def test_every_image_is_the_placeholder_that_a_release_replaces(objects: Objects) -> None:
    images = {container["image"] for pod in pod_templates(objects) for container in pod["spec"]["containers"]}
    assert images == {"flightline-server"}


def test_services_and_budget_select_the_server_and_no_other_pod(objects: Objects) -> None:
    assert {one["metadata"]["name"] for one in of_kind(objects, "Service")} == {
        *("flightline", "flightline-stable", "flightline-canary"),
    }
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    selectors = [one["spec"]["selector"] for one in of_kind(objects, "Service")]
    for selector in (*selectors, budget["spec"]["selector"]["matchLabels"], rollout_selector(objects)):
        matched = [one["metadata"]["labels"] for one in pod_templates(objects)]
        assert [selects(selector, labels) for labels in matched].count(True) == 1
        assert selects(selector, pod_labels(objects, "server"))


def rollout_selector(objects: Objects) -> dict[str, str]:
    return rollout(objects)["spec"]["selector"]["matchLabels"]


def test_nothing_may_talk_unless_a_policy_says_so(objects: Objects) -> None:
    deny, *others = sorted(of_kind(objects, "NetworkPolicy"), key=lambda one: len(one["spec"]["podSelector"]))
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert all(one["spec"]["podSelector"] for one in others)
    server = [one for one in others if selects(matched(one), pod_labels(objects, "server"))]
    assert all("egress" not in one["spec"] for one in server)


def matched(policy: dict[str, Any]) -> dict[str, str]:
    return policy["spec"]["podSelector"]["matchLabels"]


def test_every_policy_selects_a_pod_that_is_there(objects: Objects) -> None:
    labels = [one["metadata"]["labels"] for one in pod_templates(objects)]
    for policy in of_kind(objects, "NetworkPolicy"):
        if policy["spec"]["podSelector"]:
            assert any(selects(matched(policy), one) for one in labels), policy["metadata"]["name"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_objectives_reach_the_analysis(objects: Objects, name: str) -> None:
    args = given(objects, name)
    assert float(args["max-p95-seconds"] or 0) == SLO.p95_seconds
    assert float(args["max-error-ratio"] or 0) == SLO.error_ratio


def test_the_objectives_reach_the_server_which_shows_them(objects: Objects) -> None:
    assert settings_of(objects).slo == {name: float(value) for name, value in SLO.model_dump().items()}


def test_the_objectives_are_the_whole_expression_of_their_recording_rules() -> None:
    (rules,) = of_kind(composed(("replicas", "prometheus-operator")), "PrometheusRule")
    group = rules["spec"]["groups"][0]
    assert {one["record"]: float(one["expr"]) for one in group["rules"]} == {
        "flightline:slo_p95_seconds": SLO.p95_seconds,
        "flightline:slo_error_ratio": SLO.error_ratio,
        "flightline:slo_memory_bytes": SLO.memory_bytes,
        "flightline:slo_slow_ratio": 0.05,
    }
    assert {one["labels"]["namespace"] for one in group["rules"]} == {"flightline-staging"}


def test_a_server_at_its_memory_objective_is_not_killed(objects: Objects) -> None:
    (server,) = rollout(objects)["spec"]["template"]["spec"]["containers"]
    limit = server["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) * 2**20 > SLO.memory_bytes


def test_the_grace_period_covers_what_the_server_takes_to_stop(objects: Objects) -> None:
    """The wait, the requests in flight, the last answers, the prediction log; and in flight may be a whole request."""
    settings = settings_of(objects)
    grace = rollout(objects)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert settings.drain_seconds > settings.request_timeout
    assert settings.ready_wait > 0
    assert grace >= settings.ready_wait + 2 * settings.drain_seconds + _LAST_ANSWERS + 2


def test_the_replicas_are_the_hpas_where_it_is_on() -> None:
    (scaler,) = of_kind(overlay("production"), "HorizontalPodAutoscaler")
    assert "replicas" not in rollout(overlay("production"))["spec"]
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 6)


def test_the_replicas_are_three_where_the_hpa_is_off_and_two_in_staging() -> None:
    assert rollout(composed(("replicas",)))["spec"]["replicas"] == 3
    assert rollout(overlay("staging"))["spec"]["replicas"] == 2


def test_capacity_never_drops_and_a_canary_that_cannot_start_is_aborted(objects: Objects) -> None:
    spec = rollout(objects)["spec"]
    assert (spec["strategy"]["canary"]["maxSurge"], spec["strategy"]["canary"]["maxUnavailable"]) == ("50%", 0)
    assert spec["progressDeadlineAbort"] is True
    assert spec["progressDeadlineSeconds"] == int(tuned(objects)["progress-seconds"])
    assert spec["revisionHistoryLimit"] > spec["rollbackWindow"]["revisions"]


def tuned(objects: Objects) -> dict[str, str]:
    return objects["ConfigMap", "flightline-analysis"]["data"]


def test_promotion_blocks_before_half_of_the_traffic_moves(objects: Objects) -> None:
    steps = rollout(objects)["spec"]["strategy"]["canary"]["steps"]
    assert [next(iter(step)) for step in steps] == ["setWeight", "pause", "analysis", "setWeight", "pause"]
    assert steps[0] == {"setWeight": 25}
    assert steps[1] == {"pause": {"duration": tuned(objects)["canary-pause"]}}
    assert [one["templateName"] for one in steps[2]["analysis"]["templates"]] == ["flightline-promotion"]
    assert steps[4] == {"pause": {"duration": tuned(objects)["half-pause"]}}


def test_the_rollout_gives_every_argument_that_a_template_leaves_open(objects: Objects) -> None:
    canary = rollout(objects)["spec"]["strategy"]["canary"]
    runs = (canary["analysis"], canary["steps"][2]["analysis"])
    for name, run in zip(TEMPLATES, runs, strict=True):
        opened = {argument for argument, value in given(objects, name).items() if value is None}
        assert {one["name"] for one in run["args"]} == opened
    by_name = {one["name"]: one["valueFrom"] for one in runs[1]["args"]}
    assert by_name["canary"] == {"podTemplateHashValue": "Latest"}
    assert by_name["stable"] == {"podTemplateHashValue": "Stable"}
    assert by_name["max-ks"] == {"fieldRef": {"fieldPath": "metadata.annotations['flightline/max-ks']"}}
    assert "flightline/max-ks" not in rollout(objects)["metadata"].get("annotations", {})


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_argument_is_used_and_every_use_is_given(objects: Objects, name: str) -> None:
    used = set(re.findall(r"{{args\.([a-z0-9-]+)}}", str(template(objects, name)["spec"]["metrics"])))
    assert used == set(given(objects, name))


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_outage_of_prometheus_of_a_minute_is_survived(objects: Objects, name: str) -> None:
    """Rollouts retries an error after ten seconds, and gives up beyond the limit."""
    for metric in template(objects, name)["spec"]["metrics"]:
        assert metric["consecutiveErrorLimit"] * 10 >= 120


def test_the_background_can_only_fail(objects: Objects) -> None:
    for metric in template(objects, "flightline-fast-failure")["spec"]["metrics"]:
        assert "failureCondition" in metric
        assert not metric.keys() & {"successCondition", "count", "inconclusiveLimit"}


def test_promotion_needs_good_answers_in_a_row_and_else_is_inconclusive(objects: Objects) -> None:
    """Argo Rollouts refuses a count under inconclusiveLimit, and under failureLimit + consecutiveSuccessLimit."""
    metrics = template(objects, "flightline-promotion")["spec"]["metrics"]
    assert [one["name"] for one in metrics] == ["requests", "errors", "p95", "ks"]
    for metric in metrics:
        assert metric["count"] == metric["inconclusiveLimit"] == int(tuned(objects)["count"])
        assert metric["consecutiveSuccessLimit"] == int(tuned(objects)["good-in-a-row"]) > 1
        assert metric["count"] >= metric["failureLimit"] + metric["consecutiveSuccessLimit"]
        assert metric["interval"] == tuned(objects)["interval"]
        assert isinstance(metric["successCondition"], str)
        assert isinstance(metric["failureCondition"], str)


@pytest.mark.parametrize("name", TEMPLATES)
def test_errors_are_the_servers_own_kinds_of_failure(name: str) -> None:
    query = str(template(overlay("staging"), name)["spec"]["metrics"])
    asked = set(re.findall(r'reason=~"([a-z|-]+)"', query))
    assert asked == {"|".join(kind.slug for kind in KINDS if kind.status >= 500)}


def test_alerts_count_the_same_errors() -> None:
    (rules,) = of_kind(composed(("replicas", "prometheus-operator")), "PrometheusRule")
    assert "|".join(kind.slug for kind in KINDS if kind.status >= 500) in str(rules["spec"])


def test_stagings_own_traffic_is_enough_and_lasts_long_enough() -> None:
    """A third of it reaches the canary; the minimum sample is met with a half to spare."""
    data = tuned(overlay("staging"))
    to_canary = float(data["traffic-rate"]) / 3 * seconds(data["window"])
    assert to_canary >= 1.5 * max(int(data["min-requests"]), int(data["min-scores"]))
    analysis = int(data["count"]) * seconds(data["interval"])
    steps = seconds(data["canary-pause"]) + analysis + seconds(data["half-pause"])
    assert int(data["traffic-seconds"]) >= int(data["progress-seconds"]) + steps


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def test_traffic_comes_in_the_wave_of_the_rollout_and_whatever_the_rollout_needs_comes_before() -> None:
    def wave(kind: str, name: str) -> int:
        annotations = overlay("staging")[kind, name]["metadata"].get("annotations", {})
        return int(annotations.get("argocd.argoproj.io/sync-wave", "0"))

    first = wave("Rollout", "flightline")
    assert wave("Job", "flightline-traffic") == first
    for kind, name in overlay("staging"):
        if kind in {"ServiceAccount", "Service", "AnalysisTemplate", "NetworkPolicy", "ConfigMap", "Role"}:
            assert wave(kind, name) < first, (kind, name)


def test_the_replay_understands_what_it_is_told_by_the_job() -> None:
    (job,) = of_kind(overlay("staging"), "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    data = tuned(overlay("staging"))
    told = {
        one["name"]: one.get("value") or data[one["valueFrom"]["configMapKeyRef"]["key"]] for one in container["env"]
    }
    chosen = read_as(replay.Settings, told)
    assert chosen.replay_url == "http://flightline"
    assert chosen.replay_seconds == float(data["traffic-seconds"])
    assert chosen.replay_rate == float(data["traffic-rate"])
    assert container["command"] == ["python3", "-m", replay.__name__]


@pytest.mark.parametrize("router", ["traefik", "gateway-api"])
def test_a_router_gets_its_weights_from_the_rollout(router: str) -> None:
    canary = rollout(composed(("replicas", router)))["spec"]["strategy"]["canary"]
    assert canary["trafficRouting"]
    assert canary["scaleDownDelaySeconds"] > 0
    assert len(canary["steps"]) == 5
    if router == "gateway-api":
        plugin = canary["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"]
        assert plugin == {"httpRoute": "flightline", "namespace": "flightline-staging"}


def test_without_a_router_nothing_is_set_that_needs_one(objects: Objects) -> None:
    """Argo Rollouts calls such a Rollout invalid."""
    assert not rollout(objects)["spec"]["strategy"]["canary"].keys() & {"trafficRouting", "scaleDownDelaySeconds"}


def test_every_line_of_the_numbers_is_used(objects: Objects) -> None:
    data = tuned(objects)
    replaced = set(re.findall(r"fieldPath: data\.([a-z-]+)", (K8S / "components/tuning/replacements.yaml").read_text()))
    read_by_pods = {
        one["valueFrom"]["configMapKeyRef"]["key"]
        for pod in pod_templates(objects)
        for container in pod["spec"]["containers"]
        for one in container["env"]
        if "valueFrom" in one
    }
    assert set(data) == replaced | read_by_pods


@pytest.mark.parametrize("name", NUMBERS)
def test_every_line_of_the_numbers_is_explained(name: str) -> None:
    assert f"`{name}`" in (K8S.parent / "docs/delivery.md").read_text()


def test_ports_of_the_rollout_name_their_protocol(objects: Objects) -> None:
    """The default that the API server adds would be a difference for Argo CD, which heals it without end."""
    for container in rollout(objects)["spec"]["template"]["spec"]["containers"]:
        assert all(port["protocol"] == "TCP" for port in container["ports"])


def test_rollout_calls_out_when_it_completes_is_aborted_or_waits_for_a_person(objects: Objects) -> None:
    triggers = yaml.safe_load((K8S.parent / "argocd/notifications/configmap.yaml").read_text())["data"]
    known = {name.removeprefix("trigger.") for name in triggers if name.startswith("trigger.")}
    prefix = "notifications.argoproj.io/subscribe."
    asked = {name.removeprefix(prefix) for name in rollout(objects)["metadata"]["annotations"] if prefix in name}
    assert asked == {f"{trigger}.flightline" for trigger in known}
    assert len(asked) == 3
