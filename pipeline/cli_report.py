"""`flightline evidence | comment | publish`: what a pull request's run found, and what main's code says of it."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.progress import progress

review = typer.Typer()

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


@review.command(help="Collect what this run found, whatever became of it, in build/evidence.")
def evidence(
    base: Annotated[str, typer.Option("--base", help="The commit that the pull request would be merged into.")],
    *,
    as_json: _AsJson = False,
) -> None:
    """Runs after `dvc repro` and `flightline gate`, also after they failed; exits 0 wherever it could write."""
    from pipeline.context import Context
    from pipeline.review.collect import FOLDER, collect

    with progress() as say:
        found = collect(Context(Path.cwd()), base, say)
    reason = f": {found.reason}" if found.reason else ""
    typer.echo(found.model_dump_json() if as_json else f"{FOLDER}: {found.outcome}{reason}")


@review.command(help="Comment on the pull request of a run, with main's code, from what the run handed over.")
def comment(
    run: Annotated[int, typer.Option("--run", help="The run's id, as the forge counts.")],
    evidence: Annotated[Path, typer.Option("--evidence", help="Where its artifact was downloaded to.")],
    *,
    as_json: _AsJson = False,
) -> None:
    """One comment, updated in place, and a status per gate; what the statuses say is no error of this verb."""
    from pipeline.delivery.git import Here
    from pipeline.forge import Forge
    from pipeline.review.post import post

    here = Here(Path.cwd())
    with progress() as say:
        found = post(here, Forge.of(here.settings, say=say), run, evidence, say)
    typer.echo(found.model_dump_json() if as_json else found.text)


@review.command(help="Put the report of HEAD on the branch `reports`, under commits/<sha>.")
def publish(*, as_json: _AsJson = False) -> None:
    """Of main's own commits, after `flightline gate`."""
    from pipeline.context import Context
    from pipeline.review.publish import publish as run

    with progress() as say:
        found = run(Context(Path.cwd()), say)
    typer.echo(found.model_dump_json() if as_json else f"published: {found.folder}")
