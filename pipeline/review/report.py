"""What main's code makes of a run's artifact: one answer, the gates' statuses, and the parts of the comment. Pure.

The artifact is the word of whoever wrote the branch. What git and main say is held against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

from pipeline.config import GateName, Override
from pipeline.report.document import Grid, document
from pipeline.report.figures import sentence
from pipeline.report.words import GATES, MARKS, meaning, short
from pipeline.review import parts
from pipeline.review.artifact import Artifact, ArtifactError
from pipeline.review.models import Evidence, Setting
from pipeline.review.parts import Part
from pipeline.text import clipped, plain
from pipeline.verdict import Decision, GateResult, Verdict

State = Literal["success", "failure", "error", "pending"]
CONTEXT, AGGREGATE = "flightline", "flightline/gates"
MOST_DESCRIPTION = 140
# What no gate reads or runs, or what is judged itself. Whatever else a branch changes is pointed at.
HARMLESS = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "argocd/",
    "bench/",
    "docs/",
    "dvc.lock",
    "k8s/freeze.yaml",
    "k8s/overlays/",
    "k8s/releases/",
    "model/",
    "params.yaml",
    "tests/",
)
_NO, _YES, _UNSURE = MARKS[Decision.FAIL], MARKS[Decision.PASS], MARKS[Decision.INCONCLUSIVE]
_STATES: dict[Decision, State] = {
    Decision.PASS: "success",
    Decision.FAIL: "failure",
    Decision.INCONCLUSIVE: "failure",
}
_AGAIN = "Mend it and push; this comment follows."


@dataclass(frozen=True)
class Known:
    """What main's own code knows of the pull request, from the forge and from git alone.

    `machine` says what machines wrote there, where that is all there is; `permits` what may be released again by it;
    `refused` why k8s/releases/ may not change so, `unproven` why that cannot be told; `model` whether what the bundle
    depends on or dvc.lock changed; `production` is the version that main releases, None for none.
    """

    head: str
    base: str
    fork: str
    files: tuple[str, ...]
    params: tuple[Setting, ...]
    overrides: tuple[Override, ...]
    model: bool
    production: str | None
    first: str
    today: date
    machine: str = ""
    permits: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    unproven: str = ""


@dataclass(frozen=True)
class Status:
    """One status of the commit."""

    context: str
    state: State
    description: str


@dataclass(frozen=True)
class GateLine:
    """One gate as the top of the comment shows it."""

    title: str
    mark: str


@dataclass(frozen=True)
class Report:
    """The comment in parts, and the statuses beside it; the last of these is the aggregate."""

    state: State
    mark: str
    title: str
    sentence: str
    next_step: str
    origin: str
    warnings: tuple[str, ...] = ()
    figures: Grid | None = None
    gates: tuple[GateLine, ...] = ()
    statuses: tuple[Status, ...] = ()
    parts: tuple[Part, ...] = ()


def report(known: Known, found: Artifact | ArtifactError) -> Report:
    """The answer. What git shows comes first, then whether the artifact can be used, then what it says."""
    if known.refused or known.unproven:
        return _refused(known) if known.refused else _unproven(known)
    if known.machine and not known.model:
        return _machine(known)
    if isinstance(found, ArtifactError):
        return _unusable(known, str(found))
    if wrong := disagreement(known, found):
        return _unusable(known, wrong)
    if found.verdict is None:
        return _without(known, found.evidence)
    return _judged(known, found, found.verdict)


def disagreement(known: Known, found: Artifact) -> str:
    """The first thing the artifact says that git or main knows better; "" where there is none."""
    evidence, verdict = found.evidence, found.verdict
    if evidence.head != known.head:
        return f"evidence.json: head: {evidence.head[:12]}, but the pull request is at {known.head[:12]}"
    if evidence.outcome == "unchanged" and known.model:
        return "evidence.json: outcome: 'unchanged', but the branch changes what the model is made of"
    if verdict is None:
        return ""
    version = evidence.provenance.version if evidence.provenance else None
    if version != verdict.candidate.version:
        return "evidence.json: provenance.version is not the candidate of verdict.json"
    compared = verdict.production.version if verdict.production else None
    if compared != known.production and not _unreachable(verdict):
        ours, theirs = (short(one) if one else "no release" for one in (known.production, compared))
        return f"verdict.json: production: {theirs}, but main's production is {ours}; run the gates again"
    return next(_invented(known, verdict), "")


def _unreachable(verdict: Verdict) -> bool:
    """The run could not reach production, and says so: its benchmark is inconclusive then, never a pass."""
    bench = next((one for one in verdict.gates if one.gate == "benchmark"), None)
    return verdict.production is None and bench is not None and bench.decision is Decision.INCONCLUSIVE


def _invented(known: Known, verdict: Verdict) -> Iterator[str]:
    for gate in verdict.gates:
        one = gate.override
        if one is None:
            continue
        if one not in known.overrides or one.gate != gate.gate:
            yield f"verdict.json: gate {gate.gate}: override: params.yaml of this branch has no such line"
        elif one.expires < known.today or not verdict.candidate.version.startswith(one.candidate):
            yield f"verdict.json: gate {gate.gate}: override: it has expired, or is of another candidate"


def warnings(known: Known) -> Iterator[str]:
    """What a reviewer should look at first."""
    limits = [f"{one.name} {one.base or 'unset'} → {one.head or 'unset'}" for one in known.params if _is_limit(one)]
    judges = [path for path in known.files if may_judge(path)]
    yield from known.permits
    if limits:
        yield f"This branch changes what it is judged by: {clipped('; '.join(limits), 300)}."
    if judges:
        more = f" and {len(judges) - 3} more" if len(judges) > 3 else ""  # noqa: PLR2004 - three fit a phone
        yield f"This branch changes what its run was judged with, or may: {clipped(', '.join(judges[:3]), 200)}{more}."
    if known.fork:
        yield f"From the fork {plain(known.fork)}: every figure here was computed by that fork's code."


def may_judge(path: str) -> bool:
    """Whether a gate, or the run around it, may read or run a file of this path."""
    return not any(path.startswith(one) if one.endswith("/") else path == one for one in HARMLESS)


def _is_limit(one: Setting) -> bool:
    return one.name.startswith("gates.")


def _judged(known: Known, found: Artifact, verdict: Verdict) -> Report:
    arranged = document(verdict)
    state = _STATES[verdict.decision]
    why = _clear(arranged.sentence)
    return Report(
        state=state,
        mark=MARKS[verdict.decision],
        title=f"{verdict.decision.capitalize()}: {meaning(verdict)}",
        sentence=why,
        next_step=next_step(verdict, known),
        origin=_origin(known),
        warnings=tuple(warnings(known)),
        figures=parts.headline(verdict),
        gates=tuple(_lines(verdict)),
        statuses=(*_statuses(verdict), _aggregate(state, f"{verdict.decision.value}: {why}")),
        parts=(
            *parts.of_verdict(verdict, arranged),
            *_context(known, found.evidence),
            parts.provenance(found.evidence, arranged),
        ),
    )


def next_step(verdict: Verdict, known: Known) -> str:
    """What a reviewer does now; the run's own advice is for the author's desk."""
    blocking = ", ".join(gate.gate for gate in verdict.gates if gate.blocks) or "that did not run"
    if verdict.decision is Decision.PASS:
        return f"Review and merge. Main puts it before the gates again, then releases it to {known.first}."
    if verdict.decision is Decision.FAIL:
        return f"Do not merge. Gate {blocking} says why below; change the model or its data and push."
    return f"Not yet: gate {blocking} cannot tell. Bring more data, or have an override reviewed (`gates.overrides`)."


def _clear(text: str) -> str:
    return clipped(text, 300)


def _lines(verdict: Verdict) -> Iterator[GateLine]:
    gates = {one.gate: one for one in verdict.gates}
    for name in get_args(GateName):
        gate = gates.get(name)
        suffix = " (overridden)" if gate and gate.override else ""
        yield GateLine(f"{GATES[name]}{suffix}", MARKS[gate.decision] if gate else MARKS[None])


def _statuses(verdict: Verdict) -> Iterator[Status]:
    gates = {one.gate: one for one in verdict.gates}
    return (_status(name, gates.get(name)) for name in get_args(GateName))


def _status(name: str, gate: GateResult | None) -> Status:
    if gate is None:
        return _said(name, "failure", "not run")
    if gate.override:
        return _said(name, "success", f"{gate.decision.value}, overridden until {gate.override.expires}")
    return _said(name, _STATES[gate.decision], f"{gate.decision.value}: {gate.reason}")


def _said(name: str, state: State, text: str) -> Status:
    return Status(f"{CONTEXT}/{name}", state, clipped(plain(text), MOST_DESCRIPTION))


def _aggregate(state: State, text: str) -> Status:
    return Status(AGGREGATE, state, clipped(plain(text), MOST_DESCRIPTION))


def _none_judged(state: State, text: str) -> tuple[Status, ...]:
    """Every gate's status, so that none of an earlier run of this commit is left standing."""
    gates = (_said(name, "error", "not judged; flightline/gates says why") for name in get_args(GateName))
    return (*gates, _aggregate(state, text))


def _machine(known: Known) -> Report:
    return Report(
        state="success",
        mark=_YES,
        title="Releases and holds alone: no model to judge anew",
        sentence=sentence(known.machine),
        next_step="Review what it releases, holds or takes back, and merge.",
        origin="Main's own code read this branch from git and checked it; nothing that the branch's run says was used.",
        warnings=tuple(warnings(known)),
        statuses=(_aggregate("success", known.machine),),
        parts=(parts.changes(known.files, known.params),),
    )


def _refused(known: Known) -> Report:
    why = f"What this branch changes in k8s/releases/ may not change like this: {'; '.join(known.refused)}"
    return Report(
        state="failure",
        mark=_NO,
        title="Not allowed: releases are written by machines",
        sentence=clipped(plain(why), 600),
        next_step="Take these changes out; `flightline release`, `promote`, `rollback` and `hold` make them.",
        origin="Main's own code read this branch from git and checked it; nothing that the branch's run says was used.",
        warnings=tuple(warnings(known)),
        statuses=_none_judged("failure", f"k8s/releases/ may not change like this: {known.refused[0]}"),
        parts=(parts.changes(known.files, known.params),),
    )


def _unproven(known: Known) -> Report:
    said = clipped(plain(known.unproven), 400)
    return Report(
        state="error",
        mark=_UNSURE,
        title="No verdict: what it releases cannot be proved now",
        sentence=said,
        next_step="Run this workflow again once registry and DVC remote answer.",
        origin="Main's own code read this branch from git; it asks registry and DVC remote for what git cannot prove.",
        warnings=tuple(warnings(known)),
        statuses=_none_judged("error", said),
        parts=(parts.changes(known.files, known.params),),
    )


def _unusable(known: Known, why: str) -> Report:
    said = clipped(plain(why), 400)
    return Report(
        state="error",
        mark=_UNSURE,
        title="No verdict: what the run handed over cannot be used",
        sentence=said,
        next_step=f"Open the run and see how it ended; then run it again. {_AGAIN}",
        origin="Main's own code reads what a branch's run hands over, and believes none of it that does not fit.",
        warnings=tuple(warnings(known)),
        statuses=_none_judged("error", said),
        parts=(parts.changes(known.files, known.params),),
    )


def _without(known: Known, evidence: Evidence) -> Report:
    reason = _clear(sentence(evidence.reason)) or "The run gives no reason."
    context = (*_context(known, evidence), parts.provenance(evidence, None))
    if evidence.outcome == "unchanged":
        stays = "Nothing that the model is made of changed: the bundle is main's, and its verdict stands."
        return Report(
            state="success",
            mark=_YES,
            title="Nothing to judge: the model stays as it is",
            sentence=stays,
            next_step="Review and merge once the other checks pass.",
            origin="Main's own code compared the branch with main in git; no model was trained for this.",
            warnings=tuple(warnings(known)),
            statuses=(_aggregate("success", stays),),
            parts=context,
        )
    made = evidence.outcome == "not judged"
    title = "Not judged: the gates did not come to an end" if made else "Not reproduced: there is no model to judge"
    return Report(
        state="failure",
        mark=_NO,
        title=title,
        sentence=reason,
        next_step=f"Read the end of the run's log, and try `make gate` on your machine. {_AGAIN}",
        origin=_origin(known),
        warnings=tuple(warnings(known)),
        statuses=_none_judged("failure", f"{evidence.outcome}: {reason}"),
        parts=context,
    )


def _context(known: Known, evidence: Evidence) -> tuple[Part, ...]:
    return parts.data(evidence), parts.changes(known.files, known.params)


def _origin(known: Known) -> str:
    return (
        f"Verdict and figures are as the pull request's own run reports them for {known.head[:12]}; files and "
        "parameters are main's own reading of git. Main puts what is merged before the gates again, before any release."
    )
