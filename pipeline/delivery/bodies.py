"""What a pull request of a prepared branch says: why first, then the evidence, folded. Read from git, never remembered.

Everything foreign in it (reasons, messages, subjects of commits) is escaped by the templates, which are beside the
report's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from pipeline import paths, reports
from pipeline.delivery.git import Repository
from pipeline.delivery.history import HELD, RELEASE, folder, timeline
from pipeline.delivery.models import Hold, Release, read_holds, read_release
from pipeline.delivery.observed import Analysis
from pipeline.delivery.witness import Event, Witness, when
from pipeline.delivery.words import SHORT
from pipeline.report.document import Grid
from pipeline.report.figures import sentence
from pipeline.text import clipped, fenced, plain
from pipeline.verdict import Decision, Verdict

MOST = 60_000  # forges take 65,536 characters
DIFF_LINES, DIFF_CHARACTERS, COMMITS = 300, 16_000, 15
_NONE = Grid("", (), ())
_STAYS = "The change that it was built from stays on main: revert or mend it too, or the next release brings it again."
_FORMAT, _NOT_RELEASES = "%h %s", f":(exclude){paths.RELEASES}"


@dataclass(frozen=True)
class Told:
    """What the cluster says about an event."""

    witness: Witness
    event: Event

    @property
    def confirmed(self) -> bool | None:
        """Whether the cluster bears it out; None where it could not be asked."""
        return self.witness.confirms(self.event)

    @property
    def why(self) -> str:
        """What it says, or why it could not be asked."""
        return clipped(plain(self.witness.why), 500)

    @property
    def since(self) -> str:
        """Since when, "" where the cluster does not say."""
        return when(self.witness.since)


@dataclass(frozen=True)
class Picture:
    """A picture and where a browser finds it."""

    title: str
    url: str


@dataclass(frozen=True)
class Evidence:
    """What a body adds to what git says: the cluster's word, pictures, a word about pictures that are not there.

    `logged` is what became of logged requests that were asked again.
    """

    told: Told | None = None
    pictures: tuple[Picture, ...] = ()
    note: str = ""
    logged: str = ""


@dataclass(frozen=True)
class Asked:
    """A prepared commit to write about: `identity` is what is promoted, held, or gone back from."""

    kind: str
    env: str
    before: str
    identity: str
    main: str
    commit: str


@dataclass(frozen=True)
class Diff:
    """What a commit changes at a path, as a code block of bounded size."""

    where: str
    added: int
    removed: int
    block: str
    left_out: int


@dataclass(frozen=True)
class Page:
    """Everything that a template may show; what does not belong to its kind is empty."""

    kind: str
    env: str
    before: str
    version: str
    change: str
    todo: str
    reason: str
    diff: Diff
    identity: Grid
    told: Told | None = None
    decision: Decision | None = None
    held: str = ""
    stood: str = ""
    analysed: str = ""
    analyses: Grid = _NONE
    no_analysis: str = ""
    report: str = ""
    no_report: str = ""
    commits: tuple[str, ...] = ()
    compare: str = ""
    pictures: tuple[Picture, ...] = ()
    note: str = ""
    logged: str = ""


def text(repository: Repository, asked: Asked, evidence: Evidence, web: str, raw: str) -> str:
    """The body. `web` is the repository's page, `raw` where a browser finds the files of branch `reports`.

    Raises GitError, DeliveryError.
    """
    page = _page(repository, asked, evidence, web, raw)
    body = _rendered(page)
    if len(body) > MOST and page.report:
        too_long = (
            f"It is too long to be shown here: {raw}/{_report_folder(_release(repository, asked.commit, asked.env))}"
        )
        body = _rendered(replace(page, report="", no_report=too_long))
    return body


def paused(env: str, identity: str, told: Told, reason: str) -> str:
    """The body of the issue about an identity that waits for a person."""
    analyses = _measured(told.witness.analyses)
    return _template("paused")(env=env, identity=identity, told=told, reason=reason, analyses=analyses)


def _rendered(page: Page) -> str:
    from pipeline.report.words import MARKS

    return _template({"release": "promote", "unhold": "hold"}.get(page.kind, page.kind))(page=page, marks=MARKS)


def _template(name: str) -> Callable[..., str]:
    from pipeline.report.markdown import escaped, with_code
    from pipeline.report.templating import template

    return template(f"pulls/{name}.md.j2", with_code, escaped)


def _page(repository: Repository, asked: Asked, evidence: Evidence, web: str, raw: str) -> Page:
    if asked.kind in {"hold", "unhold"}:
        return _hold(repository, asked)
    now, after = (_release(repository, commit, asked.env) for commit in (asked.main, asked.commit))
    both = _both(repository, asked, now, after, web)
    if asked.kind == "rollback":
        return _rollback(repository, asked, both, evidence)
    return _promotion(repository, asked, both, evidence, raw)


@dataclass(frozen=True)
class _Both:
    """The release that stands and the one that would, with what is said of every such pair."""

    now: Release | None
    after: Release
    diff: Diff
    identity: Grid
    commits: tuple[str, ...]
    compare: str


def _both(repository: Repository, asked: Asked, now: Release | None, after: Release | None, web: str) -> _Both:
    if after is None:
        raise ValueError(f"{asked.commit[:SHORT]} has no release of {asked.env}; prepare its branch anew")
    span = (now.source, after.source) if now and now.source != after.source else None
    return _Both(
        now=now,
        after=after,
        diff=_diff(repository, asked, f"{folder(asked.env)}/manifests.yaml"),
        identity=_identity(now, after),
        commits=_commits(repository, *span) if span else (),
        compare=f"{web}/compare/{span[0]}...{span[1]}" if span else "",
    )


def _promotion(repository: Repository, asked: Asked, both: _Both, evidence: Evidence, raw: str) -> Page:
    after, told = both.after, evidence.told
    report, no_report = gate_report(repository, after, raw)
    analyses = told.witness.analyses if told else ()
    return Page(
        kind=asked.kind,
        env=asked.env,
        before=asked.before,
        version=after.version[:SHORT],
        change=_change(both.now, after),
        todo=_merge(asked),
        reason=sentence(after.verdict.reason),
        decision=_decision(after),
        diff=both.diff,
        identity=both.identity,
        commits=both.commits,
        compare=both.compare,
        told=told,
        stood=_stood(repository, asked, told) if asked.before else "",
        analyses=_measured(analyses),
        analysed=_phases(analyses),
        no_analysis=_no_analysis(told),
        report=report,
        no_report=no_report,
        logged=evidence.logged,
    )


def _rollback(repository: Repository, asked: Asked, both: _Both, evidence: Evidence) -> Page:
    told = evidence.told
    return Page(
        kind=asked.kind,
        env=asked.env,
        before=asked.before,
        version=both.after.version[:SHORT],
        change=_change(both.now, both.after),
        todo=_go_back(asked.env, told),
        reason=_hold_reason(repository, asked),
        diff=both.diff,
        identity=both.identity,
        commits=(),
        told=told,
        held=asked.identity,
        analyses=_measured(told.witness.analyses if told else ()),
        pictures=evidence.pictures,
        note=evidence.note,
    )


def _hold(repository: Repository, asked: Asked) -> Page:
    verb = "is refused" if asked.kind == "hold" else "may be released again"
    line = next(one for one in _holds(repository, asked.commit, asked.env) if one.identity == asked.identity)
    permitted = f" (let go by {line.permitted.by}: {line.permitted.reason})" if line.permitted else ""
    return Page(
        kind=asked.kind,
        env=asked.env,
        before="",
        version=line.version[:SHORT],
        change=f"identity {asked.identity[:SHORT]} {verb} from this merge on",
        todo="Merge it if you agree. Nothing that runs now changes.",
        reason=f"{line.reason}{permitted}",
        diff=_diff(repository, asked, f"{folder(asked.env)}/{HELD}"),
        identity=_NONE,
    )


def _merge(asked: Asked) -> str:
    watch = f"`flightline status --env {asked.env} --watch`"
    return (
        f"Read the report and what changes, then merge: the canary in {asked.env} starts by itself, and {watch} shows "
        f"it. To leave {asked.env} as it is, close this."
    )


def _go_back(env: str, told: Told | None) -> str:
    if told is not None and told.event == "aborted":
        return (
            f"Merge, so that git and cluster agree again: the stable version serves {env} already. To look at it "
            f"first: `flightline status --env {env}`. {_STAYS}"
        )
    return f"Merge: {env} rolls back without a build. `flightline status --env {env} --watch` shows it. {_STAYS}"


def _change(now: Release | None, after: Release) -> str:
    if now is None:
        return f"version {after.version[:SHORT]} becomes its first release"
    if now.version == after.version:
        return f"version {after.version[:SHORT]} again, on other code or manifests"
    return f"version {after.version[:SHORT]} replaces {now.version[:SHORT]}"


def _stood(repository: Repository, asked: Asked, told: Told | None) -> str:
    """How the release fared in the environment it comes from: by the cluster where it confirms, else by git."""
    commit = released_in(repository, asked.main, asked.before, asked.identity)
    at = repository.text("show", "--no-patch", "--format=%cI", commit) if commit else ""
    if told is None or not told.confirmed:
        return f"released {when(at)}, says git." if at else "released, says git."
    healthy = f"healthy since {told.since}" if told.since else "healthy"
    return f"{healthy}{f', released {when(at)}' if at else ''}. Canary analysis: {_phases(told.witness.analyses)}."


def released_in(repository: Repository, main: str, env: str, identity: str) -> str:
    """The newest commit on main that released an identity in an environment, "" for none. Raises DeliveryError."""
    found = timeline(repository, main, env)
    return next((commit for commit, one in found.releases() if one.identity == identity), "")


def _phases(analyses: Sequence[Analysis]) -> str:
    """How each analysis ended, in few words."""
    said = ", ".join(f"{one.kind.lower()} {one.phase.lower()}" for one in analyses)
    return said or "none to show"


def _no_analysis(told: Told | None) -> str:
    if told is None or told.confirmed is None:
        return "the cluster could not be asked"
    return "the cluster has none of this release (a first release has none, and an old one is cleaned up)"


def _measured(analyses: Sequence[Analysis]) -> Grid:
    rows = (
        (one.kind.lower(), metric.name, metric.phase, metric.value or "no value", str(metric.count))
        for one in analyses
        for metric in one.metrics
    )
    return Grid("", ("analysis", "metric", "phase", "last value", "times"), tuple(rows), (False,) * 3 + (True,) * 2)


def gate_report(repository: Repository, release: Release, raw: str) -> tuple[str, str]:
    """(the gates' report of a release as Markdown, "") or ("", why there is none).

    It is rendered here from the verdict on branch `reports`, and only if that says of this bundle what the release on
    main says: the branch itself is nothing to rely on.
    """
    from pipeline.report import markdown
    from pipeline.report.document import document

    where = _report_folder(release)
    found = reports.read(repository, f"{where}/verdict.json")
    if found is None:
        return "", f"Branch {reports.BRANCH} has no report of {release.source[:SHORT]} (any more)."
    try:
        verdict = Verdict.model_validate_json(found)
    except ValidationError:
        return "", f"The verdict on branch {reports.BRANCH} of {release.source[:SHORT]} cannot be read."
    said = (verdict.candidate.version, verdict.decision.value, verdict.reason)
    if said != (release.version, release.verdict.decision, release.verdict.reason):
        return "", f"The verdict on branch {reports.BRANCH} is not the one that this release was made with."
    written = markdown.text(document(verdict), pictures="png")
    return written.replace("](plots/", f"]({raw}/{where}/plots/"), ""


def _report_folder(release: Release | None) -> str:
    return f"commits/{release.source if release else ''}"


def _decision(release: Release) -> Decision:
    """Main's own word; one that is no decision is shown as none that passed."""
    known = {one.value: one for one in Decision}
    return known.get(release.verdict.decision, Decision.INCONCLUSIVE)


def _identity(now: Release | None, after: Release) -> Grid:
    pairs: Mapping[str, tuple[str, str]] = {
        "identity": (now.identity if now else "", after.identity),
        "version": (now.version if now else "", after.version),
        "source": (now.source if now else "", after.source),
        "image": (now.image if now else "", after.image),
    }
    rows = tuple((name, new, "the same" if old == new else old) for name, (old, new) in pairs.items())
    return Grid("", ("", "comes", "goes"), rows)


def _commits(repository: Repository, old: str, new: str) -> tuple[str, ...]:
    """Subjects between two sources, newest first, and how many more there are."""
    if not repository.knows(old) or not repository.knows(new):
        return ()
    listed = repository.text(
        "log", "--first-parent", f"--format={_FORMAT}", f"{old}..{new}", "--", ".", _NOT_RELEASES
    ).splitlines()
    more = len(listed) - COMMITS
    return (*(clipped(one, 120) for one in listed[:COMMITS]), *([f"and {more} more"] if more > 0 else []))


def _diff(repository: Repository, asked: Asked, path: str) -> Diff:
    words = ("diff", "--no-color", "--no-ext-diff", "--no-renames", "--unified=3", asked.main, asked.commit, "--", path)
    lines = repository.raw(*words).decode(errors="replace").splitlines()
    body = lines[next((at for at, line in enumerate(lines) if line.startswith("@@")), len(lines)) :]
    shown = tuple(_bounded(body))
    return Diff(
        where=path,
        added=sum(line.startswith("+") for line in body),
        removed=sum(line.startswith("-") for line in body),
        block=fenced("\n".join(shown), "diff"),
        left_out=len(body) - len(shown),
    )


def _bounded(lines: Sequence[str]) -> Iterator[str]:
    """The first lines, as many as a body bears."""
    room = DIFF_CHARACTERS
    for line in lines[:DIFF_LINES]:
        room -= len(line) + 1
        if room < 0:
            return
        yield line


def _hold_reason(repository: Repository, asked: Asked) -> str:
    """Why what is gone back from is held, as the commit says."""
    lines = _holds(repository, asked.commit, asked.env)
    return next((one.reason for one in lines if one.identity == asked.identity), "")


def _holds(repository: Repository, commit: str, env: str) -> tuple[Hold, ...]:
    path = f"{folder(env)}/{HELD}"
    (found,) = repository.blobs([f"{commit}:{path}"])
    return read_holds(found, path) if found is not None else ()


def _release(repository: Repository, commit: str, env: str) -> Release | None:
    path = f"{folder(env)}/{RELEASE}"
    (found,) = repository.blobs([f"{commit}:{path}"])
    return read_release(found, path) if found is not None else None
