"""`flightline`: one typed command line. Every verb is the word that the Makefile, the workflows and the docs use.

Exit codes: 0 done, or the gate passes; 1 the gate fails, a release is refused, a check does not hold, monitoring
alarms; 2 the gate is inconclusive, a rollout waits for a person, monitoring has too little to tell; 3 a rollout is
under way; 64 wrong usage or configuration; 65 data or bundle not as they should be; 69 something needed is not
available; 70 a fault nobody foresaw; 74 input or output failed; 130 interrupted.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from pipeline import (
    cli_demo,
    cli_monitoring,
    cli_play,
    cli_push,
    cli_retrain,
    cli_shadow,
    cli_sink,
    cli_supply,
    cli_validate,
)
from pipeline.cli_ci import ci
from pipeline.cli_cluster import cluster
from pipeline.cli_dashboards import dashboards
from pipeline.cli_delivery import check, delivery
from pipeline.cli_forge import forge
from pipeline.cli_image import image
from pipeline.cli_labels import labels, log
from pipeline.cli_report import review
from pipeline.cli_rollout import rollout
from pipeline.cli_tools import tools
from pipeline.errors import USAGE, explain
from pipeline.lock import exclusive
from pipeline.progress import progress

app = typer.Typer(
    name="flightline",
    help="From a model to a gated, served release. `make help` lists the everyday targets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(image, name="image")
app.add_typer(delivery)
app.add_typer(rollout)
app.add_typer(review)
app.add_typer(dashboards)
app.add_typer(check, name="check")
app.add_typer(cluster, name="cluster")
app.add_typer(ci, name="ci")
app.add_typer(tools, name="tools")
app.add_typer(forge, name="forge")
app.add_typer(log, name="log")
app.add_typer(labels, name="labels")
cli_validate.register(app)
cli_supply.register(app)
cli_push.register(app)
cli_demo.register(app)
cli_monitoring.register(app)
cli_play.register(app)
cli_retrain.register(app)
cli_shadow.register(app)
cli_sink.register(log)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


def main() -> None:
    """Run the command line; turn every foreseen fault into one line and its exit code."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except typer.Abort:
        sys.exit(130)
    except TyperException as error:
        _explain_usage(error)
        sys.exit(USAGE)
    except Exception as error:
        if os.environ.get("FLIGHTLINE_DEBUG"):
            raise
        explained = explain(error)
        typer.echo(f"error: {explained.message}", err=True)
        sys.exit(explained.code)


def _explain_usage(error: TyperException) -> None:
    """Typer's own words, with the usage line where it has one."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
    else:
        typer.echo(f"error: {error.format_message()}", err=True)


def _context() -> Any:
    from pipeline.context import Context

    return Context(Path.cwd())


def _stage(name: str, made: Path) -> None:
    """Run one stage and say in a line what it made and how long it took."""
    started = time.monotonic()
    importlib.import_module(f"pipeline.stages.{name}").run(_context())
    typer.echo(f"{name}: {made} ({time.monotonic() - started:.1f} s)")


@app.command(help="Stage 1: fetch the raw tables of the window -> build/raw.")
def fetch() -> None:
    """dvc.yaml, stage fetch."""
    _stage("fetch", Path("build/raw"))


@app.command(help="Stage 2: join the tables and split the rows -> build/rows.")
def prepare() -> None:
    """dvc.yaml, stage prepare."""
    _stage("prepare", Path("build/rows"))


@app.command(help="Stage 3: fit the estimator and convert it to ONNX -> build/model.")
def train() -> None:
    """dvc.yaml, stage train."""
    _stage("train", Path("build/model"))


@app.command(help="Stage 4: metrics and plots on the held-out rows -> build/evaluation.")
def evaluate() -> None:
    """dvc.yaml, stage evaluate."""
    _stage("evaluate", Path("build/evaluation"))


@app.command(help="Stage 5: seal all that a server needs -> build/bundle.")
def bundle() -> None:
    """dvc.yaml, stage bundle."""
    _stage("bundle", Path("build/bundle"))


@app.command(help="Put build/bundle before the gates. Exit 0 pass, 1 fail, 2 inconclusive.")
def gate(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Run only these (data, benchmark, differential, load) and leave build/verdict.json alone."),
    ] = None,
    *,
    retrain: Annotated[
        bool,
        typer.Option("--retrain", help="Ask for a gain, as a retrain pull request must."),
    ] = False,
    head: Annotated[
        str,
        typer.Option("--head", help="The branch that is judged; main's `retrain.branch` has to be a gain."),
    ] = "",
    image: Annotated[str, typer.Option("--image", help="Load this very image, by digest, beside production's.")] = "",
    part: Annotated[
        bool,
        typer.Option(
            "--part",
            help="Write what the named gates say to build/verdict.json, beside what others said of exactly the same. "
            "`load` alone reads no rows and asks nothing of the model's code.",
        ),
    ] = False,
    as_json: _AsJson = False,
) -> int:
    """Every gate, the verdict and its report; or some gates, to look at or as a part of the verdict."""
    from pipeline import gate as gates
    from pipeline import report
    from pipeline.monitoring.retrain.config import is_retraining

    kind: gates.Kind = "retrain" if retrain or is_retraining(_context(), head) else "change"
    if names:
        return _some_gates(names, gates.part if part else gates.some, kind, image, as_json=as_json)
    if part:
        raise typer.BadParameter("--part needs the names of gates, as in `flightline gate load --part`")
    with progress() as say, exclusive(Path.cwd(), say):
        verdict = gates.run(_context(), kind, say, image)
        say("report")
        report.render(verdict, Path("build"))
    if as_json:
        typer.echo(verdict.model_dump_json(indent=2))
    else:
        _print(report.terminal(verdict))
    typer.echo(report.headline(verdict), err=as_json)
    return verdict.decision.exit_code


def _some_gates(names: list[str], judged: Any, kind: Any, image: str, *, as_json: bool) -> int:
    """Exit as the worst of these gates, and of those that the verdict had before where they are a part of it."""
    from pipeline.gate import without_missing

    with progress() as say, exclusive(Path.cwd(), say):
        results = judged(_context(), kind, names, say, image).gates
    if as_json:
        typer.echo(json.dumps([result.model_dump(mode="json") for result in results], indent=2))
    for result in results:
        typer.echo(f"{result.decision.upper()}  {result.gate}: {result.reason}", err=as_json)
    return without_missing(results).exit_code


@app.command(help="Render build/verdict.json again: build/report.md, build/report.html, build/plots.")
def report() -> None:
    """The verdict for people."""
    from pipeline import report as reports
    from pipeline.gate import read_verdict

    paths = reports.render(read_verdict(Path.cwd()), Path("build"))
    typer.echo(f"report: {paths.page}")


@app.command(help="Write build/bundle to MLflow, once: parameters, metrics, plots, hashes, a registered version.")
def record(*, as_json: _AsJson = False) -> None:
    """MLFLOW_TRACKING_URI names a server; without it, a sqlite file."""
    from pipeline.record import record as write

    found = write(_context())
    typer.echo(json.dumps(found.model_dump()) if as_json else found.sentence)


@app.command(
    help="Follow a bundle from its data to the pods that run it. Every link is verified; one that cannot be is open."
)
def trace(
    what: Annotated[
        str, typer.Argument(help="A bundle's folder or version, an image's digest, an environment, a pod, or nothing.")
    ] = "",
    *,
    as_json: _AsJson = False,
) -> int:
    """Exit 1 where a link does not hold."""
    from pipeline.trace import trace as follow

    chain = follow(_context(), what)
    typer.echo(chain.model_dump_json(indent=2) if as_json else chain.text)
    return 0 if chain.holds else 1


@app.command(help="Train, gate and serve: all of it, skipping what has not changed. What `make run` does.")
def run() -> None:
    """Serves in the foreground on HOST and PORT until Ctrl-C."""
    from pipeline.run import run as everything

    with progress() as say:
        serve_now = everything(_context(), say)
    serve_now()


@app.command(help="Serve build/bundle on HOST and PORT until Ctrl-C.")
def serve() -> None:
    """The candidate as it stands, with a notice where it is not fit for production."""
    from pipeline.run import serving, standing

    context = _context()
    serving(context, standing(context))()


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)
