"""What pods run on: the local registry and containerd, with a bridge for the pods' network."""

import json
from collections.abc import Mapping

import yaml

from infra.local.components import NODE_POD_RANGE, REGISTRY, Component, State, answers
from infra.local.images import PAUSE

PLUGINS = "io.containerd"
UNUSED = ("snapshotter.v1.aufs", "snapshotter.v1.btrfs", "snapshotter.v1.devmapper", "snapshotter.v1.zfs")


def components(state: State) -> tuple[Component, ...]:
    """The registry that images are pushed to and pulled from, and the container runtime."""
    return (
        Component(
            "registry",
            ("docker-registry", "serve", str(state.config / "registry.yaml")),
            ready=answers(f"http://{REGISTRY}/v2/"),
            grace=3,
        ),
        Component(
            "containerd",
            ("containerd", "--config", str(state.config / "containerd.toml")),
            # Without it the client of the cloud asks an address that nothing answers, for seconds.
            environment={"AWS_EC2_METADATA_DISABLED": "true"},
            ready=state.containerd.is_socket,
        ),
    )


def configuration(state: State) -> Mapping[str, str]:
    """Each configuration file: its name in `State.config` and its text."""
    return {
        "registry.yaml": yaml.safe_dump(_registry(state)),
        "containerd.toml": _containerd(state),
        "cni/10-bridge.conflist": json.dumps(_network(state), indent=2),
    }


def _registry(state: State) -> Mapping[str, object]:
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(state.data / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": REGISTRY},
    }


def _containerd(state: State) -> str:
    """TOML. runc, because it is what Kubernetes is tested with; AppArmor and OOM scores are the machine's, not ours."""
    cri = f'plugins."{PLUGINS}.grpc.v1.cri"'
    disabled = json.dumps([f"{PLUGINS}.{name}" for name in UNUSED])
    return f"""version = 2
root = "{state.data / "containerd"}"
state = "{state.run / "containerd"}"
disabled_plugins = {disabled}
[grpc]
  address = "{state.containerd}"
[{cri}]
  sandbox_image = "{REGISTRY}/{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
[{cri}.containerd]
  default_runtime_name = "runc"
  snapshotter = "overlayfs"
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  BinaryName = "runc"
  SystemdCgroup = false
[{cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{state.config / "cni"}"
"""


def _network(state: State) -> Mapping[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": str(state.run / "addresses"),
        "ranges": [[{"subnet": NODE_POD_RANGE}]],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": addresses,
    }
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}
