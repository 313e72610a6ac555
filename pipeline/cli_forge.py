"""`flightline forge`: a forge on this machine that runs the project's own workflows, up and down."""

import json
from typing import Annotated, Any, Literal

import typer

forge = typer.Typer(help="A forge on this machine that runs the project's own workflows.", no_args_is_help=True)


@forge.command(
    help="Start the forge, and the cluster where it is down; the first time with a fork of HEAD on its main."
)
def up(
    *,
    mode: Annotated[
        Literal["bypass", "pull-request"],
        typer.Option(help="How machines write to main: the bot pushes, or opens pull requests too."),
    ] = "bypass",
    uncommitted: Annotated[
        bool, typer.Option("--uncommitted", help="Take the files as they are, not as they are committed.")
    ] = False,
) -> None:
    """Twice is the same as once; another mode takes its place."""
    from infra.local import forge as forges
    from infra.local import kind as kinds
    from infra.local.components import default_state
    from pipeline.progress import progress

    state = default_state()
    kinds.refuse(state)
    with progress() as say:
        forges.up(state, say, mode=mode, uncommitted=uncommitted)
    typer.echo(_text(forges.status(state)))


@forge.command(help="End the forge and remove every trace of it, its repositories too; the cluster stays up.")
def down() -> None:
    """Also after it was killed."""
    from infra.local import forge as forges
    from infra.local.components import default_state
    from pipeline.progress import progress

    with progress() as say:
        forges.down(default_state(), say)


@forge.command(help="Say what runs, and how the newest runs of workflows went. Exit 1 where the forge is down.")
def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text.")] = False
) -> int:
    """As far as each can be asked."""
    from infra.local import forge as forges
    from infra.local.components import default_state

    found = forges.status(default_state())
    typer.echo(json.dumps(found, indent=2) if as_json else _text(found))
    return 0 if found["running"] else 1


def _text(found: dict[str, Any]) -> str:
    lines = [f"{name:<10} {phase}" for name, phase in found["components"].items()]
    if found["running"]:
        lines += [f"repository {found['address']}.git", f"passwords  {found['credentials']}"]
    return "\n".join([*lines, *map(_run, found["runs"])])


def _run(run: dict[str, Any]) -> str:
    how = run["conclusion"] or run["status"]
    return f"run {run['id']:<6} {how:<10} {run['workflow']} ({run['event']}): {run['display_title']}"
