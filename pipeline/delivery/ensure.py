"""The image of build/bundle on these sources: a code image that a release names already, or one built now."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import builders, image, paths
from pipeline.builders import INPUTS_LABEL, LOCAL
from pipeline.context import Context
from pipeline.delivery.candidate import BASE_LABEL, BASE_NAME_LABEL, inputs
from pipeline.delivery.git import Repository
from pipeline.delivery.history import timeline
from pipeline.delivery.push import Say
from pipeline.image import Summary
from pipeline.oci import ImageError


@dataclass(frozen=True)
class Ensured:
    """The image, by digest in its registry; its code image; and where that came from, in words."""

    image: Summary
    code: str
    how: str


def ensure(context: Context, base: str, say: Say, builder: str = "") -> Ensured:
    """Have build/bundle in an image in the registry of the settings. Safe to run again: nothing is named but by digest.

    `base` is as for `flightline image build`. Raises ImageError, BundleError, GitError, DeliveryError.
    """
    registry = context.settings.registry
    say("looking for a released code image of these sources")
    code, how = _released(context, base), "as released"
    if code is None:
        say("building the code image")
        built = image.build(context.root, f"{registry}:{_tag(context.root, base)}", base=base, builder=builder)
        code, how = built.image, f"built by {built.builder} in {built.seconds:.0f} s"
    say("putting the bundle on it")
    return Ensured(image.append(code.reference, context.root / paths.BUNDLE, registry), code.reference, how)


def _released(context: Context, base: str) -> Summary | None:
    """The newest code image that an environment has, made of exactly these sources on that base."""
    wanted = "" if base == LOCAL else builders.base(context.root, base).digest
    for digest in dict.fromkeys(_named(context)):
        try:
            found = image.inspect(f"{context.settings.registry}@{digest}")
        except ImageError:
            continue  # it is built anew, and the registry says itself what is wrong with it
        if fits(context.root, found, wanted):
            return found
    return None


def fits(root: Path, found: Summary, base: str) -> bool:
    """Whether a code image is made of the sources under `root` on the base of that digest, "" for one made locally."""
    digest = found.labels.get(BASE_LABEL, "")
    on = digest == base if base else found.labels.get(BASE_NAME_LABEL) == LOCAL
    return on and not found.bundle and found.labels.get(INPUTS_LABEL) == inputs(root, digest)


def _named(context: Context) -> Iterator[str]:
    """The digests of the code images that main's releases name."""
    repository = Repository.of(context)
    main = repository.fetch()
    for env in context.settings.environments:
        if release := timeline(repository, main, env).release:
            yield release.code.image


def _tag(root: Path, base: str) -> str:
    """For people: what the code image is made of."""
    ground = "local" if base == LOCAL else builders.base(root, base).digest
    return f"code-{inputs(root, ground)[:12]}"
