"""plan: what a run on this commit has to do, said in seconds, before anything is installed, restored or built.

It only spares work. Where git cannot tell, it says that there is something to do, and the verbs decide for good.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline import builders, paths
from pipeline.config import Frozen, read_settings
from pipeline.delivery import answers, freeze, order
from pipeline.delivery.answers import LOCK, PIPELINE, Tree
from pipeline.delivery.git import REMOTE, Checkout, Repository
from pipeline.delivery.history import BUNDLE, RELEASE, Timeline, folder, timeline
from pipeline.delivery.lock import BRANCH, bundle_of
from pipeline.delivery.models import DeliveryError, Release, read_release
from pipeline.errors import GitError

CODE = (*(f":(glob){pattern}" for pattern in builders.SOURCES), builders.RECIPE.as_posix())
MANIFESTS = ("k8s", f":(exclude){paths.RELEASES}", f":(exclude){freeze.FREEZE}", "infra/tools/kustomize")
SETTINGS = "pyproject.toml"
_UNSAID = ("desc", "meta")
_SHORT = 12

Found = tuple[bool, str]


class Plan(Frozen):
    """Yes or no, each with its reason; `source` is the commit that a release would name."""

    machine: bool
    model: bool
    release: bool
    source: str
    machine_reason: str
    model_reason: str
    reason: str

    @property
    def text(self) -> str:
        """For people."""
        answered = (
            ("machine", self.machine, self.machine_reason),
            ("model", self.model, self.model_reason),
            ("release", self.release, self.reason),
        )
        lines = [f"{name:<9}{'yes' if said else 'no':<5}{_line(why)}" for name, said, why in answered]
        return "\n".join([*lines, f"source   {self.source}"])

    @property
    def values(self) -> dict[str, str]:
        """For a workflow: one line each, true or false."""
        said = {name: str(getattr(self, name)).lower() for name in ("machine", "model", "release")}
        return {**said, "reason": _line(self.reason), "source": self.source}


def write(values: Mapping[str, str], path: Path) -> None:
    """Add `name=value` lines to a file, as $GITHUB_OUTPUT is written."""
    with path.open("a") as file:
        file.writelines(f"{name}={_line(value)}\n" for name, value in values.items())


def plan(checkout: Checkout, base: str = "") -> Plan:
    """What HEAD asks for. `base` is what it is compared with: "" for where it left main, or its first parent there.

    Raises DeliveryError, GitError, ConfigError.
    """
    repository = Repository.of(checkout)
    span = _Span(checkout, repository, repository.head(), base)
    machine, model, release = _machine(span), _model(span), _release(span)
    return Plan(
        machine=machine[0],
        model=model[0],
        release=release[0],
        source=span.head,
        machine_reason=machine[1],
        model_reason=model[1],
        reason=release[1],
    )


def compared(checkout: Checkout, base: str, head: str) -> tuple[Found, Found]:
    """Machine and model of a commit that is not checked out, against `base`. Raises DeliveryError, GitError."""
    span = _Span(checkout, Repository.of(checkout), head, base)
    return _machine(span), _model(span)


@dataclass(frozen=True)
class _Span:
    """HEAD, what it is compared with, and main; None for what is not known."""

    checkout: Checkout
    repository: Repository
    head: str
    given: str

    @cached_property
    def main(self) -> str | None:
        """Main's commit: the remote's, or the last one seen where it cannot be asked."""
        try:
            return self.repository.fetch()
        except GitError:
            branch = self.repository.branch
            return self._commit(f"refs/remotes/{REMOTE}/{branch}") or self._commit(f"refs/heads/{branch}")

    @cached_property
    def on_main(self) -> bool:
        return self.main is not None and self.repository.contains(self.main, self.head)

    @cached_property
    def base(self) -> str | None:
        """The commit that was there before; a forge says forty zeros for none."""
        if self.given:
            return self._commit(self.given)
        return self._commit(f"{self.head}^") if self.on_main or self.main is None else self.main

    @cached_property
    def ancestor(self) -> str | None:
        """Where HEAD left it."""
        return self.repository.common(self.base, self.head) if self.base else None

    def tip(self, branch: str) -> str | None:
        """The commit of the remote's branch: now, or as last seen where the remote cannot be asked."""
        try:
            return self.repository.tip(branch)
        except GitError:
            return self._commit(f"refs/remotes/{REMOTE}/{branch}")

    def _commit(self, name: str) -> str | None:
        done = self.repository.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return done.stdout.decode().strip() or None


def _machine(span: _Span) -> Found:
    """Whether only files that machines write changed, and git can show that they are what a machine writes.

    It spares the tests of code alone: what a lock names is judged whoever wrote it.
    """
    if span.base is None or span.ancestor is None:
        return False, "there is nothing to compare with"
    changed = span.repository.changed(span.ancestor, span.head)
    by_people = [path for path in changed if path != LOCK and not path.startswith(f"{paths.RELEASES}/")]
    if by_people or not changed:
        return False, f"people wrote {_several(by_people)}" if by_people else "nothing changed"
    problem = _unsound(span, span.base, changed)
    return (False, problem) if problem else (True, f"only {_several(changed)} changed, and is sound")


def _unsound(span: _Span, base: str, changed: Iterable[str]) -> str | None:
    from pipeline.delivery.checks import check_change

    if LOCK in changed:
        try:
            found = answers.answer(span.repository, span.head)
        except DeliveryError as error:
            return str(error)
        if not found.whole:
            return f"{LOCK} does not answer for {found.missing}"
        if not span.on_main and span.tip(BRANCH) != span.head:
            return f"{LOCK} is written on branch {BRANCH!r} of this repository; a person may have written this one"
    findings = check_change(span.checkout, base, span.head)
    return findings[0].text if findings else None


def _model(span: _Span) -> Found:
    """Whether what the bundle is made of changed, or what dvc.lock says."""
    if span.ancestor is None:
        return True, "there is nothing to compare with"
    before, after = (Tree(span.repository, commit) for commit in (span.ancestor, span.head))
    found = list(_ingredients(before, after))
    return bool(found), _several(found) if found else "nothing that the bundle is made of changed"


def _ingredients(before: Tree, after: Tree) -> Iterator[str]:
    old, new = (_declared(tree) for tree in (before, after))
    if _without_words(old) != _without_words(new):
        yield f"the stages of {PIPELINE}"
    read = sorted({*answers.inputs(old), *answers.inputs(new)})
    asked = dict.fromkeys((path, key) for stages in (old, new) for path, key in _keys(stages))
    plain = [path for path in read if path not in {path for path, key in asked if key}]
    if plain:
        yield from before.repository.changed(before.commit, after.commit, [*_literal(plain)])
    for path, key in asked:
        if key and answers.value(before.document(path), key) != answers.value(after.document(path), key):
            yield f"{key} in {path}"
    yield from _locked(before.file(LOCK), after.file(LOCK))


def _locked(before: bytes | None, after: bytes | None) -> Iterator[str]:
    """A lock claims what of what makes what, which git cannot prove: any other claim is to be judged."""
    if bundle_of(before) != bundle_of(after):
        yield f"the bundle that {LOCK} names"
    elif answers.stages(before, LOCK) != answers.stages(after, LOCK):
        yield f"what {LOCK} says"


def _declared(tree: Tree) -> answers.Stages:
    return answers.stages(tree.file(PIPELINE), PIPELINE)


def _keys(stages: answers.Stages) -> Iterator[tuple[str, str]]:
    """(file, key) of every parameter that is read; the key "" is all of the file."""
    for stage in stages.values():
        if isinstance(stage, Mapping):
            for path, keys in answers.parameters(stage).items():
                yield from ((path, key) for key in keys or ("",))


def _without_words(stages: answers.Stages) -> dict[str, Any]:
    """Stages without what is written for people."""
    return {
        name: {key: said for key, said in stage.items() if key not in _UNSAID} if isinstance(stage, Mapping) else stage
        for name, stage in stages.items()
    }


def _release(span: _Span) -> Found:
    """Whether a release of HEAD would bring something new to the first environment. Raises DeliveryError."""
    env = span.checkout.settings.environments[0]
    if span.main is None:
        return True, f"{span.repository.branch} is not known here"
    line = timeline(span.repository, span.main, env)
    if why := _overtaken(span, span.main):
        return False, why
    found = _against(span, line)
    if found[0] and (why := freeze.refusal(span.repository, span.main, env)):
        return False, why
    return found


def _overtaken(span: _Span, main: str) -> str | None:
    """Why the run of main's newest commit releases what this one would: two pushes raced."""
    if main == span.head or not span.on_main:
        return None
    tip = answers.inputs(_declared(Tree(span.repository, main)))
    material = [*_literal(tip), PIPELINE, LOCK, SETTINGS, *CODE, *MANIFESTS]
    changed = span.repository.changed(span.head, main, material)
    if not changed:
        return None
    moved = f"{span.repository.branch} moved on to {main[:_SHORT]}, which changes {_several(changed)}"
    return f"{moved}: its own run goes on"


def _against(span: _Span, line: Timeline) -> Found:
    """By what was released before: HEAD's identity is known without a build where a release shares bundle and code."""
    if line.release is None:
        return True, f"{line.env} has no release yet"
    found = answers.answer(span.repository, span.head)
    if not found.whole:
        return True, f"{LOCK} does not answer for {found.missing}: a run of DVC decides"
    same = [*_with_bundle(span.repository, span.head, line)]
    if not same:
        return True, f"bundle {bundle_of(Tree(span.repository, span.head).file(LOCK))[:_SHORT]} was never released"
    for release in same:
        if not _differ(span, release.source, CODE):
            return _decided(span, line, _identity(span, release))
    return True, f"the server changed since {same[0].source[:_SHORT]}: {_several(_differ(span, same[0].source, CODE))}"


def _with_bundle(repository: Repository, head: str, line: Timeline) -> Iterator[Release]:
    """Releases of the bundle that HEAD's dvc.lock names, newest first, whose sources are here."""
    from pipeline.delivery.candidate import bundle_dvc, locked

    wanted = bundle_dvc(locked(repository, head))
    commits = [commit for commit, _ in line.releases()]
    names = [f"{commit}:{folder(line.env)}/{name}" for commit in commits for name in (BUNDLE, RELEASE)]
    blobs = repository.blobs(names)
    for at, commit in enumerate(commits):
        held, text = blobs[2 * at : 2 * at + 2]
        if held == wanted and text is not None:
            release = read_release(text, f"{RELEASE} at {commit[:_SHORT]}")
            if repository.knows(release.source):
                yield release


def _identity(span: _Span, release: Release) -> str:
    """HEAD's identity, given a release of the same bundle and code: its own where no manifest changed either."""
    before, now = (Tree(span.repository, commit) for commit in (release.source, span.head))
    if not _differ(span, release.source, MANIFESTS) and _named(before) == _named(now):
        return release.identity
    from pipeline.delivery.identity import identity

    with span.repository.exported(span.head) as tree:
        mine = read_settings(tree)
        return identity(tree, mine.environments, mine.registry, release.version, release.code.inputs)


def _decided(span: _Span, line: Timeline, identity: str) -> Found:
    if identity == line.identity:
        return False, f"{line.env} has identity {identity[:_SHORT]} already"
    # A branch that is not merged yet is no older run.
    newer = order.newer(span.repository, line, span.head) if span.on_main else None
    why = order.refusal(identity, span.head, (line,), newer)
    return (False, why) if why else (True, f"identity {identity[:_SHORT]} is not what {line.env} has")


def _differ(span: _Span, source: str, specs: Iterable[str]) -> list[str]:
    return span.repository.changed(source, span.head, [*specs])


def _named(tree: Tree) -> tuple[Any, Any]:
    """What an identity takes from the settings."""
    document = tomllib.loads((tree.file(SETTINGS) or b"").decode()).get("tool", {}).get("flightline", {})
    return document.get("environments"), document.get("registry")


def _literal(paths: Iterable[str]) -> Iterator[str]:
    """As git takes names that are no patterns; what DVC tracks is changed where its *.dvc file is."""
    yield from (f":(literal){path}{end}" for path in paths for end in ("", ".dvc"))


def _several(names: Iterable[str]) -> str:
    found = [*names]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")  # noqa: PLR2004


def _line(text: str) -> str:
    """One line, whatever a file is called: a second one would be a value of its own."""
    return " ".join(text.split())
