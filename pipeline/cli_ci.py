"""`flightline ci`: what a workflow's job does to the machine it runs on, before it does its work."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli_push import Output

ci = typer.Typer(
    help="For the jobs of workflows: whose repository is this, and the logins of a job.", no_args_is_help=True
)


@ci.command(help="Say whether pyproject.toml speaks of the repository whose workflow this is: ours=true or false.")
def here(
    *,
    output: Output = None,
) -> None:
    """Exit 0 either way."""
    from pipeline import ci as machine
    from pipeline.delivery.plan import write

    ours, why = machine.here(_settings())
    if output is not None:
        write({"ours": str(ours).lower()}, output)
    # What a forge shows at the top of a run, and a terminal as it is.
    typer.echo(why if ours or "GITHUB_ACTIONS" not in os.environ else f"::notice::{why}")


@ci.command(help="Say what of a delivery is left to do: todo=all, `delivery` where the checks passed, or nothing.")
def wanted(
    *,
    output: Output = None,
) -> None:
    """Exit 0 either way."""
    from pipeline.delivery.git import Here, Repository
    from pipeline.delivery.plan import plan, write
    from pipeline.delivery.wanted import wanted as ask
    from pipeline.forge import Forge

    at = Here(Path.cwd())
    found, why = ask(Repository.of(at), Forge.of(at.settings), lambda: plan(at).release, typer.echo)
    if output is not None:
        write({"todo": found}, output)
    typer.echo(f"{found or 'nothing'}: {why}")


@ci.command(help="Wait for the newest run of `gate` at a commit to end: run=ID.")
def judged(
    commit: Annotated[str, typer.Argument(help="The newest commit of a pull request.")],
    *,
    output: Output = None,
) -> None:
    """For a report that no event starts."""
    from pipeline.delivery.git import Here
    from pipeline.delivery.plan import write
    from pipeline.forge import Forge
    from pipeline.review.judged import judged as wait

    run = wait(Forge.of(Here(Path.cwd()).settings), commit, typer.echo)
    if output is not None:
        write({"run": str(run.id)}, output)
    typer.echo(f"{run.conclusion}: {run.url}")


@ci.command(help="Have DVC use the trusted remote alone in this checkout; FLIGHTLINE_DVC_CONFIG has its secret lines.")
def remote() -> None:
    """Writes .dvc/config.local."""
    from pipeline import ci as machine

    typer.echo(machine.remote(Path.cwd(), _settings()))


@ci.command(help="Log in to the registry with FLIGHTLINE_REGISTRY_USER and _TOKEN, or the forge's own with its token.")
def login() -> None:
    """Writes Docker's config.json."""
    from pipeline import ci as machine

    typer.echo(machine.login(_settings()))


@ci.command(help="Write the job's OIDC token to build/identity-token; without an audience, nothing.")
def identity(
    *, audience: Annotated[str, typer.Option("--audience", help="Whom it is for, as sts.amazonaws.com.")] = ""
) -> None:
    """Needs `id-token: write`."""
    from pipeline import ci as machine

    typer.echo(machine.identity(Path.cwd(), audience))


@ci.command(help="Write FLIGHTLINE_KUBECONFIG, where it is given, to the file that KUBECONFIG names.")
def cluster() -> None:
    """For `flightline reconcile`, which then asks the cluster."""
    from pipeline import ci as machine

    typer.echo(machine.cluster())


@ci.command(
    help="Write dvc.lock, what of its outs the remote lacks, and a verdict if there is one, to a new folder for other "
    "jobs. locked=true where HEAD holds this dvc.lock."
)
def give(folder: Annotated[Path, typer.Argument(metavar="DIR")], *, output: Output = None) -> None:
    """Runs where the model's code runs, so it needs no right to write."""
    from pipeline import handover
    from pipeline.delivery import lock
    from pipeline.delivery.git import Here
    from pipeline.delivery.plan import write

    typer.echo(handover.give(Path.cwd(), folder))
    if output is not None:
        write({"locked": str(lock.is_committed(Here(Path.cwd()))).lower()}, output)


@ci.command(help="Take what `give` wrote in another job into DVC's cache and the work tree, if all of it is sound.")
def receive(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Takes it as data; nothing of it is run."""
    from pipeline import handover

    typer.echo(handover.receive(Path.cwd(), folder))


@ci.command(
    help="Restore what dvc.lock names from DVC's default remote; runs no stage, and fails where it would have to."
)
def restore(
    outs: Annotated[list[str] | None, typer.Argument(help="These alone, as build/bundle; all without any.")] = None,
) -> None:
    """For jobs that hold keys."""
    from pipeline import handover

    handover.restore(Path.cwd(), outs or ())


def _settings() -> Any:
    from pipeline.config import read_settings

    return read_settings(Path.cwd())
