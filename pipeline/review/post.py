"""comment: main's code reads what a pull request's run handed over, and says there what it makes of it."""

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline import paths, reports
from pipeline.config import ConfigError, Frozen, Override
from pipeline.delivery import plan
from pipeline.delivery.git import REMOTE, Checkout, Repository
from pipeline.delivery.history import RELEASE, folder
from pipeline.delivery.models import read_release
from pipeline.errors import GitError, UnavailableError
from pipeline.forge import Forge, Pull, Run
from pipeline.oci import ImageError
from pipeline.report.document import document
from pipeline.review import artifact, comment, differences
from pipeline.review.artifact import Artifact, ArtifactError
from pipeline.review.models import Setting
from pipeline.review.report import Known, Report, report
from pipeline.text import plain

PULLS = "pulls"
PRODUCTION = "production"  # as in pipeline.production, which takes seconds to import
_OVERRIDES = TypeAdapter(tuple[Override, ...])
_READ = (paths.PARAMS.as_posix(), "dvc.yaml", "dvc.lock")
_RELEASES = f"{paths.RELEASES}/"

Say = Callable[[str], None]


class Posted(Frozen):
    """What came of it. `comment` is the comment's address; `state` that of the status `flightline/gates`."""

    pull: int | None
    state: str
    reason: str
    comment: str = ""

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.state}: {self.reason}" + (f" ({self.comment})" if self.comment else "")


@dataclass(frozen=True)
class _Asked:
    """The run, its pull request and where to read and write."""

    checkout: Checkout
    repository: Repository
    forge: Forge
    run: Run
    pull: Pull


def post(checkout: Checkout, forge: Forge, run: int, handed: Path, say: Say) -> Posted:
    """Write comment, pictures and statuses of a run's pull request; nothing where the run is not of its newest commit.

    Raises ForgeError, GitError, UnavailableError.
    """
    say("asking the forge for the run and its pull request")
    of = forge.run(run)
    pull = forge.pull_of(of.head_sha)
    if pull is None:
        return _nothing(None, f"no open pull request is at {of.head_sha[:12]} (any more)")
    asked = _Asked(checkout, Repository.of(checkout), forge, of, pull)
    say(f"pull request {pull.number}: reading its commits and what its run handed over")
    known = learn(asked)
    found = _read(handed)
    made = report(known, found)
    return _post(asked, made, found, say)


def _read(handed: Path) -> Artifact | ArtifactError:
    try:
        return artifact.read(handed)
    except ArtifactError as error:
        return error


def _post(asked: _Asked, made: Report, found: Artifact | ArtifactError, say: Say) -> Posted:
    pictures = _pictures(asked, made, found, say)
    if (newer := asked.forge.pull(asked.pull.number)).head_sha != asked.pull.head_sha or newer.state != "open":
        return _nothing(newer.number, f"the pull request moved on to {newer.head_sha[:12]} meanwhile")
    say("writing the comment and the statuses")
    text = comment.text(made, pictures, _web(asked.run.url))
    written = asked.forge.comment(asked.pull.number, comment.MARKER, text)
    for status in made.statuses:
        asked.forge.status(asked.pull.head_sha, status.context, status.state, status.description, written.url)
    return Posted(pull=asked.pull.number, state=made.state, reason=made.statuses[-1].description, comment=written.url)


def _nothing(pull: int | None, why: str) -> Posted:
    return Posted(pull=pull, state="nothing", reason=f"{why}; nothing was written")


def learn(asked: _Asked) -> Known:
    """What git and the forge say of the pull request. Raises GitError, UnavailableError."""
    repository, head = asked.repository, asked.pull.head_sha
    main = repository.fetch()
    _bring(repository, asked.pull)
    base = repository.common(main, head)
    if base is None:
        raise GitError(f"pull request {asked.pull.number} has no commit in common with {repository.branch}")
    files = tuple(repository.changed(base, head))
    machine, model = _scope(asked, main)
    theirs = repository.blobs([f"{base}:{paths.PARAMS}", f"{head}:{paths.PARAMS}"])
    return Known(
        head=head,
        base=base,
        fork="" if asked.pull.head_repository == asked.forge.repository else asked.pull.head_repository or "(deleted)",
        files=files,
        params=_parameters(*theirs),
        overrides=_overrides(theirs[1]),
        model=model,
        production=_production(repository, main),
        first=asked.checkout.settings.environments[0],
        today=datetime.datetime.now(datetime.UTC).date(),
        machine=_machine_written(repository, head, files) if machine else "",
        refused=_refused(asked, main, files) if not machine else (),
    )


def _bring(repository: Repository, pull: Pull) -> None:
    """Fetch the pull request's commits, of a fork too: as data, nothing of them is checked out or run."""
    if not repository.knows(pull.head_sha):
        ref = f"refs/pull/{pull.number}/head"
        repository.raw("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", REMOTE, ref)
    if not repository.knows(pull.head_sha):
        raise UnavailableError(f"pull request {pull.number} moved on from {pull.head_sha[:12]} while it was fetched")


def _scope(asked: _Asked, main: str) -> tuple[bool, bool]:
    """(only machines wrote it, the model changes); a branch that cannot be read was written by people."""
    head = asked.pull.head_sha
    try:
        for name, text in zip(_READ, asked.repository.blobs([f"{head}:{name}" for name in _READ]), strict=True):
            differences.document(text, name)
        machine, model = plan.compared(asked.checkout, main, head)
    except (ConfigError, ValueError, RecursionError):
        return False, True
    return machine[0], model[0]


def _parameters(base: bytes | None, head: bytes | None) -> tuple[Setting, ...]:
    """What params.yaml of the branch changes; one that cannot be read changes nothing that can be shown."""
    try:
        return differences.parameters(base, head)[:200]
    except (ConfigError, ValueError):
        return ()


def _overrides(params: bytes | None) -> tuple[Override, ...]:
    """The reviewed exceptions of the branch's params.yaml."""
    try:
        gates = differences.document(params, "params.yaml").get("gates") or {}
        return _OVERRIDES.validate_python(gates.get("overrides") or ())
    except (ConfigError, ValidationError, AttributeError, yaml.YAMLError):
        return ()


def _production(repository: Repository, main: str) -> str | None:
    """The version that main has in production. Raises DeliveryError where its release cannot be read."""
    where = f"{folder(PRODUCTION)}/{RELEASE}"
    text = repository.blobs([f"{main}:{where}"])[0]
    return read_release(text, where).version if text is not None else None


def _machine_written(repository: Repository, head: str, files: tuple[str, ...]) -> str:
    """What machines wrote, read from the files themselves: a commit's message may say anything."""
    changed = dict.fromkeys(path[len(_RELEASES) :].partition("/")[0] for path in files if path.startswith(_RELEASES))
    said = [_folder_written(repository, head, env, files) for env in changed]
    lock = ["dvc.lock: another run's outputs, which main judges before any release"] if "dvc.lock" in files else []
    return f"Only machines write what changes here, and git proves what it can of it: {'; '.join([*said, *lock])}"


def _folder_written(repository: Repository, head: str, env: str, files: tuple[str, ...]) -> str:
    where = f"{folder(env)}/{RELEASE}"
    text = repository.blobs([f"{head}:{where}"])[0]
    if where not in files:
        return f"holds of {env}"
    if text is None:
        return f"{env} goes back to no release"
    found = read_release(text, where)
    return f"{env} gets bundle {found.version[:12]}, rendered from {found.source[:12]}"


def _refused(asked: _Asked, main: str, files: tuple[str, ...]) -> tuple[str, ...]:
    """Why the branch may not change k8s/releases/ as it does; where that cannot be told, that.

    It has other changes beside them, so that a check by the branch's own code proves nothing: all proofs are asked for.
    """
    from pipeline.delivery.checks import check_change
    from pipeline.delivery.proofs import Proofs

    if not any(path.startswith(_RELEASES) for path in files):
        return ()
    try:
        found = check_change(asked.checkout, main, asked.pull.head_sha, Proofs(asked.repository.root))
    except (GitError, UnavailableError, ImageError, ValueError, RecursionError) as error:
        return (f"it cannot be checked: {plain(error)[:200]}",)
    return tuple(one.text for one in found[:5])


def _pictures(asked: _Asked, made: Report, found: Artifact | ArtifactError, say: Say) -> Mapping[str, str]:
    """Publish the pictures that the comment shows, and say where each is; without them the tables are enough."""
    wanted = _wanted(found) if made.figures is not None and isinstance(found, Artifact) else {}
    if not wanted:
        return {}
    place = f"{PULLS}/{asked.pull.number}/{asked.pull.head_sha[:12]}-{asked.run.id}"
    say("publishing the pictures")
    try:
        reports.publish(asked.repository, place, wanted, instead_of=f"{PULLS}/{asked.pull.number}")
    except (GitError, UnavailableError) as error:
        say(f"the comment will have no pictures: {error}")
        return {}
    return {name.removesuffix(".png"): asked.forge.raw_url(reports.BRANCH, f"{place}/{name}") for name in wanted}


def _wanted(found: Artifact) -> dict[str, bytes]:
    """Of the pictures handed over, those that the verdict calls for."""
    names = [one.name for one in document(found.verdict).pictures] if found.verdict else []
    return {f"{name}.png": found.plots[name] for name in names if name in found.plots}


def _web(address: str) -> str:
    """The run's address, if a browser can go there."""
    return address if urlsplit(address).scheme in ("http", "https") and re.fullmatch(r"[!-~]+", address) else ""
