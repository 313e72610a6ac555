"""`flightline image`: build the code image, put a bundle on it, have one in the registry, look at one."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

image = typer.Typer(help="The image: code built once, a bundle put on it as one layer.", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]
_Code = Annotated[str, typer.Argument(help="HOST/REPOSITORY@sha256:..., or oci:FOLDER[:TAG].")]


@image.command(help="Build the code image of these sources with docker, podman or buildah.")
def build(
    destination: Annotated[str, typer.Argument(help="Where to, as for append.")] = "oci:build/image:code",
    *,
    base: Annotated[str, typer.Option(help="An image by digest, or `local` for one made here.")] = "",
    builder: Annotated[str, typer.Option(help="docker, podman or buildah; the first that answers.")] = "",
    ca: Annotated[Path | None, typer.Option(help="Certificates (PEM) for the build alone.")] = None,
    pip_conf: Annotated[Path | None, typer.Option(help="A pip.conf for the build alone.")] = None,
    as_json: _AsJson = False,
) -> None:
    """From sources to an image without a model."""
    from pipeline import image as images
    from pipeline.progress import progress

    secrets = {name: path for name, path in (("ca", ca), ("pip", pip_conf)) if path is not None}
    with progress() as say:
        say("building the code image")
        built = images.build(Path.cwd(), destination, base=base, builder=builder, secrets=secrets)
    _show(built.image, f"built by {built.builder} on {built.base} in {built.seconds:.0f} s", as_json=as_json)


@image.command(help="Put a bundle on a code image as one layer: no builder, and the same bytes give the same digest.")
def append(
    code: _Code = "oci:build/image:code",
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")] = Path("build/bundle"),
    destination: Annotated[str, typer.Argument(help="Where to.")] = "oci:build/image",
    *,
    as_json: _AsJson = False,
) -> None:
    """From a code image to one that serves."""
    from pipeline import image as images

    _show(images.append(code, bundle, destination), f"bundle on {code}", as_json=as_json)


@image.command(help="Have build/bundle in the registry: on the code image that is released, if it is of these sources.")
def ensure(
    *,
    base: Annotated[str, typer.Option(help="An image by digest, or `local` for one made here.")] = "",
    builder: Annotated[str, typer.Option(help="docker, podman or buildah; the first that answers.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", help="Add key=value lines to this file, as $GITHUB_OUTPUT takes them.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Builds only where no release has that code."""
    from pipeline.context import Context
    from pipeline.delivery.ensure import ensure as run
    from pipeline.progress import progress

    with progress() as say:
        found = run(Context(Path.cwd()), base, say, builder)
    if output is not None:
        with output.open("a") as file:
            file.write(f"image={found.image.reference}\ncode={found.code}\n")
    _show(found.image, f"on {found.code}, {found.how}", as_json=as_json)


@image.command(help="Say what an image is: digest, size, user, bundle and code image.")
def inspect(reference: _Code, *, as_json: _AsJson = False) -> None:
    """Every digest that is read is checked."""
    from pipeline import image as images

    _show(images.inspect(reference), "", as_json=as_json)


def _show(summary: Any, how: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(summary)))
        return
    holds = f"bundle {summary.bundle[:12]}" if summary.bundle else "no bundle"
    typer.echo(f"{summary.reference}\n{summary.size / 1e6:.1f} MB, user {summary.user}, {holds}{how and f'; {how}'}")
