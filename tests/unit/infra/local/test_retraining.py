"""What the local cluster makes of k8s/retraining/job, and of the Secret that it wants."""

import configparser
import re
import subprocess
from typing import Any

import pytest
import yaml

from infra.local import cluster, forward, gitea, members, retraining, store
from infra.local.components import NODE_ADDRESS, PROJECT, State
from infra.local.retraining import Keys
from pipeline.tools import tool

IMAGE = f"127.0.0.1:5000/flightline-training@sha256:{'1f' * 32}"
KEYS = Keys(work="of-work", key="key", secret="of-objects")  # noqa: S106 - of tests

Objects = dict[str, Any]


@pytest.fixture(scope="module")
def objects() -> Objects:
    words = [tool("kustomize"), "build", str(PROJECT / "k8s/retraining/job")]
    rendered = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {one["kind"]: one for one in yaml.safe_load_all(retraining.manifests(rendered, IMAGE))}


def told(address: str = "http://there") -> dict[str, str]:
    made = retraining.secret("named", retraining.environment(KEYS, address), "a-token", KEYS)
    found: dict[str, str] = yaml.safe_load(made)["stringData"]
    return found


def test_every_step_runs_the_image_that_was_made_here_and_no_clock_starts_it(objects: Objects) -> None:
    spec = objects["CronJob"]["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert {one["image"] for one in (*pod["initContainers"], *pod["containers"])} == {IMAGE}
    assert spec["suspend"] is True


def test_a_step_reaches_forge_remotes_and_object_store_on_the_nodes_address(objects: Objects) -> None:
    rule = objects["NetworkPolicy"]["spec"]["egress"][-1]
    assert rule["to"] == [{"ipBlock": {"cidr": f"{NODE_ADDRESS}/32"}}]
    allowed = {one["port"] for one in rule["ports"]}
    asked = (objects["ConfigMap"]["data"]["FLIGHTLINE_REPOSITORY"], told()["GITHUB_API_URL"], *remotes().values())
    assert {int(one.split(":")[2].partition("/")[0]) for one in asked} | {forward.OBJECTS} == allowed
    assert all(one.startswith(f"http://{NODE_ADDRESS}:") for one in asked)


def remotes() -> dict[str, str]:
    """The addresses in the pods' config.local of DVC."""
    config = configparser.ConfigParser()
    config.read_string(told()["FLIGHTLINE_DVC_LOCAL"])
    assert config["'remote \"work\"'"]["password"] == KEYS.work
    assert "password" not in config["'remote \"trusted\"'"], "what production is restored from, a pod only reads"
    return {name: config[name]["url"] for name in config.sections()}


def test_pods_and_this_machine_are_told_of_the_same_store() -> None:
    inside, outside = told(f"http://{NODE_ADDRESS}:1"), retraining.environment(KEYS, "http://127.0.0.1:1")
    differing = {name for name, value in outside.items() if inside[name] != value}
    assert differing == {"AWS_ENDPOINT_URL"}
    assert inside["FLIGHTLINE_TOKEN"] == "a-token"  # noqa: S105 - of tests


def test_object_store_has_a_way_in_from_this_machine() -> None:
    (way,) = [one for one in forward.WAYS if one.port == forward.OBJECTS]
    assert way.host == NODE_ADDRESS
    assert len({one.port for one in (*forward.WAYS, *retraining.FORGE)}) == len(forward.WAYS)
    assert {one.port for one in retraining.FORGE} == {gitea.PORT, store.PORT}


def test_keys_stay_and_nobody_else_may_read_them(tmp_path: Any) -> None:
    state = State(tmp_path / "cluster")
    first = retraining._settle(state)
    assert retraining._settle(state) == first
    assert (state.config / "retraining.json").stat().st_mode & 0o077 == 0


def test_cluster_knows_the_components_and_starts_none_by_itself(tmp_path: Any) -> None:
    state = State(tmp_path / "cluster")
    assert set(retraining.COMPONENTS) <= {one.name for one in cluster.components(state)}
    started = {one.name for module in cluster.extensions() for one in module.components(state)}
    assert not started & set(retraining.COMPONENTS)


def test_token_of_the_pods_has_the_scopes_that_the_docs_name_and_no_more() -> None:
    said = (PROJECT / "docs/retraining.md").read_text().partition("on Gitea `")[2].partition(")")[0]
    assert {*re.findall(r"[a-z]+:[a-z]+", said)} == {*members.SCOPES[members.BOT]}
