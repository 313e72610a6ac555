"""`flightline retrain` and `flightline retraining`: try a newer window where production decays; what was tried."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_days import AsOf, today
from pipeline.config import ConfigError
from pipeline.progress import progress

if TYPE_CHECKING:
    from pipeline.monitoring.observation import Observation
    from pipeline.monitoring.retrain.steps import StepName

retraining = typer.Typer(help="What was tried, and the manifests by which a cluster tries.", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command(help="Retrain where production's model has decayed; proposes a pull request where that is a gain.")(
        retrain
    )
    app.add_typer(retraining, name="retraining")


def retrain(
    *,
    engine: Annotated[
        str, typer.Option(help="job or workflow, on the cluster, or local, here; without it params.yaml says.")
    ] = "",
    as_of: AsOf = None,
    step: Annotated[str, typer.Option(help="Carry out this step alone, here: what a pod does.")] = "",
    force: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            envvar="FLIGHTLINE_FORCE",
            help="Go without decay, cooldown and enough labels, and say why.",
        ),
    ] = "",
    observation: Annotated[
        Path | None, typer.Option("--observation", help="What `flightline observe` wrote; without it, look now.")
    ] = None,
    goes: Annotated[
        Path | None, typer.Option("--goes", help="Write true or false to this file: is there more to do?")
    ] = None,
    as_json: _AsJson = False,
) -> int:
    """Exit 0 done, or nothing to do; 1 refused, or the attempt failed; 69 something is away, run it again."""
    from pipeline.delivery.git import Here
    from pipeline.monitoring.retrain.config import read_retrain

    root, day = Path.cwd(), today(as_of)
    chosen = engine or ("local" if step else read_retrain(root).engine)
    if chosen != "local":
        return _submitted(root, chosen, day, force)
    from pipeline.lock import exclusive
    from pipeline.monitoring.retrain.run import Run
    from pipeline.monitoring.retrain.run import retrain as run

    with progress() as say, exclusive(root, say):
        ended = run(Run.of(Here(root), say), lambda: _observed(root, day, observation, say), _step(step), force)
    if goes is not None:
        goes.write_text(str(ended.outcome == "under way").lower())
    typer.echo(ended.model_dump_json() if as_json else ended.text)
    code: int = ended.exit_code
    return code


def _submitted(root: Path, engine: str, as_of: date, force: str) -> int:
    from pipeline.config import read_settings
    from pipeline.monitoring.retrain import engines

    typer.echo(engines.submit(engine, read_settings(root), as_of, force))
    return 0


def _step(name: str) -> "StepName | None":
    from pipeline.monitoring.retrain.steps import NAMES

    found = next((one for one in NAMES if one == name), None)
    if name and found is None:
        raise ConfigError(f"--step: {name!r} is no step; there are {', '.join(NAMES)}")
    return found


def _observed(root: Path, as_of: date, given: Path | None, say: Callable[[str], None]) -> "Observation":
    """What was observed: the file that is given, else a look at the store as of that day."""
    from pipeline.monitoring.observation import read_observation

    if given is not None:
        return read_observation(given)
    from pipeline.context import Context
    from pipeline.monitoring import observe

    return observe.run(Context(root), as_of, say)


@retraining.command("attempts", help="List what was tried, oldest first, and what came of it.")
def attempts(*, as_json: _AsJson = False) -> None:
    """From the branch `reports`, or this machine's folder."""
    from pipeline.delivery.git import Here
    from pipeline.monitoring.retrain import ledger

    found = ledger.of(Here(Path.cwd())).attempts()
    if as_json:
        typer.echo(f"[{','.join(one.model_dump_json() for one in found)}]")
    else:
        typer.echo("\n".join(one.sentence for one in found) or "nothing was tried yet")


@retraining.command("manifests", help="Write k8s/retraining/ anew from the steps and params.yaml.")
def manifests(
    *, check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a file differs.")] = False
) -> int:
    """`make validate` checks the same."""
    from pipeline.monitoring.retrain import manifests as rendering

    root = Path.cwd()
    differing = rendering.differing(root)
    if not check:
        rendering.write(root)
    for path in differing:
        typer.echo(f"{path}: {'differs; run `flightline retraining manifests`' if check else 'written'}")
    return int(check and bool(differing))


@retraining.command("image", help="Build the training image of these locks, and store it.")
def image(
    destination: Annotated[
        str, typer.Argument(help="HOST/REPOSITORY:TAG; without it, the registry of pyproject.toml.")
    ] = "",
    *,
    base: Annotated[str, typer.Option(help="An image by digest, or `local` for one made here.")] = "",
    builder: Annotated[str, typer.Option(help="docker, podman or buildah; the first that answers.")] = "",
    pin: Annotated[bool, typer.Option("--pin", help="Write its digest to k8s/retraining/image.")] = False,
) -> None:
    """With the packages alone: every step brings main's own code."""
    from pipeline import image as images
    from pipeline.builders import TRAINING
    from pipeline.config import read_settings
    from pipeline.monitoring.retrain import manifests as rendering

    root = Path.cwd()
    where = destination or f"{read_settings(root).registry}-training:packages"
    with progress() as say:
        say("building the training image")
        built = images.build(root, where, base=base, builder=builder, recipe=TRAINING)
    if pin:
        rendering.pin(root, built.image.reference)
    typer.echo(f"{built.image.reference}\n{built.image.size / 1e6:.0f} MB, in {built.seconds:.0f} s")
