"""`flightline cluster`: a real Kubernetes on this machine, up and down."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from infra.local.components import State

cluster = typer.Typer(
    help="A real Kubernetes on this machine, for the e2e and for trying things.", no_args_is_help=True
)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]
_Name = Annotated[str, typer.Argument(help="A component, as `flightline cluster status` lists them.")]


@cluster.command(help="Start the cluster, or what of it does not run. Its tools are built the first time.")
def up(
    *,
    bare: Annotated[
        bool, typer.Option("--bare", help="Kubernetes alone, without Argo CD, Rollouts, Prometheus.")
    ] = False,
    kind: Annotated[
        bool,
        typer.Option(
            "--kind",
            help="Instead, a bare cluster of two workers by kind in Docker, and the line that installs Argo CD and "
            "Rollouts in it: no registry, git or Prometheus. docs/local-cluster.md.",
        ),
    ] = False,
) -> None:
    """Twice is the same as once."""
    from infra.local import cluster as clusters
    from infra.local import kind as kinds
    from infra.local.components import default_state
    from pipeline.progress import progress

    state = default_state()
    with progress() as say:
        if kind:
            kinds.up(state, say)
        else:
            kinds.refuse(state)
            clusters.up(state, say, bare=bare)
    typer.echo(f"export KUBECONFIG={state.kubeconfig}")
    if kind:
        typer.echo(kinds.BOOTSTRAP)


@cluster.command(help="End the cluster and remove every trace of it; tools, logs and the registry's blobs stay.")
def down(
    *,
    keep_state: Annotated[bool, typer.Option("--keep-state", help="Keep what etcd holds, for the next start.")] = False,
) -> None:
    """Also after it was killed."""
    from infra.local import cluster as clusters
    from infra.local import kind as kinds
    from infra.local.components import default_state
    from pipeline.progress import progress

    state = default_state()
    with progress() as say:
        if kinds.runs(state):
            kinds.down(state, say)
        else:
            clusters.down(state, say, keep_state=keep_state)


@cluster.command(help="Say what runs: each component, the node, the pods. Exit 1 where the cluster is down.")
def status(*, as_json: _AsJson = False) -> int:
    """As far as each can be asked."""
    from infra.local import cluster as clusters

    found = clusters.status(_processes())
    typer.echo(json.dumps(found, indent=2) if as_json else _text(found))
    return 0 if found["running"] else 1


@cluster.command(
    name="exec",
    help="Run a command in the cluster's network, with its kubeconfig: flightline cluster exec -- kubectl get pods.",
    context_settings={"ignore_unknown_options": True},
)
def execute(words: Annotated[list[str], typer.Argument(help="The command.")]) -> None:
    """Its exit code is the command's."""
    from infra.local import cluster as clusters

    clusters.execute(_processes(), words)


@cluster.command(help="Start a component that was stopped, killed or died.")
def start_component(name: _Name) -> None:
    """And wait until it is ready."""
    _switch("start", name)


@cluster.command(help="Stop a component, as an outage would.")
def stop_component(name: _Name) -> None:
    """And wait until it has ended."""
    _switch("stop", name)


@cluster.command(help="Kill a component, as a crash would.")
def kill_component(name: _Name) -> None:
    """Nothing restarts it."""
    _switch("kill", name)


@cluster.command(
    help="Ship what production's servers log into the store: a collector on the node, and where it hands over, the "
    "component log-sink. docs/log-shipping.md.",
)
def ship_log(
    *,
    store: Annotated[str, typer.Option(help="A folder; else FLIGHTLINE_STORE, else `monitoring.store`.")] = "",
    off: Annotated[bool, typer.Option("--off", help="End it; what was not handed over waits.")] = False,
) -> None:
    """For as long as the cluster runs; again is for another store, or after `up` of a kept state."""
    from infra.local import shipping
    from pipeline.monitoring.config import read_monitoring
    from pipeline.monitoring.store import VARIABLE
    from pipeline.progress import progress

    state, root = _processes(), Path.cwd()
    if off:
        shipping.down(state)
        return
    into = store or os.environ.get(VARIABLE) or read_monitoring(root).store
    with progress() as say:
        shipping.up(state, root, into, say)
    typer.echo(f"log: production's predictions go to {root / into}")


@cluster.command(
    help="Have `flightline retrain` work here: object store, training image, CronJob, against the local forge. "
    "docs/local-cluster.md.",
)
def retraining(
    *,
    off: Annotated[bool, typer.Option("--off", help="End it, and remove what was kept for it.")] = False,
) -> None:
    """As the checkout says that it is called in; prints what a shell needs to read and fill the pods' store."""
    from infra.local import retraining as retrainings
    from pipeline.progress import progress

    state, root = _processes(), Path.cwd()
    if off:
        retrainings.down(state, root)
        return
    with progress() as say:
        retrainings.up(state, root, say)
    for name, value in retrainings.here(state).items():
        typer.echo(f"export {name}={value}")


def _switch(verb: str, name: str) -> None:
    from infra.local import cluster as clusters

    clusters.switch(_processes(), verb, name)


def _processes() -> "State":
    """The state of a cluster of processes. Raises ClusterError where the cluster is one of kind."""
    from infra.local import kind as kinds
    from infra.local.components import default_state

    state = default_state()
    kinds.refuse(state)
    return state


def _text(found: dict[str, Any]) -> str:
    if not found["running"]:
        return "the local cluster is down"
    lines = [_component(name, one) for name, one in found["components"].items()]
    lines += [f"node {one['name']}: {'ready' if one['ready'] else 'NOT ready'}" for one in found["nodes"]]
    lines += [
        f"pod {one['namespace']}/{one['name']}: {one['phase']}{'' if one['ready'] else ', not ready'}"
        for one in found["pods"]
    ]
    return "\n".join(lines)


def _component(name: str, one: dict[str, Any]) -> str:
    code = "" if one["exit"] is None or one["pid"] else f", exit code {one['exit']}"
    return f"{name:<32} {one['phase']:<9} {one['resident'] / 1e6:5.0f} MB  {one['seconds']:.0f} s{code}"
