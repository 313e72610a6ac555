"""Checks of `k8s/releases/`: that machines wrote it, from the commits it names, and what a person may change there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.config import Frozen, read_settings
from pipeline.delivery import freeze, order
from pipeline.delivery.candidate import bundle_dvc, locked, values
from pipeline.delivery.git import FILE, FOLDER, Checkout, Repository
from pipeline.delivery.history import BUNDLE, FILES, HELD, MANIFESTS, RELEASE, folder, timeline
from pipeline.delivery.identity import identity
from pipeline.delivery.models import DeliveryError, Hold, Release, read_holds, read_release
from pipeline.delivery.proofs import Proofs, check_carried
from pipeline.delivery.render import render

KEEP = ".gitkeep"
_MAY = (
    "by hand only holds, permissions and an earlier release's very files (`git revert`, `flightline rollback`) go "
    "there; new releases come from `flightline release` and `flightline promote`"
)


class Finding(Frozen):
    """One thing that is not as it must be, and where."""

    path: str
    problem: str

    @property
    def text(self) -> str:
        """A line for people."""
        return f"{self.path}: {self.problem}"


def check_releases(context: Checkout) -> tuple[Finding, ...]:
    """Compare every environment's folder of this work tree with a rendering anew, and read the freeze.

    Raises GitError.
    """
    repository, known = Repository.of(context), context.settings.environments
    folders = tuple(one for env in known for one in _check_folder(context.root, repository, env))
    try:
        freeze.check(context.root, known)
    except DeliveryError as error:
        return (*folders, Finding(path=freeze.FREEZE.as_posix(), problem=str(error)))
    return folders


def _check_folder(root: Path, repository: Repository, env: str) -> Iterator[Finding]:
    there = root / folder(env)
    files = {path.relative_to(there).as_posix(): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    for check in (check_names, _check_held, _check_rendered):
        try:
            check(repository, env, files)
        except DeliveryError as error:
            yield Finding(path=folder(env), problem=str(error))
            return


def check_names(_: Repository, env: str, files: Mapping[str, bytes]) -> None:
    """Raise DeliveryError unless a release's files are there whole or not at all, with nothing beside them."""
    if strange := sorted(set(files) - {*FILES, HELD, KEEP}):
        raise DeliveryError(f"{', '.join(strange)} does not belong there; remove it")
    missing = [name for name in FILES if name not in files]
    if missing and len(missing) < len(FILES):
        raise DeliveryError(f"{', '.join(missing)} missing in {env}; restore the release with `git checkout`")


def _check_held(_: Repository, env: str, files: Mapping[str, bytes]) -> None:
    if HELD in files:
        read_holds(files[HELD], f"{folder(env)}/{HELD}")


def _check_rendered(repository: Repository, env: str, files: Mapping[str, bytes]) -> None:
    if RELEASE not in files:
        return
    release = read_release(files[RELEASE], f"{folder(env)}/{RELEASE}")
    if not repository.knows(release.source):
        raise DeliveryError(f"source {release.source[:12]} is not in this clone; fetch all of main's history")
    with repository.exported(release.source) as tree:
        check_release(repository, tree, env, files)


def check_release(repository: Repository, tree: Path, env: str, files: Mapping[str, bytes]) -> Release:
    """Raise DeliveryError unless the files are what their source, whose files are in `tree`, renders to."""
    release = read_release(files[RELEASE], f"{folder(env)}/{RELEASE}")
    _check_claims(tree, env, release)
    if files[BUNDLE] != bundle_dvc(locked(repository, release.source)):
        raise DeliveryError(
            f"{BUNDLE} is not the bundle that dvc.lock at {release.source[:12]} names; release it again"
        )
    rendered = render(tree, env, values(release))
    if files[MANIFESTS] != rendered:
        raise DeliveryError(
            f"{MANIFESTS} is not what {release.source[:12]} renders to: {first_difference(files[MANIFESTS], rendered)}"
        )
    return release


def _check_claims(tree: Path, env: str, release: Release) -> None:
    """What release.yaml says of itself that can be computed again."""
    settings = read_settings(tree)
    if release.environment != env:
        raise DeliveryError(
            f"{RELEASE}: environment {release.environment!r} in the folder of {env!r}; release to {env}"
        )
    registry = release.image.partition("@")[0]
    if registry != settings.registry:
        raise DeliveryError(f"{RELEASE}: image is from {registry}, the source's settings name {settings.registry}")
    found = identity(tree, settings.environments, settings.registry, release.version, release.code.inputs)
    if release.identity != found:
        raise DeliveryError(
            f"{RELEASE}: identity {release.identity[:12]}, but {release.source[:12]} makes {found[:12]}; release again"
        )


def first_difference(found: bytes, wanted: bytes) -> str:
    """The first line that differs, in a sentence with the fix."""
    ours, theirs = (text.decode(errors="replace").splitlines() for text in (found, wanted))
    at = next((n for n, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    at = min(len(ours), len(theirs)) if at is None else at
    said, must = (lines[at].strip() if at < len(lines) else "nothing" for lines in (ours, theirs))
    return f"line {at + 1} is {said!r:.80}, rendered it is {must!r:.80}; change the overlay and release, not this file"


@dataclass(frozen=True)
class _Side:
    """One environment's folder at a commit."""

    files: Mapping[str, bytes]
    holds: Mapping[str, Hold]

    @property
    def release(self) -> tuple[bytes | None, ...]:
        return tuple(self.files.get(name) for name in FILES)


def check_change(context: Checkout, base: str, head: str, proofs: Proofs | None = None) -> tuple[Finding, ...]:
    """What a change from `base` to `head` may not do to k8s/releases/. Raises GitError, UnavailableError, ImageError.

    A new release is accepted where its content proves that a verb made it: it is what its source renders to, main as it
    is at `base` lets the verb make it still, and a promotion is what the environment before has on main. `proofs` ask
    registry and DVC remote for the rest; without them that stays open.
    """
    repository = Repository.of(context)
    before, after = (repository.text("rev-parse", "--verify", f"{one}^{{commit}}") for one in (base, head))
    span = _Span(repository, before, repository.text("merge-base", before, after), after, proofs)
    folders = [
        one
        for env in _environments(repository, context, span.ancestor, after)
        for one in _check_change(span, env, _before(context, env))
    ]
    return (*_check_line(span), *_check_kinds(span), *folders)


@dataclass(frozen=True)
class _Span:
    """What a change goes from and to; `ancestor` is where it left main."""

    repository: Repository
    base: str
    ancestor: str
    head: str
    proofs: Proofs | None


def _check_line(span: _Span) -> Iterator[Finding]:
    """Merged the wrong way round, main's own line would be the branch's, and hide what was released meanwhile."""
    if span.ancestor not in span.repository.text("rev-list", "--first-parent", span.head).split():
        main = span.repository.branch
        yield Finding(
            path=paths.RELEASES.as_posix(),
            problem=f"{span.head[:12]} has {main} at {span.ancestor[:12]} merged into it: as {main} it would hide the "
            f"releases since the branch began; `git rebase {main}`, or let a pull request merge the branch into {main}",
        )


def _check_kinds(span: _Span) -> Iterator[Finding]:
    """A link or a submodule has no files for git, yet Argo CD follows it."""
    before, after = (span.repository.modes(one, paths.RELEASES.as_posix()) for one in (span.ancestor, span.head))
    for path, mode in after.items():
        if mode not in {FILE, FOLDER, before.get(path)}:
            yield Finding(path=path, problem=f"has git's mode {mode}; only plain files ({FILE}) belong there")


def _before(context: Checkout, env: str) -> tuple[str, ...]:
    """The environment that a release goes through before this one."""
    known = context.settings.environments
    at = known.index(env) if env in known else 0
    return known[at - 1 : at] if at else ()


def _environments(repository: Repository, context: Checkout, *commits: str) -> list[str]:
    """Those of the settings and whatever else has a folder: a fork's settings may have lost one."""
    listed = {
        path.rpartition("/")[2]
        for commit in commits
        for path in repository.text("ls-tree", "-d", "--name-only", commit, "--", "k8s/releases/").splitlines()
    }
    return sorted({*listed, *context.settings.environments})


def _check_change(span: _Span, env: str, through: tuple[str, ...]) -> Iterator[Finding]:
    repository = span.repository
    if repository.tree(span.ancestor, folder(env)) == repository.tree(span.head, folder(env)):
        return
    try:
        before, after = (_side(repository, env, commit) for commit in (span.ancestor, span.head))
        check_names(repository, env, after.files)
        check_holds(before.holds, after.holds)
        if before.release != after.release:
            _check_not_held(env, after)
            if not _was_released(repository, env, span.base, after):
                _check_new(span, after, env, through)
    except DeliveryError as error:
        yield Finding(path=folder(env), problem=str(error))


def _side(repository: Repository, env: str, commit: str) -> _Side:
    files = repository.files(commit, folder(env))
    lines = read_holds(files[HELD], f"{folder(env)}/{HELD} at {commit[:12]}") if HELD in files else ()
    return _Side(files, {line.identity: line for line in lines})


def _was_released(repository: Repository, env: str, base: str, after: _Side) -> bool:
    """Whether main had exactly these files before; having none is how it began."""
    if not any(after.release):
        return True
    earlier = repository.changes(base, folder(env))
    return any(_side_release(repository, env, commit) == after.release for commit in reversed(earlier))


def _side_release(repository: Repository, env: str, commit: str) -> tuple[bytes | None, ...]:
    return tuple(repository.blobs([f"{commit}:{folder(env)}/{name}" for name in FILES]))


def check_holds(before: Mapping[str, Hold], after: Mapping[str, Hold]) -> None:
    """Raise DeliveryError where a line went, or says another version than it did."""
    for identity_, line in before.items():
        now = after.get(identity_)
        if now is None:
            raise DeliveryError(
                f"{HELD}: the line of {identity_[:12]} is gone; `flightline unhold` lets it go, on record"
            )
        if now.version != line.version:
            raise DeliveryError(
                f"{HELD}: the line of {identity_[:12]} names another version now; restore {line.version[:12]}"
            )


def _check_not_held(env: str, after: _Side) -> None:
    """Raise DeliveryError where a release comes back that a line beside it still holds."""
    if (text := after.files.get(RELEASE)) is None:
        return
    line = after.holds.get(read_release(text, f"{folder(env)}/{RELEASE}").identity)
    if line is not None and line.permitted is None:
        raise DeliveryError(
            f"{RELEASE}: identity {line.identity[:12]} is held since {line.date}: {line.reason}; `flightline unhold "
            f"--env {env} {line.identity[:12]} --reason ...` lets it go, on record"
        )


def _check_new(span: _Span, after: _Side, env: str, through: tuple[str, ...]) -> None:
    """Raise DeliveryError unless the content proves that a verb made this release, and would make it still."""
    repository, base = span.repository, span.base
    release = read_release(after.files[RELEASE], f"{folder(env)}/{RELEASE}")
    for earlier in through:
        check_carried(repository, base, earlier, release, after.files[BUNDLE])
    if not repository.contains(base, release.source):
        raise DeliveryError(
            f"{RELEASE}: source {release.source[:12]} is not on {repository.branch}; release from there"
        )
    with repository.exported(release.source) as tree:
        try:
            check_release(repository, tree, env, after.files)
        except DeliveryError as error:
            raise DeliveryError(f"{error}; {_MAY}") from error
        _check_allowed(span, release, env, through)
        if span.proofs is not None:
            span.proofs.check(repository, base, span.head, release, tree if not through else None)


def _check_allowed(span: _Span, release: Release, env: str, through: tuple[str, ...]) -> None:
    repository, base = span.repository, span.base
    lines = tuple(timeline(repository, base, one) for one in (env, *through))
    overtaken = order.newer(repository, lines[0], release.source)
    why = order.refusal(release.identity, release.source, lines, overtaken) or freeze.refusal(repository, base, env)
    if why:
        raise DeliveryError(why)
