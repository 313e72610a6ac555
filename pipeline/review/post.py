"""comment: main's code reads what a pull request's run handed over, and says there what it makes of it."""

import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline import paths, reports
from pipeline.config import ConfigError, Frozen, Override
from pipeline.delivery import plan
from pipeline.delivery.git import REMOTE, Checkout, Repository
from pipeline.delivery.history import HELD, RELEASE, folder
from pipeline.delivery.models import Hold, read_holds, read_release
from pipeline.delivery.proofs import Proofs
from pipeline.errors import GitError, UnavailableError
from pipeline.forge import Forge, Pull, Run
from pipeline.oci import ImageError
from pipeline.report.document import document
from pipeline.review import artifact, comment, differences
from pipeline.review.artifact import Artifact, ArtifactError
from pipeline.review.models import Setting
from pipeline.review.report import Known, Report, report
from pipeline.text import clipped, plain
from pipeline.verdict import Decision

PULLS = "pulls"
PRODUCTION = "production"  # as in pipeline.production, which takes seconds to import
_OVERRIDES = TypeAdapter(tuple[Override, ...])
_ENDED = ("success", "failure")
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
    proofs: Proofs


def post(checkout: Checkout, forge: Forge, run: int, handed: Path, say: Say, proofs: Proofs | None = None) -> Posted:
    """Write comment, pictures and statuses of a run's pull request; nothing where the run is not of its newest commit.

    `proofs` ask registry and DVC remote for what a new release says; None for those of this checkout.
    Raises ForgeError, GitError, UnavailableError.
    """
    say("asking the forge for the run and its pull request")
    of = forge.run(run)
    pull = forge.pull_of(of.head_sha)
    if pull is None:
        return _nothing(None, f"no open pull request is at {of.head_sha[:12]} (any more)")
    if why := superseded(of, forge):
        return _nothing(pull.number, why)
    repository = Repository.of(checkout)
    asked = _Asked(checkout, repository, forge, of, pull, proofs or Proofs(repository.root))
    say(f"pull request {pull.number}: reading its commits and what its run handed over")
    known = learn(asked)
    found = _read(of, handed)
    made = report(known, found)
    return _post(asked, made, found, say)


def superseded(of: Run, forge: Forge) -> str:
    """Why another run's report takes the place of this one's; "" where none does."""
    if not of.conclusion:
        return f"run {of.id} was started again, and its own end is reported"
    if of.conclusion != "cancelled":
        return ""
    others = forge.runs(head_sha=of.head_sha)
    newer = next((one.id for one in others if one.workflow == of.workflow and one.id > of.id), None)
    return f"run {of.id} was cancelled for run {newer} of the same commit" if newer else ""


def _read(of: Run, handed: Path) -> Artifact | ArtifactError:
    """What the run handed over. One that did not come to its end may have an earlier attempt's artifact."""
    if of.conclusion not in _ENDED:
        return ArtifactError(f"the run ended as {plain(of.conclusion)[:40]!r}; what it handed over does not count")
    try:
        found = artifact.read(handed)
    except ArtifactError as error:
        return error
    if of.conclusion != "success" and _passes(found):
        return ArtifactError("the run failed, and what it handed over passes: that is an earlier attempt's")
    return found


def _passes(found: Artifact) -> bool:
    return found.evidence.outcome == "unchanged" if found.verdict is None else found.verdict.decision is Decision.PASS


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
    refused, unproven = _refused(asked, main, files)
    changes = () if refused or unproven else tuple(_holds(repository, base, head, files))
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
        machine=_machine_written(repository, head, files, changes) if machine and not (refused or unproven) else "",
        permits=tuple(one.text for one in changes if one.permits),
        refused=refused,
        unproven=unproven,
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


@dataclass(frozen=True)
class _Line:
    """What one line of a held.yaml does that is new; `permits`: it lets something go."""

    text: str
    permits: bool


def _holds(repository: Repository, base: str, head: str, files: tuple[str, ...]) -> Iterator[_Line]:
    """Each line of held.yaml that the branch adds or changes, and what it does. Raises DeliveryError."""
    for path in files:
        if not path.startswith(_RELEASES) or path.rpartition("/")[2] != HELD:
            continue
        before, after = (_held(text, path) for text in repository.blobs([f"{one}:{path}" for one in (base, head)]))
        env = path[len(_RELEASES) :].partition("/")[0]
        yield from (_line(env, one) for name, one in after.items() if before.get(name) != one)


def _held(text: bytes | None, path: str) -> dict[str, Hold]:
    return {one.identity: one for one in (read_holds(text, path) if text is not None else ())}


def _line(env: str, one: Hold) -> _Line:
    which = f"identity {one.identity[:12]} (bundle {one.version[:12]})"
    if one.permitted is None:
        return _Line(
            f"{env} holds {which}, which is refused there from now on: {clipped(plain(one.reason), 120)}", False
        )
    why = clipped(plain(one.permitted.reason), 120)
    who = clipped(plain(one.permitted.by), 60)
    return _Line(f"{env} lets {which} go, which may be released there again: {why} ({who})", True)


def _machine_written(repository: Repository, head: str, files: tuple[str, ...], changes: tuple[_Line, ...]) -> str:
    """What machines wrote, read from the files themselves: a commit's message may say anything."""
    released = [path for path in files if path.startswith(_RELEASES) and path.endswith(f"/{RELEASE}")]
    said = [*(_released(repository, head, path) for path in released), *(one.text for one in changes)]
    return f"No model changes: {'; '.join(said) or 'what is written means the same as before'}"


def _released(repository: Repository, head: str, path: str) -> str:
    text, env = repository.blobs([f"{head}:{path}"])[0], path[len(_RELEASES) :].partition("/")[0]
    if text is None:
        return f"{env} goes back to no release"
    found = read_release(text, path)
    return f"{env} gets bundle {found.version[:12]}, rendered from {found.source[:12]}"


def _refused(asked: _Asked, main: str, files: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """(why the branch may not change k8s/releases/ as it does, why that cannot be told).

    All proofs are asked for: the branch's own check of them runs the branch's code, and need not be a required one.
    """
    from pipeline.delivery.checks import check_change

    if not any(path.startswith(_RELEASES) for path in files):
        return (), ""
    try:
        found = check_change(asked.checkout, main, asked.pull.head_sha, asked.proofs)
    except (GitError, UnavailableError) as error:
        return (), f"what it releases cannot be checked: {error}"
    except (ImageError, ValueError, RecursionError) as error:
        return (f"it cannot be checked: {plain(error)[:200]}",), ""
    return tuple(one.text for one in found[:5]), ""


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
