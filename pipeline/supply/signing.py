"""Sign an image with all that proves it, and verify such an image. What is there already is left alone."""

import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline import image as images
from pipeline import oci
from pipeline.config import ConfigError, Frozen
from pipeline.context import Context
from pipeline.delivery.git import Checkout, Repository
from pipeline.delivery.models import DeliveryError
from pipeline.errors import UnavailableError
from pipeline.image import BUNDLE_FOLDER, Summary
from pipeline.supply import contents, provenance, sbom
from pipeline.supply.cosign import SIGNATURE, TYPES, Cosign, ForeignError, Signer, Statement, UnsignedError
from pipeline.tools import Say

NO_SIGNER = "[tool.flightline.signing] in pyproject.toml names no signer"


class Signed(Frozen):
    """What `flightline sign` did: `made` names what it added, nothing where all was there. `signer` is "" for none."""

    reference: str
    signer: str
    made: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """A line for a person."""
        if not self.signer:
            return f"not signed: {NO_SIGNER}"
        return f"signed by {self.signer}: {', '.join(self.made) or 'all there already'}\n{self.reference}"


class Verified(Frozen):
    """Who must have signed, the commits that provenance names, and what does not hold: nothing where all does."""

    reference: str
    signer: str
    sources: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether signature, provenance and SBOM all hold."""
        return not self.faults

    @property
    def sentence(self) -> str:
        """A line, and one for each fault."""
        if self.faults:
            return "\n".join((self.reference, *self.faults))
        commits = ", ".join(source[:12] for source in self.sources)
        return f"{self.reference}\nsigned by {self.signer}, with its SBOM; made from {commits}"


@dataclass(frozen=True)
class Proofs:
    """What the signer said of an image, signatures checked, meaning not yet."""

    signed: bool
    sboms: tuple[Statement, ...]
    provenances: tuple[Statement, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every commit that a provenance statement names."""
        return tuple(dict.fromkeys(one for found in self.provenances for one in provenance.sources(found.predicate)))


def sign(context: Context, reference: str, say: Say, source: str = "") -> Signed:
    """Have an image signed, with SBOM and provenance from a commit (HEAD); a second time changes nothing.

    Raises DeliveryError where the image is not what that commit makes, ConfigError, ImageError, UnavailableError.
    """
    signer = Signer.of(context.settings, context.root)
    place = _named(context, reference)
    if signer is None:
        return Signed(reference=reference, signer="", made=())
    cosign, image = Cosign.find(say), images.inspect(reference)
    cosign.check_key(signer)
    repository = Repository.of(context)
    commit = repository.text("rev-parse", "--verify", f"{source or 'HEAD'}^{{commit}}")
    say(f"looking for what {signer.name} signed")
    there = _proofs(cosign, signer, reference)
    made = []
    for kind, predicate in _lacking(context, repository, place, image, there, commit):
        say(f"attesting {kind}")
        cosign.attest(reference, signer, kind, predicate)
        made.append(kind)
    if not there.signed:
        # Last: whoever asks for a signature alone never finds an image whose attestations are still to come.
        say("signing")
        cosign.sign(reference, signer)
        made.append("signature")
    _check_signed(cosign, signer, image, commit)
    return Signed(reference=reference, signer=signer.name, made=tuple(made))


def _lacking(
    context: Context, repository: Repository, place: images.Location, image: Summary, there: Proofs, commit: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The predicates that are not there yet; reading an image takes seconds, so only where one is needed."""
    has_sbom = any(sbom.names_image(one.predicate) == image.digest for one in there.sboms)
    if has_sbom and commit in there.sources:
        return
    whole = oci.read(place.store, image.digest)
    found = contents.read(place.store, whole, whole.environment.get(BUNDLE_FOLDER, ""))
    materials = provenance.gather(repository, commit, image, found)
    if not has_sbom:
        yield sbom.TYPE, sbom.document(place.name, image.digest, image.bundle, found)
    if commit not in there.sources:
        yield provenance.TYPE, provenance.predicate(materials, context.settings, os.environ)


def _check_signed(cosign: Cosign, signer: Signer, image: Summary, commit: str) -> None:
    if faults := _faults(_proofs(cosign, signer, image.reference), signer, image, (commit,)):
        raise UnavailableError(
            f"{image.reference}: signed, but what the registry gives back does not hold: {faults[0]}"
        )


def _named(context: Context, reference: str) -> images.Location:
    """The image's place. Raises DeliveryError unless it is named by digest, in the registry of the settings."""
    place = images.locate(reference)
    if not place.digest:
        raise DeliveryError(f"{reference}: what is signed is a digest; add @sha256:... of that image")
    if place.name != context.settings.registry:
        raise DeliveryError(f"{reference}: only images of {context.settings.registry} are signed (`registry`)")
    return place


def verify(context: Context, reference: str, source: str = "") -> Verified:
    """Check an image against the signer of the settings, and its provenance against a commit where one is named.

    Raises ConfigError where no signer is named, DeliveryError, ImageError, UnavailableError.
    """
    _named(context, reference)
    if Signer.of(context.settings, context.root) is None:
        raise ConfigError(f"{NO_SIGNER}; write `key`, or `identity` and `issuer`, there")
    wanted = Repository.of(context).text("rev-parse", "--verify", f"{source}^{{commit}}") if source else ""
    return check(context, Cosign.find(), images.inspect(reference), {wanted} - {""})


def check(context: Checkout, cosign: Cosign, image: Summary, sources: Collection[str] = ()) -> Verified:
    """The same of an image that is read already, by a cosign that is there. Raises ConfigError, UnavailableError."""
    signer = Signer.of(context.settings, context.root)
    if signer is None:
        raise ConfigError(NO_SIGNER)
    try:
        proofs = _proofs(cosign, signer, image.reference, strict=True)
    except UnsignedError:
        return _failed(image, signer, "unsigned: nobody signed this image; `flightline sign` does")
    except ForeignError as error:
        return _failed(image, signer, f"wrong key: not signed by {signer.name} ({error})")
    faults = _faults(proofs, signer, image, sources)
    return Verified(reference=image.reference, signer=signer.name, sources=proofs.sources, faults=faults)


def _failed(image: Summary, signer: Signer, fault: str) -> Verified:
    return Verified(reference=image.reference, signer=signer.name, faults=(fault,))


def _proofs(cosign: Cosign, signer: Signer, reference: str, *, strict: bool = False) -> Proofs:
    """All that the signer said; nothing where he said nothing, unless `strict`: then it says why, by its error."""
    try:
        kinds = cosign.signed(reference, signer)
    except (UnsignedError, ForeignError):
        if strict:
            raise
        return Proofs(signed=False, sboms=(), provenances=())
    with ThreadPoolExecutor() as pool:  # each is a process, which mostly waits for the registry
        asked = {
            kind: pool.submit(cosign.statements, reference, signer, kind) for kind, uri in TYPES.items() if uri in kinds
        }
    sboms, provenances = (asked[kind].result() if kind in asked else () for kind in (sbom.TYPE, provenance.TYPE))
    return Proofs(SIGNATURE in kinds, sboms, provenances)


def _faults(proofs: Proofs, signer: Signer, image: Summary, sources: Collection[str]) -> tuple[str, ...]:
    """What does not hold, in a sentence each."""
    faults = [] if proofs.signed else [f"unsigned: {signer.name} attested things of this image and signed it not"]
    return (*faults, *_sbom_faults(proofs.sboms, image), *_provenance_faults(proofs, image, sources))


def _sbom_faults(found: Collection[Statement], image: Summary) -> Iterator[str]:
    named = [sbom.names_image(one.predicate) for one in found if image.digest in one.subjects]
    if not named:
        yield "attestation missing: no SBOM (cyclonedx)"
    elif image.digest not in named:
        yield f"SBOM: names digest {named[0] or 'none'}, the image is {image.digest}"


def _provenance_faults(proofs: Proofs, image: Summary, sources: Collection[str]) -> Iterator[str]:
    found = [one.predicate for one in proofs.provenances if image.digest in one.subjects]
    if not found:
        yield "attestation missing: no provenance (slsaprovenance1)"
        return
    for one in found:
        if (named := provenance.bundles(one)) != (image.bundle,):
            yield f"provenance: names bundle {', '.join(named) or 'none'}, the image holds {image.bundle or 'none'}"
    for source in sorted(set(sources) - set(proofs.sources)):
        yield f"provenance: names commit {', '.join(proofs.sources) or 'none'}, expected {source}"
