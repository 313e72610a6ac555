"""Alertmanager on the local cluster: the project's own routes, with addresses of this machine.

It is started by who wants alerts to go somewhere; `prometheus.load` brings the rules that make some.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.local import control
from infra.local.components import PROJECT, Component, State, answers
from pipeline.config import read_yaml

NAME, PORT = "alertmanager", 9093
ROUTES = PROJECT / "infra" / "alertmanager" / "alertmanager.yaml"
# Who wants to hear of alerts listens there; the path says which receiver it would have been.
RECEIVER = "http://127.0.0.1:9098"
# A test cluster's patience.
TIMES = {"group_wait": "2s", "group_interval": "5s"}
_SECONDS = 30.0


def start(state: State, receivers: Mapping[str, str] | None = None) -> None:
    """Have it running with these receivers, anew where it runs. Raises ClusterError."""
    prepare(state, receivers)
    control.ask(state, "stop", [NAME])
    control.wait_until(state, [NAME], ("stopped", "dead"), _SECONDS)
    control.ask(state, "start", [NAME])
    control.wait_until(state, [NAME], ("ready",), _SECONDS)


def prepare(state: State, receivers: Mapping[str, str] | None = None) -> None:
    """Write the configuration; `receivers` are addresses by the name of the receiver, instead of RECEIVER/name."""
    _file(state).parent.mkdir(parents=True, exist_ok=True)
    _file(state).write_text(configuration(read_yaml(ROUTES), receivers or {}))


def components(state: State) -> tuple[Component, ...]:
    """The server, alone: no cluster of its own kind, so that nothing but loopback is opened."""
    command = (
        "prometheus-alertmanager",
        f"--config.file={_file(state)}",
        f"--storage.path={state.data / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{PORT}",
        "--cluster.listen-address=",
    )
    return (Component(NAME, command, ready=answers(f"http://127.0.0.1:{PORT}/-/ready")),)


def configuration(routes: Mapping[str, Any], receivers: Mapping[str, str]) -> str:
    """The project's routes with these receivers' addresses and a test cluster's patience."""
    told = [
        {
            **one,
            "webhook_configs": [{**hook, "url": _address(one["name"], receivers)} for hook in one["webhook_configs"]],
        }
        for one in routes["receivers"]
    ]
    return yaml.safe_dump({**routes, "route": {**routes["route"], **TIMES}, "receivers": told}, sort_keys=False)


def _address(name: str, receivers: Mapping[str, str]) -> str:
    return receivers.get(name, f"{RECEIVER}/{name}")


def _file(state: State) -> Path:
    return state.config / "alertmanager.yaml"
