"""`flightline observe | backtest | exporter`: what the logged predictions and their labels say of production."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_days import AsOf, today
from pipeline.progress import progress

if TYPE_CHECKING:
    from pipeline.context import Context

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]
_Served = Annotated[
    Path | None, typer.Option("--bundle", help="The bundle that is served, where main does not say it.")
]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command(
        help="Look at the logged rows: broken feed, drift, decay. Exit 0 quiet, 1 alarm, 2 too little to tell."
    )(observe)
    app.command(help="How often the limits of decay alarm when nothing changed, and how soon when something did.")(
        backtest
    )
    app.command(help="Serve the newest observation as /metrics and its page as / on HOST and PORT until Ctrl-C.")(
        exporter
    )


def observe(
    *,
    as_of: AsOf = None,
    served: _Served = None,
    evidently: Annotated[
        bool, typer.Option("--evidently", help="Also write Evidently's report, where it is installed.")
    ] = False,
    as_json: _AsJson = False,
) -> int:
    """Writes build/observation.json, .html and .prom, and a line in build/observations.jsonl."""
    from pipeline.context import Context
    from pipeline.lock import exclusive
    from pipeline.monitoring import evidently as evidentlys
    from pipeline.monitoring import observe as looking
    from pipeline.monitoring import report
    from pipeline.monitoring.store import open_store

    context, day = Context(Path.cwd()), today(as_of)
    if evidently:
        evidentlys.check()
    with progress() as say, exclusive(Path.cwd(), say):
        found = looking.run(context, day, say, served)
        if evidently:
            say("Evidently's report")
            evidentlys.render(context, open_store(context), day)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print(report.terminal(found))
    typer.echo(report.headline(found), err=as_json)
    return found.exit_code


def backtest(
    *,
    streams: Annotated[int, typer.Option("--streams", min=20, max=5000, help="Streams to draw.")] = 200,
    served: _Served = None,
    as_json: _AsJson = False,
) -> int:
    """Exit 1 where more unchanged streams alarm than stated, given that the held-out days are what days are like."""
    from pipeline.context import Context
    from pipeline.frames import write_text
    from pipeline.monitoring import backtest as backtesting
    from pipeline.monitoring.config import read_monitoring
    from pipeline.monitoring.observe import production_bundle
    from pipeline.monitoring.reference import read_reference
    from serving import bundle

    context = Context(Path.cwd())
    with progress() as say:
        say("production's bundle")
        folder = served or production_bundle(context)
        bundle.check_files(folder)
        reference = read_reference(folder, bundle.version(folder))
        say(f"{streams} streams")
        rules = read_monitoring(context.root).decay
        found = backtesting.run(reference, context.model.card.task, rules, streams)
    write_text(Path("build/backtest.json"), found.model_dump_json(indent=2) + "\n")
    typer.echo(found.model_dump_json(indent=2) if as_json else backtesting.text(found))
    return 0 if found.holds else 1


def exporter(
    *,
    every: Annotated[
        float | None, typer.Option("--every", min=60, help="Also look, every so many seconds; else only serve.")
    ] = None,
    env: Annotated[str, typer.Option("--env", help="The label `env` of every figure.")] = "production",
    served: _Served = None,
) -> None:
    """HOST (default 127.0.0.1) and PORT (default 9108) are environment variables, as for the server."""
    from pipeline.context import Context
    from pipeline.lock import exclusive
    from pipeline.monitoring import exporter as exporting
    from pipeline.monitoring import observe as looking
    from pipeline.run import address

    root = Path.cwd()

    def look() -> None:
        with exclusive(root, _silent):
            context = Context(root)
            if served is None:
                _bring_main(context)
            _remember_tried(root, env)
            looking.run(context, today(None), _silent, served)

    looks = exporting.Looks(look, lambda why: _tell(f"a look failed: {why}"))
    host, port = address("9108")
    _tell(f"http://{host}:{port}/metrics")
    exporting.serve(root, host, port, looks, env, every)


def _bring_main(context: "Context") -> None:
    """A forge that is away hinders no look: what was released last is most likely still served."""
    from pipeline import production
    from pipeline.errors import GitError

    try:
        production.bring_main(context)
    except GitError as error:
        _tell(f"going on with the main that is here: {error}")


def _remember_tried(root: Path, env: str) -> None:
    """What was tried, for Prometheus; where that cannot be read, what was known before stands."""
    from pipeline.delivery.git import Here
    from pipeline.errors import foreseen
    from pipeline.frames import write_text
    from pipeline.monitoring import metrics
    from pipeline.monitoring.retrain import guards, ledger
    from pipeline.monitoring.retrain.config import read_retrain

    try:
        attempts = ledger.of(Here(root)).attempts()
        failed = guards.failures(attempts, read_retrain(root).reset_after)
    except foreseen() as error:
        _tell(f"attempts to retrain cannot be read: {error}")
    else:
        write_text(root / metrics.TRIED, metrics.of_attempts(attempts, len(failed), env))


def _tell(what: str) -> None:
    typer.echo(f"exporter: {what}", err=True)


def _silent(_: str) -> None:
    """Nobody watches."""


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)
