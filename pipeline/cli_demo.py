"""`flightline demo`: the whole story on this machine, from a push to production and back."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(help="Tell a release's story on the local forge and cluster, by itself; writes build/demo/.")(demo)


def demo(
    *,
    uncommitted: Annotated[
        bool, typer.Option("--uncommitted", help="Take the files as they are, not as they are committed.")
    ] = False,
) -> None:
    """The forge that is there is replaced; what the demo leaves runs on, to be looked at."""
    from infra.local import demo as demos
    from infra.local import kind as kinds
    from infra.local.components import default_state
    from pipeline.progress import progress

    state = default_state()
    kinds.refuse(state)
    with progress() as say:
        page = demos.play(state, demos.default_folder(), say, uncommitted=uncommitted)
    typer.echo(page)
