"""`flightline tools`: the pinned programs written in Go; build them, say where one is, list them."""

from typing import Annotated

import typer

tools = typer.Typer(help="The pinned programs written in Go, built once into the cache.", no_args_is_help=True)


@tools.command(help="Build tools that are not there yet: those named, or all of them.")
def build(
    names: Annotated[list[str] | None, typer.Argument(help="As `flightline tools list` has them.")] = None,
) -> None:
    """From pinned modules to programs in the cache."""
    from pipeline import tools as workshop
    from pipeline.progress import progress

    with progress() as say:
        made = workshop.build(names or (), say)
    for one in made:
        typer.echo(f"{one.name} {one.version}: {one.folder} ({_took(one.seconds)})")


@tools.command(help="Print where a program is, building it first where it is not there.")
def path(
    name: Annotated[str, typer.Argument(help="A tool, or a program of one: kustomize, kubectl, etcd, ...")],
) -> None:
    """One line on stdout, for `$(flightline tools path kubectl)`."""
    from pipeline import tools as workshop

    typer.echo(workshop.tool(name))


@tools.command("list", help="Say of every tool its version, whether it is built, its programs and what it is for.")
def show() -> None:
    """Builds nothing."""
    from pipeline.tools import Workshop

    workshop = Workshop()
    for one in workshop.tools:
        state = "built" if workshop.folder(one).is_dir() else "not built"
        typer.echo(f"{one.name:<15} {workshop.version(one):<8} {state:<10} {one.purpose}: {', '.join(one.names)}")


def _took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds else "was there"
