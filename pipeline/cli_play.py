"""`flightline play`: the months after production's own data, played to the server on this machine."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_days import DAY
from pipeline.progress import progress

_Day = datetime | None


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        help="Play the days after production's own data to the server on this machine: traffic, late labels, what is "
        "observed, what is retrained; writes build/observe/. What `make observe` does."
    )(play)


def play(
    *,
    first: Annotated[
        _Day,
        typer.Option(
            "--from", formats=DAY, help="The first day; without it, the day after the window of params.yaml ends."
        ),
    ] = None,
    last: Annotated[
        _Day, typer.Option("--to", formats=DAY, help="The last day; without it, after `monitoring.play.days` days.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Forget what was played before; else it goes on.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")
    ] = False,
) -> None:
    """Nothing of the checkout changes; a run that was stopped goes on where it was."""
    from pipeline.context import Context
    from pipeline.monitoring.play import page
    from pipeline.monitoring.play.plan import span_of
    from pipeline.monitoring.play.run import play as played
    from pipeline.monitoring.play.stage import FOLDER
    from pipeline.monitoring.played import event_time

    context = Context(Path.cwd())
    event_time(context.model.schema)  # first, for rows without it have no window either
    span = span_of(context.root, _date(first), _date(last))
    with progress() as say:
        found = played(context, span, say, _silent if as_json else typer.echo, anew=anew)
    typer.echo(found.model_dump_json(indent=2) if as_json else page.headline(found))
    typer.echo(f"play: {FOLDER / page.NAME}", err=as_json)


def _date(given: _Day) -> date | None:
    return given.date() if given else None


def _silent(_: str) -> None:
    """A program reads the story."""
