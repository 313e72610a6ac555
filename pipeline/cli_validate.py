"""`flightline validate`, `security`, `schemas`, `settings`: what a cluster will be asked to run, checked."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

settings = typer.Typer(help="[tool.flightline] in pyproject.toml, and the files that repeat it.", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command(
        help="Check all that a cluster is asked to run: renders, schemas, security, digests, releases, settings."
    )(validate)
    app.command(help="Scan workflows, manifests, Dockerfile, secrets and the dependencies' known faults.")(security)
    app.command(help="Write infra/schemas anew from the Go modules that infra/schemas/sources.yaml names.")(schemas)
    app.add_typer(settings, name="settings")


def validate(*, as_json: _AsJson = False) -> int:
    """Every check is run and every failure shown. Exit 1 where there is one."""
    from pipeline.context import Context
    from pipeline.progress import progress
    from pipeline.validate import validate as run

    with progress() as say:
        results = run(Context(Path.cwd()), say)
    return _shown(results, as_json=as_json)


def security(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out what asks a database.")] = False,
    as_json: _AsJson = False,
) -> int:
    """Exit 1 where something is found, or where nobody could look."""
    from pipeline.context import Context
    from pipeline.progress import progress
    from pipeline.validate import secure

    with progress() as say:
        results = secure(Context(Path.cwd()), say, offline=offline)
    return _shown(results, as_json=as_json)


def _shown(results: Sequence[Any], *, as_json: bool) -> int:
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in results], indent=2))
    for one in results:
        typer.echo(one.summary, err=as_json)
    for one in results:
        for failure in one.failures:
            typer.echo(f"{one.check}: {failure}", err=True)
    return 0 if all(one.holds for one in results) else 1


def schemas() -> None:
    """Needs Go and its module proxy."""
    from pipeline.progress import progress
    from pipeline.validate import sources

    with progress() as say:
        count = sources.write(Path.cwd(), say)
    typer.echo(f"schemas: {count} kinds in {sources.FOLDER}")


@settings.command(help="Name every place that disagrees with [tool.flightline]. Exit 1 where one does.")
def check() -> int:
    """File, line, found, expected."""
    from pipeline.config import read_settings
    from pipeline.validate.settings import check as agree

    result = agree(Path.cwd(), read_settings(Path.cwd()))
    typer.echo("\n".join((*result.failures, result.summary)))
    return 0 if result.holds else 1


@settings.command(help="Rewrite every place that disagrees with [tool.flightline].")
def apply() -> None:
    """Comments, releases and contracts of the code stay as they are."""
    from pipeline.config import read_settings
    from pipeline.validate.settings import apply as rewrite

    changed = rewrite(Path.cwd(), read_settings(Path.cwd()))
    typer.echo("\n".join(["changed:", *(f"  {path}" for path in changed)] if changed else ["everything agrees"]))
