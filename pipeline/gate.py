"""gate: put the candidate before every gate, write the verdict, and say in one line what to do.

Reading and scoring happen here, deciding in `pipeline.gates`. The gate is not a DVC stage: it always runs, and always
writes its verdict before it exits. What brings the model's code is imported by those who need it: the load gate is run
beside a key.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pipeline import paths, production
from pipeline.config import ConfigError, GateName, Gates, Override
from pipeline.context import Context
from pipeline.errors import GitError
from pipeline.frames import TableError, sha256, write_text
from pipeline.gates import load, load_image
from pipeline.gates.load_image import Images
from pipeline.oci import ImageError
from pipeline.production import Production
from pipeline.slo import PATH as SLO_PATH
from pipeline.slo import Slo, read_slo
from pipeline.verdict import Check, Decision, GateResult, Holdout, Rule, Verdict, worst
from serving import bundle
from serving.bundle import Bundle

if TYPE_CHECKING:
    from model.contract import Model
    from pipeline.evidence import Evidence, Scorer
    from pipeline.gates.differential import Scored

Kind = Literal["change", "retrain"]
GATES: tuple[GateName, ...] = get_args(GateName)
UNFINISHED = "gate"  # the one check of a gate that could not finish
Progress = Callable[[str], None]


def rule_of(kind: Kind, evidence: "Evidence") -> Rule:
    """A first release and a retrain need a gain; a person's change must not be worse."""
    if evidence.production.reachable and evidence.incumbent is None:
        return "first release"
    return "gain" if kind == "retrain" else "non-inferior"


def judge(
    evidence: "Evidence",
    gates: Gates,
    slo: Slo,
    rule: Rule,
    names: Sequence[GateName] = GATES,
    progress: Progress = print,
    images: Images | None = None,
) -> tuple[GateResult, ...]:
    """Run the named gates in order; each result carries its time and the override that applies to it.

    With `images` the load gate runs these instead of this checkout's server.
    """
    judges: Mapping[GateName, Callable[[], GateResult]] = {
        "data": lambda: _data(evidence, gates),
        "benchmark": lambda: _benchmark(evidence, gates, rule),
        "differential": lambda: _differential(evidence, gates),
        "load": lambda: _load(evidence.candidate.bundle, evidence.production, gates, slo, progress, images),
    }
    version = evidence.candidate.bundle.version
    return tuple(_judged(name, judges[name], gates, version, progress) for name in names)


def _judged(
    name: GateName, decide: Callable[[], GateResult], gates: Gates, version: str, progress: Progress
) -> GateResult:
    """One gate's result, timed, with the override that applies."""
    progress(f"gate {name}")
    started = time.monotonic()
    result = without_fault(name, decide)
    timed = result.model_copy(update={"seconds": round(time.monotonic() - started, 2)})
    return overridden(timed, gates.overrides, version, _today())


def without_fault(name: GateName, decide: Callable[[], GateResult]) -> GateResult:
    """The gate's result; a gate that cannot finish has decided nothing, and the verdict says why."""
    try:
        return decide()
    except Exception as error:
        if os.environ.get("FLIGHTLINE_DEBUG"):
            raise
        return _inconclusive(name, UNFINISHED, f"the gate could not finish: {type(error).__name__}: {error}")


def _data(evidence: "Evidence", gates: Gates) -> GateResult:
    from pipeline.gates import data

    given = data.DataInputs(
        prepared=evidence.rows,
        train=evidence.train,
        holdout=evidence.holdout,
        schema=evidence.model.schema,
        task=evidence.model.card.task,
        rule=evidence.split_rule,
        window_end=evidence.model.history_end,
    )
    return data.judge(given, gates.data)


def _benchmark(evidence: "Evidence", gates: Gates, rule: Rule) -> GateResult:
    from pipeline.gates import benchmark
    from pipeline.gates.unseen import reason_seen

    if not evidence.production.reachable:
        return _inconclusive("benchmark", "production", evidence.production.note)
    model, holdout, incumbent = evidence.model, evidence.holdout, evidence.incumbent
    labels = holdout[model.schema.label].to_numpy(np.float64)
    constant = model.baseline(evidence.train[model.schema.label].to_numpy(np.float64))
    reference = incumbent.scores if incumbent else np.full(len(holdout), constant)
    comparison = benchmark.Comparison(
        candidate_loss=model.loss(holdout, evidence.candidate.scores),
        reference_loss=model.loss(holdout, reference),
        candidate_scores=evidence.candidate.scores,
        labels=labels,
        blocks=holdout[model.schema.block].to_numpy(),
        task=model.card.task,
        reference_name="production" if incumbent else "the constant baseline",
        reference_scores=incumbent.scores if incumbent else None,
        slices=model.slices(holdout),
        unseen_by_candidate=reason_seen(evidence.candidate.rule, holdout, evidence.split_rule),
        unseen_by_production=reason_seen(incumbent.rule, holdout, evidence.split_rule) if incumbent else None,
        unit=_unit(model),
    )
    return benchmark.judge(comparison, rule, gates.benchmark)


def _differential(evidence: "Evidence", gates: Gates) -> GateResult:
    from pipeline.gates import differential

    if not evidence.production.reachable:
        return _inconclusive("differential", "production", evidence.production.note)
    model, holdout = evidence.model, evidence.holdout
    given = differential.DifferentialInputs(
        rows=holdout,
        key=model.schema.key,
        blocks=holdout[model.schema.block].to_numpy(),
        labels=holdout[model.schema.label].to_numpy(np.float64),
        candidate=_scored(evidence.candidate),
        estimator_scores=evidence.estimator_scores,
        production=_scored(evidence.incumbent) if evidence.incumbent else None,
        unit=_unit(model),
    )
    return differential.judge(given, gates.differential)


def _load(
    candidate: Bundle, production: Production, gates: Gates, slo: Slo, progress: Progress, images: Images | None
) -> GateResult:
    with load_image.unpacked(images, progress) if images else nullcontext(None) as ran:
        new, old = (ran.candidate, ran.production) if ran else (candidate.path, production.path)
        measured = load.measure(new, old, requests(candidate), gates.load, progress)
    found = load.judge(measured, slo, gates.load)
    if images:
        found = found.model_copy(update={"checks": (*found.checks, _ran(images))})
    if production.reachable:
        return found
    unknown = _inconclusive("load", "production", production.note)
    decision = worst([found.decision, unknown.decision])
    reason = found.reason if decision is Decision.FAIL else unknown.reason
    return found.model_copy(update={"decision": decision, "reason": reason, "checks": (*found.checks, *unknown.checks)})


def _ran(images: Images) -> Check:
    beside = f" beside production's {digest_of(images.production)}" if images.production else ""
    return Check(
        name="image", decision=None, reason=f"{digest_of(images.candidate)} was run from its own files{beside}"
    )


def digest_of(reference: str) -> str:
    """What people know an image by."""
    return reference.rpartition("@")[2][:19]


def requests(opened: Bundle) -> list[dict[str, Any]]:
    """The golden rows as a caller would send them: synthetic, legal, nobody's data."""
    names, columns = opened.golden.rows.keys(), opened.golden.rows.values()
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def overridden(result: GateResult, overrides: Sequence[Override], version: str, today: date) -> GateResult:
    """The result with the reviewed exception that applies; where all that would have applied expired, it says so."""
    named = [each for each in overrides if each.gate == result.gate and version.startswith(each.candidate)]
    valid = [each for each in named if each.expires >= today]
    if not result.blocks or not named:
        return result
    if valid:
        return result.model_copy(update={"override": valid[0]})
    last = max(each.expires for each in named)
    return result.model_copy(update={"reason": f"{result.reason} (an override expired on {last})"})


def verdict(context: Context, evidence: "Evidence", rule: Rule, results: tuple[GateResult, ...], key: str) -> Verdict:
    """Everything decided, as one document."""
    decision = conclude(results)
    card = evidence.model.card
    return Verdict(
        key=key,
        candidate=evidence.candidate.ref(),
        production=evidence.incumbent.ref() if evidence.incumbent else None,
        production_note=evidence.production.note,
        task=card.task,
        title=card.title,
        rule=rule,
        holdout=_holdout(context, evidence),
        decision=decision,
        reason=_reason(results, decision),
        next_step=next_step(decision, rule, results),
        gates=results,
    )


def conclude(results: Sequence[GateResult]) -> Decision:
    """The worst decision; a gate that did not run leaves it inconclusive."""
    missing = set(GATES) - {result.gate for result in results}
    return worst([without_missing(results), *([Decision.INCONCLUSIVE] if missing else [])])


def without_missing(results: Sequence[GateResult]) -> Decision:
    """The worst decision of those that ran; an overridden gate counts as passed."""
    return worst(Decision.PASS if result.override else result.decision for result in results)


def next_step(decision: Decision, rule: Rule, results: Sequence[GateResult]) -> str:
    """One sentence: what a person should do now."""
    if decision is Decision.PASS:
        return "commit it with its dvc.lock and open a pull request"
    blocking = ", ".join(result.gate for result in results if result.blocks)
    if not blocking:
        ran = {result.gate for result in results}
        return f"run what did not run: gate {', '.join(name for name in GATES if name not in ran)}"
    if decision is Decision.FAIL:
        return (
            f"do not release; see gate {blocking} in build/report.html, then change model or data and run `make gate`"
        )
    if rule == "gain":
        return "keep production; retrain again when more labelled days have come"
    return f"gate {blocking} cannot tell: bring more data or time, mend what it names, or have an override reviewed"


def _reason(results: Sequence[GateResult], decision: Decision) -> str:
    if decision is Decision.PASS:
        benchmarked = [result.reason for result in results if result.gate == "benchmark"]
        return benchmarked[0] if benchmarked else "every gate passes"
    return "; ".join(f"{result.gate}: {result.reason}" for result in results if result.blocks) or "a gate did not run"


def _holdout(context: Context, evidence: "Evidence") -> Holdout:
    frame, schema = evidence.holdout, evidence.model.schema
    identity = _hash(frame[list(dict.fromkeys([*schema.key, schema.label]))].to_csv(index=False))[:16]
    blocks = frame[schema.block].astype(str)
    return Holdout(
        id=identity,
        rows=len(frame),
        blocks=blocks.nunique(),
        first=blocks.min(),
        last=blocks.max(),
        looks=_looks(context, identity),
    )


def _looks(context: Context, identity: str) -> int:
    """How many commits on main released something judged by these very rows; 0 where git cannot say."""
    with suppress(GitError):
        return _count_looks(context, identity)
    return 0


def _count_looks(context: Context, identity: str) -> int:
    main = production.main_ref(context)
    found = context.git("log", "--format=%H", f"-S{identity}", main, "--", str(paths.RELEASES)) if main else ""
    return len(found.splitlines())


def _inconclusive(gate: GateName, about: str, note: str) -> GateResult:
    check = Check(name=about, decision=Decision.INCONCLUSIVE, reason=note)
    return GateResult(gate=gate, decision=Decision.INCONCLUSIVE, reason=note, checks=(check,))


def _scored(scorer: "Scorer") -> "Scored":
    from pipeline.gates.differential import Scored

    return Scored(scorer.bundle.signature, scorer.scores)


def _unit(model: "Model") -> str:
    return "days" if model.schema.event_time else "blocks"


def run(context: Context, kind: Kind, progress: Progress, image: str = "") -> Verdict:
    """Gather, judge by every gate, write build/verdict.json whole; until then there is none, rather than an old one.

    With `image`, by digest, the load gate runs that one. Raises ImageError where it holds another bundle.
    """
    (context.root / paths.VERDICT).unlink(missing_ok=True)
    found = _judged_by(context, kind, GATES, progress, image)
    _write(context, found)
    return found


def some(context: Context, kind: Kind, names: Sequence[str], progress: Progress, image: str = "") -> Verdict:
    """Judge by the named gates only, to look at; the verdict on disk stays as it is. Raises ConfigError."""
    return _judged_by(context, kind, _known(names), progress, image)


def part(context: Context, kind: Kind, names: Sequence[str], progress: Progress, image: str = "") -> Verdict:
    """Judge by the named gates, and write that beside what others said of exactly the same. Raises ConfigError.

    Load alone reads no rows and asks nothing of the model's code, so that it can be run where the keys are. It needs
    the others' verdict, and raises TableError where there is none.
    """
    chosen, earlier = _known(names), standing(context, kind)
    if chosen == ("load",):
        found = _loaded(context, _others(earlier), progress, image)
    else:
        found = _beside(earlier, _judged_by(context, kind, chosen, progress, image))
    _write(context, found)
    return found


def _known(names: Sequence[str]) -> tuple[GateName, ...]:
    unknown = sorted(set(names) - set(GATES))
    if unknown:
        raise ConfigError(f"there is no gate {unknown[0]!r}; there are {', '.join(GATES)}")
    return tuple(name for name in GATES if name in names)


def _judged_by(context: Context, kind: Kind, names: Sequence[GateName], progress: Progress, image: str) -> Verdict:
    from pipeline.evidence import gather

    progress("reading rows, candidate and production")
    evidence = gather(context)
    rule, released = rule_of(kind, evidence), evidence.production
    images = _images(context, evidence.candidate.bundle.version, released, image) if image else None
    results = judge(evidence, context.params.gates, read_slo(context.root), rule, names, progress, images)
    return verdict(context, evidence, rule, results, key(context, kind, released))


def _images(context: Context, version: str, released: Production, image: str) -> Images:
    """The candidate's image and the one that main names in production. Raises ImageError, GitError."""
    from pipeline.image import inspect

    held = inspect(image).bundle
    if held != version:
        raise ImageError(f"{image} holds bundle {held[:12] or 'none'}, build/bundle is {version[:12]}; append it first")
    return Images(image, production.image(context) if released.path else None)


def _others(earlier: Verdict | None) -> Verdict:
    if earlier is None:
        raise TableError(
            f"{paths.VERDICT} is not there, or is about something else than is here; run the other gates first"
        )
    return earlier


def _loaded(context: Context, earlier: Verdict, progress: Progress, image: str) -> Verdict:
    """The verdict with the load gate's part."""
    candidate, released = bundle.load(context.root / paths.BUNDLE), _comparable(context, earlier)
    images = _images(context, candidate.version, released, image) if image else None
    gates, slo = context.params.gates, read_slo(context.root)
    found = _judged(
        "load",
        lambda: _load(candidate, released, gates, slo, progress, images),
        gates,
        candidate.version,
        progress,
    )
    return with_results(earlier, (found,))


def _comparable(context: Context, earlier: Verdict) -> Production:
    """Production as the other gates saw it: restored, none yet, or not to be compared with."""
    if earlier.production is not None:
        return production.restore(context)
    return Production(None, earlier.production_note, reachable=earlier.rule == "first release")


def _beside(earlier: Verdict | None, found: Verdict) -> Verdict:
    return with_results(earlier, found.gates) if earlier and earlier.key == found.key else found


def with_results(earlier: Verdict, results: Sequence[GateResult]) -> Verdict:
    """A verdict with these results in place of the same gates' earlier ones, and decided again."""
    by_name = {one.gate: one for one in (*earlier.gates, *results)}
    ordered = tuple(by_name[name] for name in GATES if name in by_name)
    decision = conclude(ordered)
    said = {"decision": decision, "reason": _reason(ordered, decision)}
    return earlier.model_copy(
        update={**said, "next_step": next_step(decision, earlier.rule, ordered), "gates": ordered}
    )


def _write(context: Context, found: Verdict) -> None:
    write_text(context.root / paths.VERDICT, found.model_dump_json(indent=2) + "\n")


def read_verdict(root: Path) -> Verdict:
    """The verdict on disk. Raises TableError where there is none, or a newer version wrote it."""
    path = root / paths.VERDICT
    if not path.is_file():
        raise TableError(f"{path} is not there; run `make gate`")
    try:
        return Verdict.model_validate_json(path.read_text())
    except ValueError as error:
        raise TableError(f"{path} is not a verdict of this version; run `make gate`") from error


def key(context: Context, kind: Kind, released: Production) -> str:
    """A hash of all that a verdict depends on: what was judged, by what, by which thresholds and with which code."""
    root = context.root
    today = [_today().isoformat()] if context.params.gates.overrides else []
    parts = [
        kind,
        bundle.version(root / paths.BUNDLE),
        bundle.version(released.path) if released.path else released.note,
        sha256(root / paths.ROWS),
        sha256(root / SLO_PATH),
        context.params.gates.model_dump_json(),
        *(sha256(file) for package in ("pipeline", "serving") for file in _sources(root / package)),
        *today,
    ]
    return _hash("\n".join(parts))


def standing(context: Context, kind: Kind) -> Verdict | None:
    """The verdict on disk, if it still speaks of exactly what is here now."""
    try:
        found = read_verdict(context.root)
    except TableError:
        return None
    return found if found.key == key(context, kind, production.restore(context)) else None


def _sources(package: Path) -> list[Path]:
    """Code and templates, in a fixed order."""
    return sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _today() -> date:
    return date.today()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
