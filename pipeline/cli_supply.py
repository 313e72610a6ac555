"""`flightline sign` and `flightline verify`: what proves that an image is ours, and from which commit."""

from pathlib import Path
from typing import Annotated, Any

import typer

_Image = Annotated[str, typer.Argument(help="REGISTRY@sha256:..., as `flightline image append` says.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command(help="Sign an image in its registry, with its SBOM and provenance. Said twice, it changes nothing.")(
        sign
    )
    app.command(help="Check an image's signature, SBOM and provenance. Exit 1 where one does not hold.")(verify)


def sign(
    image: _Image,
    *,
    source: Annotated[str, typer.Option("--source", help="The commit that it was made from; HEAD without this.")] = "",
    as_json: _AsJson = False,
) -> None:
    """With COSIGN_PRIVATE_KEY, or as the workflow that runs it."""
    from pipeline.context import Context
    from pipeline.progress import progress
    from pipeline.supply.signing import sign as run

    with progress() as say:
        _show(run(Context(Path.cwd()), image, say, source), as_json=as_json)


def verify(
    image: _Image,
    *,
    source: Annotated[str, typer.Option("--source", help="The commit that its provenance must name.")] = "",
    as_json: _AsJson = False,
) -> int:
    """Against [tool.flightline.signing] in pyproject.toml."""
    from pipeline.context import Context
    from pipeline.supply.signing import verify as run

    found = run(Context(Path.cwd()), image, source)
    _show(found, as_json=as_json)
    return 0 if found.holds else 1


def _show(found: Any, *, as_json: bool) -> None:
    typer.echo(found.model_dump_json(indent=2) if as_json else found.sentence)
