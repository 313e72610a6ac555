"""What k8s/log-shipping promises: what it may do on a node, what it reads, and that nothing is given up in silence."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import read_settings
from pipeline.tools import Workshop
from tests.unit.k8s.rendering import K8S, Objects, build

FOLDER = K8S / "log-shipping"
NAME = "flightline-log-shipping"
SINKS = [FOLDER / "config/sink.yaml", *sorted((FOLDER / "sinks").glob("*.yaml"))]

each_sink = pytest.mark.parametrize("sink", SINKS, ids=lambda path: path.stem)


@cache
def objects() -> Objects:
    return build(FOLDER)


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = objects()["DaemonSet", NAME]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (one,) = pod()["containers"]
    return dict(one)


def collector() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "config/collector.yaml").read_text()))


def exporter(path: Path) -> dict[str, Any]:
    """The one exporter of a sink's file."""
    ((_, settings),) = yaml.safe_load(path.read_text())["exporters"].items()
    return dict(settings)


def number(value: object) -> int:
    """As the collector reads it: of a variable, what it is where nobody sets it."""
    return int(re.sub(r"\$\{env:\w+:-(\w+)\}", r"\1", str(value)))


def test_it_is_root_without_a_right_but_to_read_roots_files() -> None:
    assert pod()["securityContext"]["runAsUser"] == 0
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())


def test_it_cannot_ask_kubernetes_anything() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert not [kind for kind, _ in objects() if kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")]


def test_of_the_node_it_sees_the_log_files_to_read_and_its_own_folder_to_write() -> None:
    paths = {one["name"]: one["hostPath"]["path"] for one in pod()["volumes"] if "hostPath" in one}
    mounts = {one["name"]: one for one in container()["volumeMounts"]}
    writable = {name for name in paths if not mounts[name].get("readOnly")}
    assert paths == {"logs": "/var/log/pods", "state": "/var/lib/flightline-log-shipping"}
    assert writable == {"state"}
    assert all(mounts[name]["mountPath"] == path for name, path in paths.items())


def test_it_reads_the_servers_container_in_production_and_nothing_else() -> None:
    settings = read_settings(K8S.parent)
    (container_name,) = (
        one["name"]
        for one in yaml.safe_load((K8S / "base/rollout.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    )
    for pattern in collector()["receivers"]["file_log"]["include"]:
        assert f"/{settings.name}-production_*/{container_name}/" in pattern
    (path,) = (
        one["regex"]
        for one in collector()["receivers"]["file_log"]["operators"]
        if one.get("parse_from") == 'attributes["log.file.path"]'
    )
    found = re.search(
        path, f"/var/log/pods/{settings.name}-production_pod-1_0a1b-2c/{container_name}/0.log.20130401-120000.gz"
    )
    assert found
    assert found.groupdict() == {
        "namespace": f"{settings.name}-production",
        "environment": "production",
        "pod": "pod-1",
    }


def test_nothing_that_was_there_before_is_passed_over_and_offsets_outlive_the_process() -> None:
    receiver = collector()["receivers"]["file_log"]
    assert receiver["start_at"] == "beginning"
    assert receiver["storage"] in collector()["service"]["extensions"]
    state = next(one for one in container()["volumeMounts"] if one["name"] == "state")["mountPath"]
    assert collector()["extensions"]["file_storage"]["directory"] == f"${{env:STATE:-{state}}}"
    assert "--feature-gates=stanza.synchronousLogEmitter" in container()["args"]


@each_sink
def test_every_sink_has_a_bounded_queue_on_disk(sink: Path) -> None:
    queue = exporter(sink)["sending_queue"]
    assert queue["storage"] in collector()["service"]["extensions"]
    assert queue["sizer"] == "bytes"
    assert number(queue["queue_size"]) == 512 << 20
    assert number(queue["batch"]["max_size"]) < number(queue["queue_size"])


@each_sink
def test_no_sink_gives_up_what_is_in_the_queue(sink: Path) -> None:
    settings = exporter(sink)
    endless = {
        "retry_on_failure": lambda retry: retry["max_elapsed_time"] == "0s",
        "retry": lambda retry: retry["max_retries"] >= 1_000_000,
        "s3uploader": lambda uploader: uploader["retry_max_attempts"] == 0,
    }
    (holds,) = [rule(settings[name]) for name, rule in endless.items() if name in settings]
    assert holds


@each_sink
def test_every_sink_is_the_exporter_of_the_pipeline(sink: Path) -> None:
    document = yaml.safe_load(sink.read_text())
    assert document["service"] == {"pipelines": {"logs": {"exporters": [*document["exporters"]]}}}


def test_no_file_says_a_secret() -> None:
    text = "".join(path.read_text() for path in SINKS)
    for name, value in re.findall(r"^ +(\w*(?:key|authorization|password|token)\w*): (.+)$", text, re.MULTILINE):
        assert "${env:" in value or "${file:" in value or name == "unique_key_func_name", name


def test_the_image_is_of_the_version_that_the_tests_build() -> None:
    workshop = Workshop()
    version = workshop.version(workshop.find("otel-collector")).removeprefix("v")
    assert container()["image"].startswith(f"otel/opentelemetry-collector-contrib:{version}@sha256:")


def test_both_files_of_the_configuration_are_given_to_the_collector() -> None:
    (name,) = (one["configMap"]["name"] for one in pod()["volumes"] if "configMap" in one)
    files = objects()["ConfigMap", name]["data"]
    given = [one.removeprefix("--config=/etc/collector/") for one in container()["args"] if "--config" in one]
    assert given == ["collector.yaml", "sink.yaml"]
    assert set(given) == set(files)


def test_garbage_is_collected_before_the_kernel_kills() -> None:
    limit = next(one["value"] for one in container()["env"] if one["name"] == "GOMEMLIMIT")
    assert int(limit.removesuffix("MiB")) < int(container()["resources"]["limits"]["memory"].removesuffix("Mi"))


def test_prometheus_finds_its_counters_and_may_ask_for_them() -> None:
    template = objects()["DaemonSet", NAME]["spec"]["template"]["metadata"]
    (port,) = container()["ports"]
    assert template["annotations"]["prometheus.io/scrape"] == "true"
    assert template["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    (reader,) = collector()["service"]["telemetry"]["metrics"]["readers"]
    assert number(reader["pull"]["exporter"]["prometheus"]["port"]) == port["containerPort"]
    (rule,) = objects()["NetworkPolicy", NAME]["spec"]["ingress"]
    assert rule["ports"] == [{"port": port["name"]}]


def test_it_reaches_names_and_the_sink_alone() -> None:
    policy = objects()["NetworkPolicy", NAME]["spec"]
    assert (
        policy["podSelector"]["matchLabels"].items()
        <= objects()["DaemonSet", NAME]["spec"]["template"]["metadata"]["labels"].items()
    )
    sink = next(one["value"] for one in container()["env"] if one["name"] == "SINK")
    ports = [{entry["port"] for entry in rule["ports"]} for rule in policy["egress"]]
    assert ports == [{53}, {int(sink.rpartition(":")[2])}]
    assert all(rule["to"] for rule in policy["egress"])
