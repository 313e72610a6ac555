"""`flightline dashboards | dashboard`: the panels for Grafana, and as a page of our own."""

import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.progress import progress

dashboards = typer.Typer()


@dashboards.command("dashboards", help="Write Grafana's dashboards anew, in k8s/components/grafana.")
def write() -> None:
    """From pipeline/dashboards; what did not change is not written."""
    from pipeline.dashboards import grafana

    for path in grafana.write(Path.cwd()):
        typer.echo(path)


@dashboards.command("dashboard", help="Draw the same panels from a Prometheus as one page, build/dashboard.html.")
def draw(
    prometheus: Annotated[
        str,
        typer.Option("--prometheus", envvar="FLIGHTLINE_PROMETHEUS", help="Its address, as http://127.0.0.1:9090."),
    ],
    env: Annotated[str, typer.Option("--env", help="One environment; without it, all that Prometheus knows.")] = "",
    hours: Annotated[float, typer.Option("--hours", min=0.05, max=24 * 90, help="How far back.")] = 1.0,
    out: Annotated[Path, typer.Option("--out", help="The file.")] = Path("build/dashboard.html"),
) -> None:
    """Exit 69 where Prometheus is away."""
    from pipeline.config import read_settings
    from pipeline.dashboards import page
    from pipeline.dashboards.answers import ANY, Span
    from pipeline.dashboards.boards import BOARDS
    from pipeline.frames import write_text
    from pipeline.prometheus import Prometheus

    settings = read_settings(Path.cwd())
    known = page.known(settings, env)
    span = Span(hours * 3600, time.time(), f"{settings.name}-{known}" if known else ANY, known or ANY)
    with progress() as say:
        view = page.look(Prometheus(prometheus), BOARDS, settings.title, span, say)
        say("drawing")
        write_text(out, page.text(view))
    typer.echo(f"dashboard: {out}")
