"""`flightline log` and `flightline labels`: the prediction log as a dataset, and what became of the predictions."""

import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli_days import AsOf, now, today

log = typer.Typer(help="The prediction log as a dataset.", no_args_is_help=True)
labels = typer.Typer(help="Labels: how predictions turned out.", no_args_is_help=True)

TOKEN = "FLIGHTLINE_LABELS_TOKEN"  # noqa: S105 - where it is, not what
LEAST_TOKEN = 16
PORT = 8200

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


@log.command("add", help="Keep the predictions of log files. What is there already is not kept twice.")
def add_log(
    given: Annotated[list[str], typer.Argument(metavar="FILE|FOLDER|s3://...", help="Lines as they are, or wrapped.")],
    *,
    as_json: _AsJson = False,
) -> None:
    """Malformed and foreign lines are counted and left out."""
    from pipeline.monitoring.log import LogCounts
    from pipeline.monitoring.sources import sources
    from pipeline.progress import progress

    context = _context()
    store, total = _store(context), LogCounts()
    with progress() as say:
        for source in (one for name in given for one in sources(name, context.root)):
            say(str(source))
            counts = store.add_predictions(source.lines(), say)
            total += counts.model_copy(update={"examples": tuple(f"{source}: {one}" for one in counts.examples)})
    typer.echo(total.model_dump_json() if as_json else f"log: {_sentence(total)}; in {store.place.where}")
    for one in total.examples:
        typer.echo(f"malformed: {one}", err=True)


def _sentence(counts: Any) -> str:
    days = f" of {counts.days[0]} to {counts.days[-1]}" if counts.days else ""
    return (
        f"{counts.read:,} lines: {counts.kept:,} predictions kept{days}, {counts.duplicate:,} duplicate, "
        f"{counts.malformed:,} malformed, {counts.foreign:,} foreign"
    )


@log.command("days", help="Say what is kept: predictions and how many have a label, by day and version.")
def days(*, as_json: _AsJson = False) -> None:
    """Reads the store, changes nothing."""
    store = _store(_context())
    table = store.days()
    if as_json:
        typer.echo(json.dumps(table.to_dicts(), default=str, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table("day", "version", "predictions", "labelled", title=f"{store.place.where}")
    for day, version, predictions, labelled in table.iter_rows():
        shown.add_row(str(day), version[:12], f"{predictions:,}", f"{labelled:,}")
    Console().print(shown)


@log.command("expire", help="Remove the days that are older than `monitoring.retention_days`, and say which.")
def expire(
    *,
    as_of: AsOf = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Predictions, labels and counts of whole days."""
    store = _store(_context())
    gone = store.expire(today(as_of), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in gone]))
        return
    for one in gone:
        typer.echo(f"{one.day}: {one.files} files{' would be' if dry_run else ''} removed")
    kept = store.rules.retention_days
    typer.echo(
        f"expire: {len(gone)} days; kept are {f'the last {kept} days' if kept else 'all'} in {store.place.where}"
    )


@labels.command("add", help="Add the labels of files: CSV, JSON lines or Parquet with id, label, event_day, known_at.")
def add_labels(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help=".csv, .jsonl (or .gz of them) or .parquet")],
    *,
    as_of: AsOf = None,
    correct: Annotated[
        bool, typer.Option("--correct", help="Where a label says otherwise than what is known, it holds.")
    ] = False,
    as_json: _AsJson = False,
) -> int:
    """Bad rows are named and left out; exit 65 where there were any."""
    from pipeline.errors import DATA
    from pipeline.monitoring.label_files import BadRows, read_labels
    from pipeline.monitoring.labels import LabelCounts
    from pipeline.progress import progress

    context = _context()
    store, counts, bad = _store(context), LabelCounts(), BadRows()
    binary = context.model.card.task == "classification"
    with progress() as say:
        for path in files:
            say(str(path))
            found = read_labels(path, bad.add, binary=binary)
            counts += store.add_labels(found, now(as_of), corrects=correct, say=say)
    said = {**counts.model_dump(), "bad": bad.count}
    typer.echo(json.dumps(said) if as_json else f"labels: {_counts(said)}")
    for row in bad.first:
        typer.echo(f"bad: {row}", err=True)
    if bad.count > len(bad.first):
        typer.echo(f"bad: {bad.count - len(bad.first):,} more", err=True)
    return DATA if bad.count else 0


@labels.command("serve", help=f"Take labels over HTTP into the store, until Ctrl-C; {TOKEN} is who may.")
def serve(
    *,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Which port.")] = PORT,
    as_of: AsOf = None,
) -> None:
    """Says at the end what became of all labels."""
    from pipeline.config import ConfigError
    from pipeline.monitoring.labels import LabelCounts
    from pipeline.monitoring.receive import PATH, Receiver, routes

    token = os.environ.get(TOKEN, "")
    if len(token) < LEAST_TOKEN:
        raise ConfigError(
            f"{TOKEN}: {len(token)} characters; set one of {LEAST_TOKEN} or more, `openssl rand -hex 24` say"
        )
    context = _context()
    store, total = _store(context), LabelCounts()

    def keep(given: Sequence[Any], now: datetime) -> LabelCounts:
        nonlocal total
        counts: LabelCounts = store.add_labels(given, now)
        total += counts
        return counts

    ways = routes(keep, lambda: now(as_of), binary=context.model.card.task == "classification")
    with Receiver(host, port, ways, token) as endpoint:
        typer.echo(f"labels: http://{host}:{endpoint.server_port}{PATH} leads to {store.place.where}")
        endpoint.run()
    typer.echo(f"labels: {_counts(total.model_dump())}")


def _counts(counts: dict[str, int]) -> str:
    late = f" ({counts['late']:,} late)" if counts["late"] else ""
    return f"{counts['new']:,} new{late}" + "".join(
        f", {many:,} {name}" for name, many in counts.items() if name not in ("new", "late") and many
    )


def _store(context: Any) -> Any:
    from pipeline.monitoring.store import open_store

    return open_store(context)


def _context() -> Any:
    from pipeline.context import Context

    return Context(Path.cwd())
