"""From what a play left to its story: looks, attempts with their evidence, and how the models did afterwards."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipeline import report as gate_reports
from pipeline.context import Context
from pipeline.frames import write_bytes
from pipeline.monitoring import report as observation_reports
from pipeline.monitoring.config import read_monitoring
from pipeline.monitoring.observation import Observation
from pipeline.monitoring.play import story as stories
from pipeline.monitoring.play.after import against
from pipeline.monitoring.play.plan import Span
from pipeline.monitoring.play.stage import Stage
from pipeline.monitoring.play.story import Looked, Story, Swap, Tried
from pipeline.monitoring.play.traffic import Sent
from pipeline.monitoring.recent import as_pandas
from pipeline.monitoring.retrain.attempts import BODY, OBSERVATION, Attempt
from pipeline.monitoring.retrain.config import read_retrain
from pipeline.monitoring.retrain.guards import Answer
from pipeline.monitoring.retrain.ledger import Ledger
from pipeline.monitoring.shadow import ShadowError, logged
from pipeline.monitoring.store import Store
from pipeline.review.models import VERDICT
from pipeline.verdict import Verdict
from serving import bundle

DETAILS = "details"


def looked(found: Observation, answer: Answer, sent: Sent, labels: int, seconds: float) -> Looked:
    """A morning as it is remembered."""
    return Looked(
        as_of=found.as_of,
        version=found.version,
        rows=sent.answered,
        refused=sent.refused,
        labels=labels,
        window_end=found.window.last if found.window else None,
        decay=found.decay,
        feed=found.feed.decision,
        feed_reason=found.feed.reason,
        psi={one.name: one.value for one in found.drift.readings if one.value is not None},
        guard=answer.guard,
        why=answer.reason,
        seconds=round(seconds, 3),
    )


def story(stage: Stage, span: Span, days: Sequence[Looked], kept: Ledger, store: Store, *, whole: bool) -> Story:
    """Everything that is known; how models compare only once all labels are there."""
    context = stage.context()
    model, tried = context.model, [_tried(stage, one, kept.files(one.key)) for one in kept.attempts()]
    key = read_retrain(stage.tree).window_key
    merged = [one for one in tried if one.merged]
    return Story(
        title=model.card.title,
        task=model.card.task,
        first=span.first,
        last=span.last,
        data_end=span.first - timedelta(days=1),
        window_key=key,
        labels_after_days=span.late,
        confidence=context.params.gates.benchmark.confidence,
        max_psi=read_monitoring(stage.tree).feed.max_psi,
        stable=tuple(column.name for column in model.schema.columns if column.stability == "stable"),
        days=tuple(days),
        tried=tuple(tried),
        swaps=tuple(_swap(context, stage, store, one, span.last, whole=whole) for one in merged),
        whole=whole,
    )


def _tried(stage: Stage, attempt: Attempt, files: dict[str, bytes]) -> Tried:
    """An attempt with the gates' figures, its pages written."""
    verdict = Verdict.model_validate_json(files[VERDICT]) if VERDICT in files else None
    said = verdict.reason if verdict and attempt.outcome == "proposed" else attempt.reason
    return Tried(
        key=attempt.key,
        as_of=attempt.as_of,
        window_end=attempt.window_end,
        version=attempt.version,
        candidate=attempt.candidate,
        outcome=attempt.outcome or "under way",
        reason=said or f"{attempt.next} is next",
        details=tuple(_details(stage.root, attempt.key, files)),
        **(_figures(verdict) if verdict else {}),
    )


def _figures(verdict: Verdict) -> dict[str, Any]:
    checks = {check.name: check for gate in verdict.gates if gate.gate == "benchmark" for check in gate.checks}
    loss, production = checks.get("loss"), checks.get("mean loss, reference")
    if loss is None or production is None:
        return {}
    size = production.statistic or 0.0
    return {
        "production_loss": production.statistic,
        "difference": loss.statistic,
        "interval": loss.interval,
        "margin": abs(loss.threshold / size) if loss.threshold and size else None,
    }


def _details(root: Path, key: str, files: dict[str, bytes]) -> list[tuple[str, str]]:
    """The attempt's own pages: what was observed, what the gates said, and the pull request's text."""
    folder, found = root / DETAILS / key, []
    if OBSERVATION in files:
        page = observation_reports.render(Observation.model_validate_json(files[OBSERVATION]), folder)
        found.append(("what was observed", page))
    if VERDICT in files:
        page = gate_reports.render(Verdict.model_validate_json(files[VERDICT]), folder).page
        found.append(("what the gates said", page))
    if BODY in files:
        write_bytes(folder / BODY, files[BODY])
        found.append(("the pull request's text", folder / BODY))
    return [(name, path.relative_to(root).as_posix()) for name, path in found]


def _swap(context: Context, stage: Stage, store: Store, one: Tried, last: date, *, whole: bool) -> Swap:
    new = one.candidate or ""
    nothing = Swap(as_of=one.as_of, old=one.version, new=new, total=None, months=())
    if not whole:
        return nothing
    try:
        frame = as_pandas(store.joined(one.as_of, last).collect())
        rows = logged(frame, new, context.model.schema.label, None)
    except ShadowError:
        return nothing
    old = bundle.load(stage.bundle(one.version))
    total, months = against(context.model, rows, old, context.params.gates.benchmark)
    return nothing.model_copy(update={"total": total, "months": months})


def page(stage: Stage, told: Story) -> Path:
    """Story and page, each whole or not at all."""
    from pipeline.monitoring.play import page as pages

    stories.write(stage.root, told)
    return pages.render(told, stage.root)
