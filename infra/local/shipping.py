"""The prediction log on the local cluster: k8s/log-shipping with this machine's paths, and the sink beside the node.

`up` has both running, `down` ends both. The sink is the component `log-sink`, so that it can be stopped like any other.
`python -m infra.local.shipping STATE` serves it.
"""

import os
import secrets
import sys
from pathlib import Path
from string import Template

import yaml

from infra.local import control, images
from infra.local.components import MANIFESTS, NODE_ADDRESS, PROJECT, ClusterError, Component, Kubectl, State, answers
from infra.local.control import Say
from infra.local.images import Recipe
from pipeline.config import Frozen

COMPONENT = "log-sink"
PORT = 4318
TOOL = "otel-collector"
IMAGE = "otel/opentelemetry-collector-contrib"
DAEMONSET = "flightline-log-shipping"
START_SECONDS = 60.0


class Served(Frozen):
    """Whose predictions are kept, and where: a checkout, and a folder, relative to it; and who may hand over."""

    root: Path
    store: str
    token: str


def up(state: State, root: Path, store: str, say: Say) -> None:
    """Ship what the servers of production log into a store, as the checkout at `root` understands it.

    Raises ClusterError, and UnavailableError where the collector cannot be built.
    """
    from pipeline.tools import tool

    served = _settle(state, root, store)
    recipe = Recipe(TOOL, {TOOL: tool(TOOL, say)}, {"Entrypoint": [f"/{TOOL}"]})
    say("installing the collector")
    folder, kubectl = _folder(state), Kubectl(state)
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("kustomization.yaml").write_text(kustomization(state, folder, images.have(state, recipe)))
    kubectl.apply(sink(served.token))
    kubectl.apply(kubectl("kustomize", str(folder)))
    say("starting the sink")
    # It may run for another checkout or store.
    _switch(state, "stop", "stopped")
    _switch(state, "start", "ready")
    say("waiting for the collector")
    kubectl("--namespace", "monitoring", "rollout", "status", f"daemonset/{DAEMONSET}", "--timeout=60s")


def down(state: State) -> None:
    """End both. What the collector has read and not handed over waits for the next `up`. Raises ClusterError."""
    kubectl = Kubectl(state)
    if _folder(state).is_dir():
        rendered = kubectl("kustomize", str(_folder(state))) + "---\n" + sink("")
        kubectl("delete", "--ignore-not-found", "--wait=true", "--timeout=60s", "-f", "-", stdin=rendered)
    _switch(state, "stop", "stopped")


def components(state: State) -> tuple[Component, ...]:
    """The sink, on the node's address; nothing but `up` starts it."""
    command = (sys.executable, "-m", "infra.local.shipping", str(state.root))
    ready = answers(f"http://{NODE_ADDRESS}:{PORT}/livez")
    return (Component(COMPONENT, command, {"PYTHONPATH": str(PROJECT)}, ready),)


def kustomization(state: State, folder: Path, image: str) -> str:
    """What to render in `folder`: the collector in an image of this machine, with the paths of this cluster."""
    name, _, digest = image.partition("@")
    paths = {"logs": state.log / "pods", "state": state.data / "log-shipping"}
    volumes = [{"name": volume, "hostPath": {"path": str(path)}} for volume, path in paths.items()]
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(PROJECT / "k8s/log-shipping", folder.resolve())],
        "images": [{"name": IMAGE, "newName": name, "digest": digest}],
        "patches": [
            {
                "patch": yaml.safe_dump(
                    {
                        "apiVersion": "apps/v1",
                        "kind": "DaemonSet",
                        "metadata": {"name": DAEMONSET, "namespace": "monitoring"},
                        "spec": {"template": {"spec": {"volumes": volumes}}},
                    }
                )
            },
            # The sink is no pod that a selector could name.
            {
                "target": {"kind": "NetworkPolicy", "name": DAEMONSET},
                "patch": yaml.safe_dump(
                    [
                        {
                            "op": "replace",
                            "path": "/spec/egress/1/to",
                            "value": [{"ipBlock": {"cidr": f"{NODE_ADDRESS}/32"}}],
                        }
                    ]
                ),
            },
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def sink(token: str) -> str:
    """Secret, Service and where it leads."""
    text = (MANIFESTS / "log-sink.yaml").read_text()
    return Template(text).substitute(address=NODE_ADDRESS, port=PORT, token=token)


def main() -> None:
    """Become `flightline log serve` in the checkout whose predictions are kept."""
    from pipeline.cli_sink import TOKEN
    from pipeline.monitoring.store import VARIABLE

    served = Served.model_validate_json(_file(State(Path(sys.argv[1]))).read_text())
    program = str(Path(sys.executable).with_name("flightline"))
    own = {VARIABLE: served.store, TOKEN: served.token, "PYTHONPATH": str(served.root)}
    os.chdir(served.root)
    words = ["log", "serve", f"--host={NODE_ADDRESS}", f"--port={PORT}"]
    os.execve(program, [program, *words], {**os.environ, **own})  # noqa: S606 - the project's own verb


def _settle(state: State, root: Path, store: str) -> Served:
    """Written for the sink, whose token stays the same: the collector's pods read it at their start."""
    if "://" in store:
        raise ClusterError(f"store: {store!r} is not on this machine, beyond which nothing is reached; name a folder")
    path = _file(state)
    known = Served.model_validate_json(path.read_text()).token if path.is_file() else secrets.token_urlsafe(24)
    served = Served(root=root.resolve(), store=store, token=known)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(served.model_dump_json())
    return served


def _switch(state: State, verb: str, phase: str) -> None:
    control.ask(state, verb, [COMPONENT])
    control.wait_until(state, [COMPONENT], (phase,), START_SECONDS)


def _folder(state: State) -> Path:
    return state.config / "log-shipping"


def _file(state: State) -> Path:
    return state.config / "log-sink.json"


if __name__ == "__main__":
    main()
