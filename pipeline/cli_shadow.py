"""`flightline shadow` and `flightline rescore`: a challenger on logged rows; are logged scores the bundle's own?"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_days import DAY
from pipeline.progress import progress

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]
_Bundle = Annotated[Path, typer.Argument(help="The bundle's folder.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command(help="Score production's logged rows with a challenger, and hold both against the labels.")(shadow)
    app.command(help="Ask a bundle again about a sample of logged requests: is every logged score its own?")(rescore)


def shadow(
    challenger: _Bundle = Path("build/bundle"),
    *,
    last: Annotated[datetime | None, typer.Option(formats=DAY, help="The last day to look at.")] = None,
    as_json: _AsJson = False,
) -> int:
    """Exit 0 better by the margin, 1 not, 2 cannot tell, as the benchmark gate."""
    from pipeline.config import ConfigError
    from pipeline.context import Context
    from pipeline.monitoring import shadow as shadows
    from pipeline.monitoring.retrain.run import Run

    context = Context(Path.cwd())
    with progress() as say:
        run = Run.of(context, say)
        released = run.released(run.main())
        if released is None:
            raise ConfigError("main has nothing in production, so there is nothing to compare with")
        say("scoring logged rows")
        day = last.date() if last else None
        found = shadows.from_store(context, challenger, released.version, context.params.gates.benchmark, day)
    typer.echo(found.model_dump_json(indent=2) if as_json else shadows.markdown(found))
    return found.exit_code


def rescore(
    bundle: _Bundle = Path("build/bundle"),
    log: Annotated[Path, typer.Argument(help="The prediction log; - for standard input.")] = Path("-"),
    *,
    sample: Annotated[int, typer.Option(min=1, help="How many rows to ask again.")] = 1000,
    as_json: _AsJson = False,
) -> int:
    """Exit 0 they are, 1 one is not, 2 no row is of this bundle."""
    from pipeline.config import read_params
    from pipeline.monitoring.rescoring import rescore as ask
    from serving import bundle as bundles

    allowed = read_params(Path.cwd()).gates.differential.parity_tolerance
    opened = bundles.load(bundle)
    if str(log) == "-":
        found = ask(opened, sys.stdin.buffer, sample, allowed)
    else:
        with log.open("rb") as lines:
            found = ask(opened, lines, sample, allowed)
    typer.echo(found.model_dump_json() if as_json else found.text)
    return found.exit_code
