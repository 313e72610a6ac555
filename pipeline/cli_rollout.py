"""`flightline status | resume | abort`: what each environment is at, and what a person may tell a rollout."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

rollout = typer.Typer()

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]
_Env = Annotated[str, typer.Option("--env", help="The environment.")]
_Identity = Annotated[str, typer.Option("--identity", help="Only if this is what rolls out; 12 characters or more.")]
_Context = Annotated[str, typer.Option("--context", help="A context of the kubeconfig; its current one without this.")]
_EVERY = 2.0


@rollout.command(help="Say what git, Argo CD, the rollout and the pods of each environment are at, and why it waits.")
def status(
    *,
    env: Annotated[str, typer.Option("--env", help="This environment alone.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Look every 2 s until nothing moves by itself.")] = False,
    context: _Context = "",
    as_json: _AsJson = False,
) -> int:
    """Exit 0 in step, 1 aborted, degraded, out of step, 2 waiting for a human, 3 under way, 69 not known."""
    from pipeline.delivery.status import look
    from pipeline.delivery.status_text import text

    here = _context()
    environments = [_environment(here, env)] if env else list(here.settings.environments)
    shown = ""
    while True:
        found = look(here, environments, context)
        said = found.model_dump_json(indent=2) if as_json else text(found)
        if said != shown:
            typer.echo(said + ("\n" if watch and not as_json else ""))
            shown = said
        if not watch or found.settled:
            return found.exit_code
        time.sleep(_EVERY)


@rollout.command(help="Let a paused rollout go on, past an inconclusive analysis.")
def resume(env: _Env, *, identity: _Identity = "", context: _Context = "") -> None:
    """Refused where nothing is paused."""
    from pipeline.delivery import control

    cluster, names = _target(env, context)
    typer.echo(f"{env}: {control.resume(cluster, names, identity)[:12]} goes on")


@rollout.command(
    help="Abort a rollout: all traffic goes back to the stable version. Main still names what was aborted."
)
def abort(
    env: _Env,
    *,
    identity: _Identity = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; shown by `flightline status`.")] = "",
    context: _Context = "",
) -> None:
    """Refused where nothing is rolling out."""
    from pipeline.delivery import control

    cluster, names = _target(env, context)
    aborted = control.abort(cluster, names, identity, reason)
    typer.echo(
        f"{env}: {aborted[:12]} is aborted; `flightline rollback --env {env} --aborted {aborted}` prepares the revert"
    )


def _target(env: str, context: str) -> tuple[Any, Any]:
    """The cluster to ask, and what the environment's objects are called there."""
    from pipeline.delivery.cluster import Names, connect

    here = _context()
    return connect(context), Names.of(here.settings, _environment(here, env))


def _environment(here: Any, env: str) -> str:
    from pipeline.delivery.release import known_environment

    return known_environment(here, env)


def _context() -> Any:
    from pipeline.context import Context

    return Context(Path.cwd())
