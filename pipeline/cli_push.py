"""`flightline plan` and `flightline commit-lock`: what a run on a push asks first, and what it may write first."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.progress import progress

Output = Annotated[
    Path | None, typer.Option("--output", help="Add key=value lines to this file, as $GITHUB_OUTPUT takes them.")
]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command(help="Say what HEAD asks for, in seconds: is it machine-written, another model, another release?")(plan)
    app.command("commit-lock", help="Commit the dvc.lock that `dvc repro` wrote here on main, alone.")(commit_lock)


def plan(
    *,
    base: Annotated[
        str, typer.Option("--base", help="What to compare with; without it, where HEAD left main, or its first parent.")
    ] = "",
    output: Output = None,
) -> None:
    """Exit 0 whatever the answers are."""
    from pipeline.delivery import plan as planning
    from pipeline.delivery.git import Here

    found = planning.plan(Here(Path.cwd()), base)
    if output is not None:
        planning.write(found.values, output)
    typer.echo(found.text)


def commit_lock(
    *,
    push: Annotated[bool, typer.Option("--push", help="Push to main; without it a branch is prepared.")] = False,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Open or update the pull request of that branch.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the commit's diff and write nothing.")] = False,
    output: Output = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")
    ] = False,
) -> int:
    """Exit 0 committed, prepared or nothing to do, 1 refused. In the output, `go`: HEAD holds this lock already."""
    from pipeline.delivery import lock
    from pipeline.delivery.git import Here
    from pipeline.delivery.plan import write
    from pipeline.delivery.push import How

    if push and pull_request:
        raise typer.BadParameter("give one of --push and --pull-request")
    here = Here(Path.cwd())
    with progress() as say:
        found = lock.commit_lock(here, How(push=push, dry_run=dry_run), say)
        if pull_request and found.outcome == "prepared":
            found = lock.ask(here, found, say)
    if output is not None:
        write(lock.values(here, found), output)
    typer.echo(found.model_dump_json() if as_json else found.text)
    code: int = found.exit_code
    return code
