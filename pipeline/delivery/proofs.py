"""What a new release says of itself, proved by others: main, the registry, the DVC remote. No name is believed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config import read_settings
from pipeline.delivery.candidate import headline, held_in
from pipeline.delivery.git import Checkout, Here, Repository
from pipeline.delivery.history import BUNDLE, RELEASE, folder, timeline
from pipeline.delivery.models import DeliveryError, Expects, Release, read_release
from pipeline.delivery.push import Say

# Scores of two machines may differ in the last bit, and one row in another bucket moves the distance a little.
CLOSE = 0.01

Expect = Callable[[Any, str, Path, Path | None], Expects]


def check_carried(repository: Repository, base: str, earlier: str, release: Release, bundle_dvc: bytes) -> None:
    """Raise DeliveryError unless a promotion says what the environment before has on main, but for its canary."""
    text, carried = repository.blobs([f"{base}:{folder(earlier)}/{name}" for name in (RELEASE, BUNDLE)])
    if text is None:
        raise DeliveryError(f"{release.environment}: {earlier} has no release on {repository.branch} to promote")
    origin = read_release(text, f"{folder(earlier)}/{RELEASE} on {repository.branch}")
    ours = {"environment": release.environment, "expects": release.expects}
    if (wanted := origin.model_copy(update=ours)) != release:
        name = next(one for one in Release.model_fields if getattr(wanted, one) != getattr(release, one))
        said, must = (str(getattr(one, name)) for one in (release, wanted))
        raise DeliveryError(
            f"{RELEASE}: {name} is {said!r:.100}, {earlier} has {must!r:.100} on {repository.branch}; `flightline "
            "promote` again, not by hand"
        )
    if carried != bundle_dvc:
        raise DeliveryError(f"{BUNDLE} is not the one that {earlier} has on {repository.branch}; `flightline promote`")


@dataclass(frozen=True)
class Proofs:
    """Proofs that take registry and DVC remote, and the model's code. `root` is the checkout that asks them.

    Without `store` what was measured over logged rows is left to whoever may read them.
    """

    root: Path
    expect: Expect | None = None
    store: bool = True

    def check(self, repository: Repository, base: str, head: str, release: Release, tree: Path | None) -> None:
        """Raise DeliveryError where image, bundle or expectations are not what `head`'s new release says.

        `tree` holds the source's files for a first environment's release; a promotion's image is the one before's.
        Raises ImageError, UnavailableError where they cannot be had.
        """
        if tree is not None:
            check_image(release, tree)
            with repository.exported(base) as main:  # whom main believes now, not whom the source believed
                check_signed(Here(main), release.image, release.source)
        self._check_bundle(repository, base, head, release)

    def _check_bundle(self, repository: Repository, base: str, head: str, release: Release) -> None:
        from pipeline import production
        from pipeline.context import Context
        from pipeline.delivery.release import Expectations, measured

        context, env, said = Context(self.root), release.environment, release.expects
        with production.lent(context, head, env) as lent:
            check_bundle(release, lent)
            if said.logged_to is not None and not self.store:
                return
            line = timeline(repository, base, env)
            found = Expectations(context, lent, self.expect or partial(measured, said=said)).against(base, line)
        check_expects(said, found)


def check_image(release: Release, tree: Path) -> None:
    """Raise DeliveryError unless the image holds this bundle on the code of these sources. Raises ImageError."""
    code, _ = held_in(release.image, release.version, tree, read_settings(tree))
    for name in ("image", "inputs"):
        if getattr(code, name) != getattr(release.code, name):
            said, must = (str(getattr(one, name))[:19] for one in (release.code, code))
            raise DeliveryError(f"{RELEASE}: code.{name} is {said}, {release.image} says {must}; release again")


def check_signed(checkout: Checkout, reference: str, source: str, say: Say | None = None) -> None:
    """Raise DeliveryError unless the signer of the checkout's settings, if there is one, proves the image's origin.

    Signature, SBOM and a provenance that names the commit `source`. Raises ConfigError, ImageError, UnavailableError.
    """
    if checkout.settings.signing is None:
        return
    from pipeline import image
    from pipeline.supply import signing
    from pipeline.supply.cosign import Cosign

    found = signing.check(checkout, Cosign.find(say), image.inspect(reference), {source})
    if not found.holds:
        raise DeliveryError(
            f"{reference}: {'; '.join(found.faults)}; `flightline sign {reference} --source {source[:12]}` it first"
        )


def check_bundle(release: Release, lent: Path) -> None:
    """Raise DeliveryError unless the bundle is of the version named and has these figures."""
    from serving import bundle

    if (found := bundle.version(lent)) != release.version:
        raise DeliveryError(f"{RELEASE}: version {release.version[:12]}, but {BUNDLE} names bundle {found[:12]}")
    if (figures := headline(json.loads((lent / "metrics.json").read_text()))) != release.metrics:
        raise DeliveryError(f"{RELEASE}: metrics {release.metrics}, the bundle's own are {figures}; release again")


def check_expects(said: Expects, found: Expects) -> None:
    """Raise DeliveryError unless the canary is expected to look as measured here. Pure.

    Rows that came late to a day of the log may change their number, and the distances little.
    """
    if said.logged_to != found.logged_to:
        named = (f"logged rows to {one.logged_to}" if one.logged_to else "no logged rows" for one in (said, found))
        raise DeliveryError(f"{RELEASE}: expects says {next(named)}, measured here were {next(named)}; prepare anew")
    counted = found.rows if said.logged_to is None else said.rows
    if (said.released, said.rows) != (found.released, counted):
        raise DeliveryError(
            f"{RELEASE}: expects was measured over {said.rows} rows against {_short(said.released)}, here it is "
            f"{found.rows} rows against {_short(found.released)}; `dvc pull build/rows` on both sides, or prepare anew"
        )
    for name in ("ks", "max_ks"):
        ours, theirs = getattr(said, name), getattr(found, name)
        if abs(ours - theirs) > CLOSE:
            raise DeliveryError(f"{RELEASE}: expects.{name} is {ours}, measured here it is {theirs}; prepare it again")


def _short(version: str | None) -> str:
    return version[:12] if version else "nothing"
