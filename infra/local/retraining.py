"""Retraining on the local cluster against the local forge: an object store, ways for its pods, image, Secret, CronJob.

A pod reaches nothing of the node's loopback, so what a step needs listens on the node's address, too.
`python -m infra.local.retraining STATE WORD` is one of the components, `ways` or `buckets`.
"""

import asyncio
import os
import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.local import control, fork, forward, gitea, members, store
from infra.local.components import (
    NODE_ADDRESS,
    PROJECT,
    ClusterError,
    Component,
    Kubectl,
    State,
    answers,
    link_tools,
    listens,
)
from infra.local.control import Say
from infra.local.forward import OBJECTS, Way
from infra.local.gitea import NAME, OWNER, Folders
from infra.local.members import BOT
from pipeline.config import Frozen, read_settings

WAYS, BUCKETS = "retraining-ways", "object-store"
COMPONENTS = (WAYS, BUCKETS)
# What pods reach of the forge; and where DVC's work remote is, which nothing on main believes.
FORGE = (Way("forge", gitea.PORT), Way("trusted DVC remote", store.PORT))
WORK_PORT = 3003
BUCKET = "observed"
STORE = f"s3://{BUCKET}/predictions"
REGION = "us-east-1"
IMAGE = f"{fork.REGISTRY}-training"
TOOL = "versitygw"
START_SECONDS = 60.0

Document = dict[str, Any]


class Keys(Frozen):
    """What opens the work remote, and the object store."""

    work: str
    key: str
    secret: str


def up(state: State, root: Path, say: Say) -> str:
    """Have the cluster retrain as the checkout at `root` says; the training image. Raises ClusterError, ImageError.

    Its schedule is suspended: the months that are looked at are played, and asked for by `flightline retrain --as-of`.
    """
    credentials = members.read(Folders.of(state))
    if credentials is None:
        raise ClusterError("there is no local forge to open pull requests on; start one with `flightline forge up`")
    keys, kubectl = _settle(state), Kubectl(state)
    link_tools(state, (TOOL,))
    control.ask(state, "start", COMPONENTS)
    control.wait_until(state, COMPONENTS, ("ready",), START_SECONDS)
    (_buckets(state) / BUCKET).mkdir(exist_ok=True)
    image = _image(root, say)
    say("installing the CronJob")
    rendered = kubectl("kustomize", str(root / "k8s/retraining/job"))
    name = f"{read_settings(root).name}-retraining"
    told = secret(name, environment(keys, f"http://{NODE_ADDRESS}:{OBJECTS}"), credentials.tokens[BOT], keys)
    kubectl.apply(manifests(rendered, image) + "---\n" + told)
    # A day's run is known by its name; those of an earlier story are none of this one's.
    kubectl("--namespace", name, "delete", "jobs", "--all", "--wait=true")
    return image


def down(state: State, root: Path) -> None:
    """End all of it; what was kept in the object store and the work remote goes, too. Raises ClusterError."""
    name = f"{read_settings(root).name}-retraining"
    Kubectl(state)("delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=120s")
    control.ask(state, "stop", COMPONENTS)
    control.wait_until(state, COMPONENTS, ("stopped",), START_SECONDS)
    for folder in (_work(state), _buckets(state), _about(state)):
        shutil.rmtree(folder, ignore_errors=True)


def here(state: State) -> dict[str, str]:
    """What a command on this machine is told, so that it reads and writes the store that the pods read."""
    return environment(_settle(state), f"http://127.0.0.1:{OBJECTS}")


def environment(keys: Keys, address: str) -> dict[str, str]:
    """The store of predictions, and the way to it."""
    return {
        "FLIGHTLINE_STORE": STORE,
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": keys.key,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
    }


def components(state: State) -> tuple[Component, ...]:
    """Ways and object store, on the node's address; nothing but `up` starts them."""
    own = {"PYTHONPATH": str(PROJECT)}

    def command(word: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "infra.local.retraining", str(state.root), word)

    return (
        Component(WAYS, command("ways"), own, listens(WORK_PORT, NODE_ADDRESS)),
        Component(BUCKETS, command("buckets"), own, answers(f"http://{NODE_ADDRESS}:{OBJECTS}/health")),
    )


def manifests(rendered: str, image: str) -> str:
    """What `k8s/retraining/job` renders to, with the image, the forge and the ways of this cluster."""
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    for one in documents:
        if change := _CHANGES.get(one["kind"]):
            change(one, image)
    return yaml.safe_dump_all(documents, sort_keys=False)


def _change_cron_job(one: Document, image: str) -> None:
    one["spec"]["suspend"] = True
    pod = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = image


def _change_settings(one: Document, _: str) -> None:
    one["data"]["FLIGHTLINE_REPOSITORY"] = f"http://{NODE_ADDRESS}:{gitea.PORT}/{OWNER}/{NAME}.git"


def _change_policy(one: Document, _: str) -> None:
    ports = [*(way.port for way in FORGE), WORK_PORT, OBJECTS]
    to = [{"ipBlock": {"cidr": f"{NODE_ADDRESS}/32"}}]
    one["spec"]["egress"].append({"to": to, "ports": [{"port": port, "protocol": "TCP"} for port in ports]})


_CHANGES = {"CronJob": _change_cron_job, "ConfigMap": _change_settings, "NetworkPolicy": _change_policy}


def secret(name: str, told: Mapping[str, str], token: str, keys: Keys) -> str:
    """The Secret that docs/retraining.md describes."""
    forge = {
        "GITHUB_API_URL": f"http://{NODE_ADDRESS}:{gitea.PORT}/api/v1",
        "GITHUB_REPOSITORY": f"{OWNER}/{NAME}",
        "FLIGHTLINE_TOKEN": token,
        "FLIGHTLINE_DVC_LOCAL": dvc(keys),
    }
    metadata = {"name": name, "namespace": name}
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {**told, **forge}}, sort_keys=False
    )


def dvc(keys: Keys) -> str:
    """`.dvc/config.local` of a pod: it reads the trusted remote, and pushes to the one for work."""
    return "\n".join(
        (
            "['remote \"trusted\"']",
            f"    url = http://{NODE_ADDRESS}:{store.PORT}",
            "['remote \"work\"']",
            f"    url = http://{NODE_ADDRESS}:{WORK_PORT}",
            "    auth = basic",
            f"    user = {store.USER}",
            f"    password = {keys.work}",
        )
    )


def _image(root: Path, say: Say) -> str:
    """The training image of the checkout's locks in the cluster's registry, by digest; built where it is new."""
    from pipeline import builders, oci
    from pipeline import image as images

    say("looking for the training image")
    tag = f"{IMAGE}:packages"
    wanted = builders.inputs(root, builders.base(root, builders.LOCAL), builders.TRAINING)
    try:
        found = images.inspect(tag)
    except oci.ImageError:
        found = None
    if found is None or found.labels.get(builders.INPUTS_LABEL) != wanted:
        say("building the training image")
        found = images.build(root, tag, base=builders.LOCAL, recipe=builders.TRAINING).image
    return f"{IMAGE}@{found.digest}"


def _settle(state: State) -> Keys:
    """Made once, and read by nobody else: the Secret and the components have the same."""
    path = state.config / "retraining.json"
    if path.is_file():
        return Keys.model_validate_json(path.read_text())
    made = Keys(work=secrets.token_urlsafe(24), key=secrets.token_hex(8), secret=secrets.token_urlsafe(24))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(made.model_dump_json())
    return made


def _work(state: State) -> Path:
    return state.data / "dvc-work"


def _buckets(state: State) -> Path:
    return state.data / "buckets"


def _about(state: State) -> Path:
    """What the object store notes of objects; a longer name that begins like the folder's is refused."""
    return state.data / "about-objects"


def _serve_ways(state: State, keys: Keys) -> None:
    """The forge's ports on the node's address, and DVC's work remote beside them."""
    _work(state).mkdir(parents=True, exist_ok=True)
    listening = [socket.create_server((NODE_ADDRESS, way.port)) for way in FORGE]
    with store.Server(_work(state), keys.work, WORK_PORT, NODE_ADDRESS) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asyncio.run(forward.run(zip(FORGE, listening, strict=True)))


def _become_buckets(state: State, keys: Keys) -> None:
    """A real S3 API over a folder, a folder for each bucket."""
    for folder in (_buckets(state), _about(state)):
        folder.mkdir(parents=True, exist_ok=True)
    program = state.tool(TOOL)
    words = ["--port", f"{NODE_ADDRESS}:{OBJECTS}", "--region", REGION, "--health", "/health", "--quiet"]
    own = {"ROOT_ACCESS_KEY": keys.key, "ROOT_SECRET_KEY": keys.secret}
    command = [program, *words, "posix", "--sidecar", str(_about(state)), str(_buckets(state))]
    os.execve(program, command, {**os.environ, **own})  # noqa: S606 - the pinned tool


def main() -> None:
    """One of the components, until it is ended."""
    state = State(Path(sys.argv[1]))
    run = {"ways": _serve_ways, "buckets": _become_buckets}[sys.argv[2]]
    run(state, _settle(state))


if __name__ == "__main__":
    main()
