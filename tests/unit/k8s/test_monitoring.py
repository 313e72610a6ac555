"""What k8s/monitoring promises: three servers and a nightly run that find each other, the store and main's code."""

import re
from functools import cache
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import read_settings
from tests.unit.k8s.rendering import K8S, Objects, build

FOLDER = K8S / "monitoring"
SERVERS = ("flightline-log-sink", "flightline-labels", "flightline-observer")
SHIPPING = K8S / "log-shipping"


@cache
def objects() -> Objects:
    return build(FOLDER)


@cache
def shipping() -> Objects:
    return build(SHIPPING)


def templates() -> dict[str, dict[str, Any]]:
    """Pod templates by the name of what runs them."""
    job = objects()["CronJob", "flightline-log-expire"]["spec"]["jobTemplate"]["spec"]["template"]
    return {**{one: objects()["Deployment", one]["spec"]["template"] for one in SERVERS}, "expire": job}


def container(name: str) -> dict[str, Any]:
    (one,) = templates()[name]["spec"]["containers"]
    return dict(one)


each = pytest.mark.parametrize("name", [*SERVERS, "expire"])


@each
def test_it_runs_a_verb_that_there_is(name: str) -> None:
    words = [word.partition("=")[0] for word in container(name)["args"]]
    said = CliRunner().invoke(app, [*(word for word in words if word[0] != "-"), "--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0
    assert all(word in said.output for word in words if word[0] == "-")


@each
def test_it_runs_the_training_image_and_knows_main_and_the_store(name: str) -> None:
    assert re.search(r"-training@sha256:\w{64}$", container(name)["image"])
    assert {"configMapRef": {"name": "flightline-monitoring"}} in container(name)["envFrom"]
    told = objects()["ConfigMap", "flightline-monitoring"]["data"]
    settings = read_settings(K8S.parent)
    assert (told["FLIGHTLINE_REPOSITORY"], told["FLIGHTLINE_BRANCH"]) == (settings.repository, settings.branch)
    assert told["FLIGHTLINE_STORE"].startswith("s3://")


@each
def test_it_has_no_right_but_to_write_where_its_checkout_is(name: str) -> None:
    """As Pod Security "restricted" asks, whatever the namespace allows."""
    pod = templates()[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    assert [set(one) for one in pod["volumes"]] == [{"name", "emptyDir"}]
    assert "limits" in container(name)["resources"]


@each
def test_it_reaches_names_and_https_alone(name: str) -> None:
    labels = templates()[name]["metadata"]["labels"]
    policy = objects()["NetworkPolicy", "flightline-monitoring"]["spec"]
    (chosen,) = policy["podSelector"]["matchExpressions"]
    assert labels[chosen["key"]] in chosen["values"]
    assert [{entry["port"] for entry in rule["ports"]} for rule in policy["egress"]] == [{53}, {443}]


def test_collectors_find_the_sink_and_send_the_token_that_it_asks_for() -> None:
    (shipper,) = shipping()["DaemonSet", "flightline-log-shipping"]["spec"]["template"]["spec"]["containers"]
    (address,) = (one["value"] for one in shipper["env"] if one["name"] == "SINK")
    service = objects()["Service", "flightline-log"]
    (port,) = service["spec"]["ports"]
    where = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local:{port['port']}"
    assert address == f"http://{where}"
    (token,) = (one for one in container("flightline-log-sink")["env"] if one["name"] == "FLIGHTLINE_LOG_TOKEN")
    secrets = [one["secret"] for one in _volumes(shipping()) if "secret" in one]
    assert token["valueFrom"]["secretKeyRef"]["name"] == secrets[0]["secretName"]


def _volumes(found: Objects) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = found["DaemonSet", "flightline-log-shipping"]["spec"]["template"]["spec"]["volumes"]
    return volumes


@pytest.mark.parametrize("service", ["flightline-log", "flightline-labels"])
def test_a_service_leads_to_the_server_that_listens(service: str) -> None:
    found = objects()["Service", service]["spec"]
    (name,) = (one for one in SERVERS if found["selector"].items() <= templates()[one]["metadata"]["labels"].items())
    (listens,), (port,) = container(name)["ports"], found["ports"]
    assert (port["targetPort"], port["port"]) == (listens["name"], listens["containerPort"])
    assert f"--port={port['port']}" in container(name)["args"]


def test_what_the_collectors_policy_lets_through_is_what_the_sinks_lets_in() -> None:
    out = shipping()["NetworkPolicy", "flightline-log-shipping"]["spec"]["egress"][1]
    (target,), labels = out["to"], templates()["flightline-log-sink"]["metadata"]["labels"]
    assert target["podSelector"]["matchLabels"].items() <= labels.items()
    (inside,) = objects()["NetworkPolicy", "flightline-log-sink"]["spec"]["ingress"]
    (source,) = inside["from"]
    shipper = shipping()["DaemonSet", "flightline-log-shipping"]["spec"]["template"]["metadata"]["labels"]
    assert source["podSelector"]["matchLabels"].items() <= shipper.items()


def test_prometheus_finds_the_figures_of_the_observer() -> None:
    monitor = yaml.safe_load((FOLDER / "prometheus-operator/podmonitor.yaml").read_text())["spec"]
    template = templates()["flightline-observer"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (port,) = container("flightline-observer")["ports"]
    assert [one["port"] for one in monitor["podMetricsEndpoints"]] == [port["name"]]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    assert {"name": "PORT", "value": str(port["containerPort"])} in container("flightline-observer")["env"]
