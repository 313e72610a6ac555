"""The chain from a bundle forward: image, signature, release commit, running pods. `pipeline.trace` goes backward."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import requests
import yaml

from pipeline import image as images
from pipeline import oci
from pipeline.context import Context
from pipeline.delivery.cluster import Cluster, ClusterError, Json, Names, Objects
from pipeline.delivery.git import Repository
from pipeline.delivery.history import BUNDLE, MANIFESTS, RELEASE, folder, timeline
from pipeline.delivery.models import DeliveryError, Release, read_release
from pipeline.delivery.observed import digest_of, hash_of
from pipeline.delivery.render import images as images_in
from pipeline.delivery.standing import Standing, judge
from pipeline.delivery.status import has_release, in_git, main_of
from pipeline.errors import UnavailableError
from pipeline.oci import ImageError
from pipeline.supply import signing
from pipeline.supply.cosign import Cosign
from pipeline.trace import Link, bundle_of

SCALE_DOWN = "scale-down-deadline"
_POD = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True)
class Deployed:
    """One release on main: the environment, the commit that wrote it, and its files there."""

    env: str
    commit: str
    release: Release
    manifests: bytes
    bundle: str
    stands: bool


@dataclass(frozen=True)
class Named:
    """What `flightline trace` was asked about, as releases of one version; `pod` is None unless it was a pod."""

    releases: tuple[Deployed, ...]
    pod: str | None = None

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.releases[0].release.version


@dataclass(frozen=True)
class Main:
    """Main as it is now; `repository` and `commit` are None where git cannot tell."""

    context: Context
    repository: Repository | None
    commit: str | None

    @classmethod
    def of(cls, context: Context) -> "Main":
        """Fetched, or as of the last fetch."""
        repository, commit, _ = main_of(context)
        return cls(context, repository, commit)

    @property
    def environments(self) -> tuple[str, ...]:
        """Those of the settings."""
        return self.context.settings.environments

    def namespace(self, env: str) -> str:
        """Where an environment's pods are."""
        return Names.of(self.context.settings, env).namespace


def named(main: Main, what: str, cluster: Cluster | None) -> Named | None:
    """The releases that an environment, a digest or a pod names; None where it is none of these.

    Raises DeliveryError where it is one, and main has no such release.
    """
    if what in main.environments:
        return _of_environment(main, what)
    if oci.DIGEST.fullmatch(what):
        return Named(_with_digest(main, what))
    pod = _pod(main, what, cluster) if cluster is not None and _POD.fullmatch(what.rpartition("/")[2]) else None
    return Named(_with_digest(main, digest_of(pod)), str(pod["metadata"]["name"])) if pod is not None else None


def of_version(main: Main, version: str) -> tuple[Deployed, ...]:
    """The newest release of this version in each environment."""
    return tuple(_newest(main, lambda release: release.version == version))


def forward(main: Main, found: Named, cluster: Cluster | None, why_not: str) -> Iterator[Link]:
    """Every link from the image on. `why_not` says why there is no cluster to ask."""
    if not found.releases:
        yield Link(name="release", value="none yet", holds=None, proof="no release on main names this bundle")
    for digest in dict.fromkeys(one.release.digest for one in found.releases):
        with_it = [one.release for one in found.releases if one.release.digest == digest]
        yield _image(with_it[0])
        yield _signature(main.context, with_it[0], {one.source for one in with_it})
    for one in found.releases:
        yield from _release(main, one)
        yield from _pods(main, one, found.pod, cluster, why_not)


def _of_environment(main: Main, env: str) -> Named:
    newest = next(_releases(main, env), None)
    if newest is None:
        raise DeliveryError(f"{env} has no release on main yet")
    return Named((newest,))


def _with_digest(main: Main, digest: str) -> tuple[Deployed, ...]:
    found = tuple(_newest(main, lambda release: release.digest == digest))
    if not found:
        raise DeliveryError(f"no release on main has image digest {digest or '(none: a tag)'}")
    return found


def _newest(main: Main, wanted: Any) -> Iterator[Deployed]:
    """Per environment, the newest release that is wanted."""
    for env in main.environments:
        yield from (one for one in [next((one for one in _releases(main, env) if wanted(one.release)), None)] if one)


def _releases(main: Main, env: str) -> Iterator[Deployed]:
    """Every release of an environment, newest first; one that cannot be read is left out."""
    if main.repository is None or main.commit is None:
        return
    found = timeline(main.repository, main.commit, env)
    for commit, release in found.releases():
        # What stands is read as it stands, so that a change by hand after its commit is seen.
        stands = release.identity == found.identity
        try:
            yield _deployed(main.repository, env, commit, at=main.commit if stands else commit, stands=stands)
        except (DeliveryError, KeyError, TypeError):
            continue


def _deployed(repository: Repository, env: str, commit: str, *, at: str, stands: bool) -> Deployed:
    files = repository.files(at, folder(env))
    release = read_release(files[RELEASE], f"{at}:{folder(env)}/{RELEASE}")
    made = str(yaml.safe_load(files[BUNDLE])["outs"][0]["md5"])
    return Deployed(env, commit, release, files[MANIFESTS], made, stands)


def _image(release: Release) -> Link:
    """The image in the registry, by its digest, holds this bundle on this code image."""
    try:
        found = images.inspect(release.image)
    except ImageError as error:
        unreachable = isinstance(error.__cause__, requests.RequestException)
        return Link(name="image", value=release.digest, holds=None if unreachable else False, proof=str(error))
    if found.bundle != release.version:
        proof = f"it holds bundle {found.bundle[:12] or 'none'}, the release says {release.version[:12]}"
    elif found.code != release.code.image:
        proof = f"it is built on {found.code[:19] or 'nothing'}, the release says {release.code.image[:19]}"
    else:
        return Link(
            name="image", value=release.digest, holds=True, proof="holds this bundle on the release's code image"
        )
    return Link(name="image", value=release.digest, holds=False, proof=proof)


def _signature(context: Context, release: Release, sources: Collection[str]) -> Link:
    """The settings' signer signed the image, its SBOM, and a provenance of every source that released it."""
    if context.settings.signing is None:
        return Link(name="signature", value="unsigned", holds=None, proof=signing.NO_SIGNER)
    cosign = Cosign.present()
    if cosign is None:
        proof = "there is no cosign to check it with; `flightline tools build cosign`"
        return Link(name="signature", value="unknown", holds=None, proof=proof)
    try:
        found = signing.check(context, cosign, images.inspect(release.image), sources)
    except (UnavailableError, ImageError) as error:
        return Link(name="signature", value="unknown", holds=None, proof=str(error))
    if not found.holds:
        return Link(name="signature", value=release.digest, holds=False, proof="; ".join(found.faults))
    return Link(name="signature", value=found.signer, holds=True, proof="signature, SBOM and provenance hold")


def _release(main: Main, one: Deployed) -> Iterator[Link]:
    """The release's own files agree, and its source made the bundle that it names."""
    used = sorted(set(images_in(list(yaml.safe_load_all(one.manifests)))))
    holds, runs = used == [one.release.image], ", ".join(name.rpartition("@")[2][:19] for name in used) or "no image"
    yield Link(name="manifests", value=one.release.digest, holds=holds, proof=f"{one.env}: run {runs}")
    source = one.release.source
    holds = bundle_of(main.context, source) == one.bundle
    proof = f"{one.env}: source {source[:12]} {'made' if holds else 'did not make'} the bundle that it names"
    yield Link(name="release", value=one.commit, holds=holds, proof=proof)


def _pods(main: Main, one: Deployed, only: str | None, cluster: Cluster | None, why_not: str) -> Iterator[Link]:
    """The pods of the environment run the release, if that stands; of an earlier one, those that ask for its image."""
    try:
        yield from _of_pods(main, one, only, cluster) if cluster else [_open(one, why_not)]
    except ClusterError as error:
        yield _open(one, str(error))


def _of_pods(main: Main, one: Deployed, only: str | None, cluster: Cluster) -> Iterator[Link]:
    found = cluster.environment(Names.of(main.context.settings, one.env))
    named = [pod for pod in found.pods if only in (None, pod["metadata"]["name"])]
    ours = [pod for pod in named if digest_of(pod) == one.release.digest]
    others = [pod for pod in named if digest_of(pod) != one.release.digest and not _leaves(pod, found.replicasets)]
    if not ours:
        yield _open(one, "no pod here asks for this image")
    yield from (_started(one, pod) for pod in ours)
    if one.stands and others:
        standing = _standing(main, one.env, found)
        yield from (_strange(one, pod, standing) for pod in others)


def _open(one: Deployed, why: str) -> Link:
    return Link(name="pods", value=one.env, holds=None, proof=why)


def _started(one: Deployed, pod: Json) -> Link:
    """A pod that asks for the image runs its very digest."""
    runs = _runs(pod)
    proof = f"{one.env}: runs {runs[:19] or 'nothing yet'}"
    return Link(name="pod", value=_name(pod), holds=runs == one.release.digest if runs else None, proof=proof)


def _strange(one: Deployed, pod: Json, standing: Standing) -> Link:
    """A pod that runs another image than main names: so it is while a rollout is under way, and at no other time."""
    proof = f"{one.env}: runs {digest_of(pod)[:19] or 'a tag'}, main names {one.release.digest[:19]}; it is {standing}"
    moving = standing in {"under way", "waiting", "unknown"}
    return Link(name="pod", value=_name(pod), holds=None if moving else False, proof=proof)


def _standing(main: Main, env: str, found: Objects) -> Standing:
    """What `flightline status` calls the environment."""
    if main.repository is None or main.commit is None:
        return "unknown"
    said = in_git(main.repository, main.commit, env)
    return judge(env, said, found, has_release(main.repository, said, found)).standing


def _leaves(pod: Json, replicasets: Iterable[Json]) -> bool:
    """Whether a pod is being deleted, or is of a ReplicaSet that a finished rollout keeps for some seconds more."""
    kept = {hash_of(one) for one in replicasets if SCALE_DOWN in (one["metadata"].get("annotations") or {})}
    return "deletionTimestamp" in pod["metadata"] or hash_of(pod) in kept


def _name(pod: Json) -> str:
    return str(pod["metadata"]["name"])


def _runs(pod: Json) -> str:
    """The digest that the node says it runs, "" before it has started."""
    started = pod.get("status", {}).get("containerStatuses") or [{}]
    return str(started[0].get("imageID", "")).rpartition("@")[2]


def _pod(main: Main, what: str, cluster: Cluster) -> Json | None:
    """The pod of that name, as POD or ENVIRONMENT/POD."""
    env, _, name = what.rpartition("/")
    for one in [env] if env else main.environments:
        if found := cluster.pod(main.namespace(one), name):
            return found
    return None
