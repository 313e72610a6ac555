"""What the local cluster makes of k8s/log-shipping."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local import shipping
from infra.local.components import NODE_ADDRESS, ClusterError, State
from pipeline.tools import tool

IMAGE = f"127.0.0.1:5000/otel-collector@sha256:{'1f' * 32}"

Objects = dict[str, Any]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "cluster")


@pytest.fixture
def objects(state: State) -> Objects:
    folder = state.config / "log-shipping"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text(shipping.kustomization(state, folder, IMAGE))
    done = subprocess.run([tool("kustomize"), "build", folder], capture_output=True, text=True, check=True)
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}


def test_the_collector_reads_this_clusters_logs_and_leaves_no_trace_outside_its_folders(
    objects: Objects, state: State
) -> None:
    spec = objects["DaemonSet"]["spec"]["template"]["spec"]
    paths = {one["name"]: one["hostPath"] for one in spec["volumes"] if "hostPath" in one}
    assert paths["logs"] == {"path": str(state.log / "pods"), "type": "Directory"}
    assert paths["state"] == {"path": str(state.data / "log-shipping"), "type": "DirectoryOrCreate"}
    assert [one["name"] for one in spec["volumes"]].count("config") == 1


def test_its_image_is_the_one_that_was_made_here(objects: Objects) -> None:
    (container,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE


def test_it_may_reach_the_sink_which_is_no_pod(objects: Objects) -> None:
    rule = objects["NetworkPolicy"]["spec"]["egress"][-1]
    assert rule == {"to": [{"ipBlock": {"cidr": f"{NODE_ADDRESS}/32"}}], "ports": [{"port": shipping.PORT}]}


def test_the_name_of_the_sink_leads_to_the_process_on_the_node(objects: Objects) -> None:
    (container,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    made = {one["kind"]: one for one in yaml.safe_load_all(shipping.sink("a-token-of-tests"))}
    service, slices, secret = made["Service"], made["EndpointSlice"], made["Secret"]
    host, port = variables["SINK"]["value"].removeprefix("http://").split(":")
    assert host.split(".")[:2] == [service["metadata"]["name"], service["metadata"]["namespace"]]
    assert int(port) == service["spec"]["ports"][0]["port"] == slices["ports"][0]["port"]
    assert slices["endpoints"][0]["addresses"] == [NODE_ADDRESS]
    assert slices["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    volumes = {one["name"]: one for one in objects["DaemonSet"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["sink"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert "token" in secret["stringData"]


def test_the_sinks_token_stays_and_nobody_else_may_read_it(state: State, tmp_path: Path) -> None:
    first = shipping._settle(state, tmp_path, "one")
    second = shipping._settle(state, tmp_path, "two")
    assert (first.token, second.store) == (second.token, "two")
    assert len(first.token) > 20
    assert shipping._file(state).stat().st_mode & 0o077 == 0


def test_a_bucket_is_refused_since_nothing_leads_there_from_the_cluster(state: State, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"store: 's3://bucket/log' .* name a folder"):
        shipping._settle(state, tmp_path, "s3://bucket/log")
    assert not shipping._file(state).exists()
