"""`flightline log serve`: where OpenTelemetry Collectors hand over the prediction log."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

TOKEN = "FLIGHTLINE_LOG_TOKEN"  # noqa: S105 - where it is, not what
PORT = 4318


def register(log: typer.Typer) -> None:
    """Add the verb to `flightline log`."""
    log.command(help=f"Take the log from OpenTelemetry Collectors over HTTP into the store; {TOKEN} is who may.")(serve)


def serve(
    *,
    host: Annotated[str, typer.Option(help="Beyond loopback only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="OTLP's own for HTTP is 4318.")] = PORT,
) -> None:
    """Until SIGTERM or SIGINT; says then what became of the lines."""
    from pipeline.context import Context
    from pipeline.monitoring.endpoint import Endpoint
    from pipeline.monitoring.log import LogCounts
    from pipeline.monitoring.sink import LOGS, routes
    from pipeline.monitoring.store import open_store

    store, total = open_store(Context(Path.cwd())), LogCounts()

    def add(lines: Sequence[bytes]) -> LogCounts:
        nonlocal total
        counts = store.add_predictions(lines)
        total += counts.model_copy(update={"examples": ()})
        return counts

    with Endpoint(host, port, routes(add), os.environ.get(TOKEN, "")) as endpoint:
        typer.echo(f"log: http://{host}:{endpoint.server_port}{LOGS} leads to {store.place.where}")
        endpoint.run()
    typer.echo(f"log: {total.read} lines: {total.kept} kept, {total.duplicate} duplicate, {total.skipped} not kept")
