"""The candidate: what this checkout made and what it would release, every claim about it checked."""

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline import builders, paths
from pipeline.config import Settings, read_settings
from pipeline.delivery.git import Repository
from pipeline.delivery.identity import identity
from pipeline.delivery.models import Code, DeliveryError, Expects, Judged, Release
from pipeline.delivery.render import Values
from pipeline.dvcfiles import dvc_hash
from pipeline.verdict import Decision, Verdict

if TYPE_CHECKING:
    from pipeline.context import Context  # it imports the model, which takes seconds

BASE_LABEL, BASE_NAME_LABEL = "org.opencontainers.image.base.digest", "org.opencontainers.image.base.name"
LOCK = "dvc.lock"


@dataclass(frozen=True)
class Candidate:
    """A bundle in an image, with its verdict and the commit it all was made from. `image` is what nodes will pull."""

    source: str
    identity: str
    version: str
    image: str
    code: Code
    metrics: dict[str, float]
    judged: Judged
    bundle: Path
    bundle_dvc: bytes

    def release(self, env: str, expects: Expects) -> Release:
        """As release.yaml of an environment says it."""
        return Release(
            environment=env,
            identity=self.identity,
            version=self.version,
            source=self.source,
            image=self.image,
            code=self.code,
            metrics=self.metrics,
            expects=expects,
            verdict=self.judged,
        )


def gather(context: "Context", repository: Repository, source: str, tree: Path, reference: str) -> Candidate:
    """Check bundle, verdict and image against the commit `source`, whose files are in `tree`.

    Raises DeliveryError, ImageError, BundleError, TableError.
    """
    from serving import bundle

    settings, folder = read_settings(tree), context.root / paths.BUNDLE
    out = locked(repository, source)
    check_locked(folder, out, source)
    version = bundle.version(folder)
    code, digest = held_in(reference, version, tree, settings)
    return Candidate(
        source=source,
        identity=identity(tree, settings.environments, settings.registry, version, code.inputs),
        version=version,
        image=f"{settings.registry}@{digest}",
        code=code,
        metrics=headline(json.loads((folder / "metrics.json").read_text())),
        judged=judged(context, version),
        bundle=folder,
        bundle_dvc=bundle_dvc(out),
    )


def locked(repository: Repository, commit: str) -> dict[str, Any]:
    """The one output of stage `bundle` in dvc.lock at a commit: md5, size, nfiles. Raises DeliveryError."""
    (text,) = repository.blobs([f"{commit}:{LOCK}"])
    document: dict[str, Any] = yaml.safe_load(text or b"{}") or {}
    outs = document.get("stages", {}).get("bundle", {}).get("outs", [])
    if len(outs) != 1:
        raise DeliveryError(f"{LOCK} at {commit[:12]} names {len(outs)} bundles; run `make bundle` and commit {LOCK}")
    out: dict[str, Any] = outs[0]
    return out


def bundle_dvc(out: dict[str, Any]) -> bytes:
    """What `dvc add` would write for the bundle, so that `dvc pull` of it restores it."""
    named: dict[str, Any] = {key: out[key] for key in ("md5", "size", "nfiles") if key in out}
    named.update(hash="md5", path="bundle")
    text: str = yaml.safe_dump({"outs": [named]}, sort_keys=False)
    return text.encode()


def check_locked(folder: Path, out: dict[str, Any], source: str) -> None:
    """Raise DeliveryError unless dvc.lock at a commit names this bundle, BundleError where it is not whole."""
    from serving import bundle

    bundle.check_files(folder)
    if (found := dvc_hash(folder)) != out["md5"]:
        raise DeliveryError(
            f"{folder} is {found}, but {LOCK} at {source[:12]} names {out['md5']}; run `dvc repro --pull bundle`, and "
            f"where that changes {LOCK}, commit it and release that commit"
        )


def held_in(reference: str, version: str, tree: Path, settings: Settings) -> tuple[Code, str]:
    """The code image and digest of an image by digest that holds this bundle on these sources' code."""
    from pipeline import image

    place = image.locate(reference)
    if not place.digest:
        raise DeliveryError(f"{reference}: a release names an image by digest; add @sha256:... of that image")
    if place.name != settings.registry and not place.name.startswith("oci:"):
        raise DeliveryError(
            f"{reference}: nodes pull from {settings.registry}; push it there, or correct `registry` in pyproject.toml"
        )
    found = image.inspect(reference)
    if found.bundle != version:
        holds = f"bundle {found.bundle[:12]}" if found.bundle else "no bundle"
        raise DeliveryError(
            f"{reference} holds {holds}, build/bundle is {version[:12]}; make its image by `flightline image append`"
        )
    said, made_of = found.labels.get(builders.INPUTS_LABEL, ""), inputs(tree, found.labels.get(BASE_LABEL, ""))
    if said != made_of:
        raise DeliveryError(
            f"{reference}: its code was made of inputs {said[:12] or 'unknown'}, the sources released are "
            f"{made_of[:12]}; build it from this commit by `flightline image build`, then append"
        )
    return Code(image=found.code, inputs=said), found.digest


def inputs(tree: Path, base: str) -> str:
    """The hash of what a code image of these sources on that base is made of."""
    return builders.inputs(tree, builders.Base("", base))


def judged(context: "Context", version: str) -> Judged:
    """The verdict on this bundle, if it lets it through. Raises DeliveryError, TableError."""
    from pipeline.gate import read_verdict

    verdict = read_verdict(context.root)
    if verdict.candidate.version != version:
        raise DeliveryError(
            f"{paths.VERDICT} is about bundle {verdict.candidate.version[:12]}, build/bundle is {version[:12]}; "
            "run `make gate`"
        )
    _check_passed(verdict, datetime.datetime.now(datetime.UTC).date())
    return Judged(decision=verdict.decision.value, reason=verdict.reason)


def _check_passed(verdict: Verdict, today: datetime.date) -> None:
    """An override counts until its date, whenever the verdict was written."""
    if verdict.decision is not Decision.PASS:
        raise DeliveryError(f"{paths.VERDICT}: {verdict.decision}: {verdict.reason}; {verdict.next_step}")
    for gate in verdict.gates:
        if gate.override is not None and gate.override.expires < today:
            raise DeliveryError(
                f"{paths.VERDICT}: gate {gate.gate} passed by an override that expired on {gate.override.expires}; "
                "run `make gate`"
            )


def headline(metrics: dict[str, Any]) -> dict[str, float]:
    """The figures at the top of metrics.json."""
    return {
        name: float(value)
        for name, value in sorted(metrics.items())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def values(release: Release) -> Values:
    """What rendering puts into the overlay for a release."""
    return Values(
        registry=release.image.partition("@")[0],
        digest=release.digest,
        identity=release.identity,
        version=release.version,
        source=release.source,
        expected_ks=release.expects.ks,
        max_ks=release.expects.max_ks,
    )
