"""Which pictures a gate's curves and slices make, and what is said about each. Nothing is drawn here.

A curve is named `<kind>: <role>` or `<kind> <role>`, the role being candidate or production; curves of one kind share
a picture. A kind nobody has described here is drawn all the same, with its name for a title.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.text import number, plain
from pipeline.verdict import Check, Curve, Decision, GateResult, Table, Verdict

MOST_SLICES = 60
UNKNOWN = "Drawn as the gate gave it."
Scale = Literal["linear", "log", "log2", "tail", "date"]
_ROLE = re.compile(r"^(?P<kind>.*?):?\s+(?P<role>candidate|production|reference|baseline)$", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A threshold or an operating point, drawn across the picture; its label stands at the foot or at the head."""

    axis: Literal["x", "y"]
    at: float
    label: str
    foot: bool = False


@dataclass(frozen=True)
class Series:
    """One curve of a picture; `role` is candidate, production, canary, stable, or what else the legend says, or empty.

    `tone` names its colour where the role has none.
    """

    role: str
    curve: Curve
    tone: str = ""


@dataclass(frozen=True)
class Chart:
    """Curves on shared axes, with what one sees (title), what to make of it (reading) and how it is drawn.

    The legend has so many `columns`. One that stands on zero begins there, and shows its lines however far they are.
    """

    name: str
    title: str
    x: str
    y: str
    reading: str
    series: tuple[Series, ...]
    lines: tuple[Line, ...] = ()
    style: Literal["line", "points", "steps"] = "line"
    diagonal: bool = False
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    y_factor: float = 1.0
    columns: int = 4
    on_zero: bool = False


@dataclass(frozen=True)
class Bar:
    """One row of a forest plot: a difference with its interval. `kind` says whether it was judged, and how."""

    group: str
    label: str
    value: float
    low: float | None
    high: float | None
    kind: Literal["judged", "harmed", "listed"]


@dataclass(frozen=True)
class Forest:
    """Differences with intervals, one per row, against zero and the margin."""

    name: str
    title: str
    x: str
    reading: str
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class _Kind:
    """How one kind of curve is shown. `checks` name those whose reasons, `measure` those whose figures, are quoted.

    `whose` is the role of a curve whose name does not say it; `limit` is (axis, check, label) of a line across.
    """

    title: str
    x: str
    y: str
    reading: str
    style: Literal["line", "points", "steps"] = "line"
    diagonal: bool = False
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    y_factor: float = 1.0
    checks: str = ""
    measure: str = ""
    whose: str = ""
    limit: tuple[Literal["x", "y"], str, str] | None = None


_KINDS: Mapping[str, _Kind] = {
    "calibration": _Kind(
        "Predicted risk against what happened",
        "predicted probability (mean of a bin)",
        "observed share",
        "On the diagonal a prediction of 30 % came true 30 % of the time; points below it were overestimated. "
        "Each point stands for the same number of rows.",
        style="points",
        diagonal=True,
        measure="Brier score",
    ),
    "roc": _Kind(
        "ROC: right alarms against false ones",
        "false alarms, share of the negatives",
        "found, share of the positives",
        "Nearer to the upper left corner is better; the diagonal is what chance alone reaches.",
        diagonal=True,
        measure="ROC AUC",
    ),
    "precision by recall": _Kind(
        "Precision at each recall",
        "recall, share of the positives found",
        "precision, share of alarms that are right",
        "Higher is better: how many alarms are right when this share of the positives is to be found.",
        measure="average precision",
    ),
    "half-width": _Kind(
        "How small a difference can this holdout tell?",
        "size of the holdout in {unit}",
        "half-width of the interval, loss",
        "Where the curve is above the margin, a difference of the size of the margin hides in the noise.",
        checks=r"half-width|\w+ needed",
        limit=("y", "loss", "margin"),
    ),
    "scores": _Kind(
        "Distribution of the scores",
        "score",
        "share of rows in a bin",
        "Where the curves part, the same rows are scored differently.",
        style="steps",
        checks="score distance|score shift",
    ),
    "latency": _Kind(
        "Latency by quantile",
        "share of requests answered within",
        "latency, ms (log)",
        "To the right are the slowest requests; the dotted line is what the SLO allows at 95 %.",
        x_scale="tail",
        y_scale="log",
        y_factor=1000,
        checks="slower",
        limit=("y", "p95", "SLO, p95"),
    ),
    "stress throughput": _Kind(
        "Answers per second as users are added",
        "users at once (log)",
        "answers per second",
        "The candidate's server. The knee is where more users stop adding answers.",
        style="points",
        x_scale="log2",
        checks="knee",
        whose="candidate",
        limit=("x", "knee", "knee"),
    ),
    "stress p95": _Kind(
        "Latency as users are added",
        "users at once (log)",
        "p95 latency, ms (log)",
        "The candidate's server. The dotted line is what the SLO allows.",
        style="points",
        x_scale="log2",
        y_scale="log",
        y_factor=1000,
        whose="candidate",
        limit=("y", "p95", "SLO, p95"),
    ),
}
_EXPECTED = {
    "benchmark": ("calibration", "roc", "precision by recall", "half-width"),
    "differential": ("scores",),
    "load": ("latency", "stress throughput"),
}
_CALLED = {
    "roc": "ROC",
    "precision by recall": "precision and recall",
    "half-width": "power",
    "stress throughput": "stress",
}


_ALONE = dict.fromkeys(_EXPECTED, "Curves are the candidate's alone: there was no production to compare with.")


def charts(gate: GateResult, verdict: Verdict) -> tuple[Chart | Forest, ...]:
    """Every picture of one gate but the outcome, none of its curves left out."""
    drawn: list[Chart | Forest] = [*_slices(gate, verdict)]
    for kind, series in _by_kind(gate.curves).items():
        chart = _chart(kind, series, gate, verdict)
        taken = sum(one.name == chart.name or one.name.startswith(f"{chart.name}-again") for one in drawn)
        drawn.append(replace(chart, name=f"{chart.name}-again-{taken}") if taken else chart)
    return tuple(drawn)


def absent(gate: GateResult, verdict: Verdict) -> str:
    """One sentence about the pictures or curves one might look for and not find; empty where nothing is missing."""
    there = {_known(kind)[0] for kind in _by_kind(gate.curves)}
    missing = [_CALLED.get(one, one) for one in _EXPECTED.get(gate.gate, ()) if one not in there]
    if not missing:
        return "" if verdict.production else _ALONE.get(gate.gate, "")
    if (
        gate.gate == "benchmark"
        and verdict.task != "classification"
        and set(missing) <= {"ROC", "precision and recall"}
    ):
        return f"No {' or '.join(missing)}: they need two classes, and the task is {verdict.task}."
    return f"Not shown, because the gate did not get that far: {', '.join(missing)}."


def _by_kind(curves: Sequence[Curve]) -> dict[str, list[Series]]:
    found: dict[str, list[Series]] = {}
    for curve in curves:
        named = _ROLE.match(curve.name)
        kind, role = (named["kind"], named["role"].lower()) if named else (curve.name, "")
        found.setdefault(kind, []).append(Series(role, curve))
    return found


def _known(kind: str) -> tuple[str, _Kind]:
    """The description of a kind of curve, by its name or the start of it; a plain one for an unknown kind."""
    lowered = kind.lower()
    for name, described in _KINDS.items():
        if lowered == name or lowered.startswith(f"{name} by "):
            return name, described
    return lowered, _Kind(plain(kind), "x", "y", UNKNOWN)


def _chart(kind: str, series: Sequence[Series], gate: GateResult, verdict: Verdict) -> Chart:
    name, known = _known(kind)
    known = _for_task(name, known, verdict)
    return Chart(
        name=_slug(f"{gate.gate}-{kind}"),
        title=known.title,
        x=known.x.format(unit=kind.rpartition(" by ")[2]) if name == "half-width" else known.x,
        y=known.y,
        reading=_reading(known, gate, series),
        series=tuple(Series(one.role or known.whose, one.curve) for one in series),
        lines=tuple(_lines(name, known, gate, verdict)),
        style=known.style,
        diagonal=known.diagonal,
        x_scale=known.x_scale,
        y_scale=known.y_scale,
        y_factor=known.y_factor,
    )


def _for_task(name: str, known: _Kind, verdict: Verdict) -> _Kind:
    if name != "calibration" or verdict.task == "classification":
        return known
    return replace(
        known,
        title="Predicted value against what happened",
        x="predicted value (mean of a bin)",
        y="observed mean",
        reading="On the diagonal, prediction and outcome agree on average. Each point stands for as many rows.",
        measure="mean absolute error",
    )


def _lines(name: str, known: _Kind, gate: GateResult, verdict: Verdict) -> Iterator[Line]:
    if known.limit is not None:
        axis, check, label = known.limit
        at = _limit(_check(gate, check), axis)
        if at:
            yield Line(axis, abs(at) * (known.y_factor if axis == "y" else 1), label, foot=True)
    if name == "half-width" and verdict.holdout.blocks:
        yield Line("x", verdict.holdout.blocks, f"this holdout: {verdict.holdout.blocks}")


def _limit(check: Check | None, axis: str) -> float | None:
    if check is None:
        return None
    return check.threshold if axis == "y" else check.statistic


def _reading(known: _Kind, gate: GateResult, series: Sequence[Series]) -> str:
    quoted = [sentence(one.reason) for one in gate.checks if known.checks and re.fullmatch(known.checks, one.name)]
    measured = [
        f"{one.role} {number(check.statistic)}"
        for one in series
        if known.measure and (check := _check(gate, f"{known.measure}, {one.role}")) is not None
    ]
    figures = [sentence(f"{known.measure}: {', '.join(measured)}")] if measured else []
    nothing = [] if any(one.curve.x for one in series) else ["The gate gave no points."]
    return " ".join([known.reading, *nothing, *figures, *quoted])


def sentence(text: str) -> str:
    """A reason as a sentence: capital first letter, full stop."""
    line = plain(text)
    first = line.partition(" ")[0]
    capital = line[:1].upper() + line[1:] if not re.search(r"\d", first) else line
    return capital + ("" if line.endswith((".", "!", "?")) else ".") if line else ""


_WANTED = {
    "non-inferior": ("margin", "its one-sided bound, a little inside the interval, must stay left of the margin"),
    "gain": ("gain needed", "the estimate must reach the dotted line and the one-sided bound stay left of zero"),
}


def outcome(verdict: Verdict) -> Forest | None:
    """The one difference that decides, to stand first; None where the benchmark measured none."""
    bench = next((one for one in verdict.gates if one.gate == "benchmark"), None)
    check = _check(bench, "loss") if bench else None
    if check is None or check.statistic is None or check.interval is None:
        return None
    kind: Literal["judged", "harmed"] = "harmed" if check.decision is Decision.FAIL else "judged"
    asked, wanted = _WANTED["non-inferior" if verdict.rule == "non-inferior" else "gain"]
    return Forest(
        name="benchmark-outcome",
        title=f"Candidate's loss against {reference(verdict)}",
        x=_difference(verdict),
        reading=f"Left of zero the candidate is better. To pass, {wanted}.",
        bars=(Bar("", f"{verdict.holdout.rows:,} rows", check.statistic, *check.interval, kind),),
        lines=tuple(_margin(check.threshold, asked)),
    )


def _slices(gate: GateResult, verdict: Verdict) -> Iterator[Forest]:
    for table in gate.tables:
        if table.name == "slices" and {"group", "difference", "low", "high", "decision"} <= set(table.columns):
            bars = tuple(_bars(table))
            if bars:
                yield _forest(gate, verdict, bars)


def _forest(gate: GateResult, verdict: Verdict, bars: tuple[Bar, ...]) -> Forest:
    check = _check(gate, "slices")
    shown = _most_telling(bars)
    left_out = (
        f" {len(bars) - len(shown)} of the slices listed only are in the table alone." if len(shown) < len(bars) else ""
    )
    said = sentence(check.reason) if check is not None else ""
    return Forest(
        name="benchmark-slices",
        title="Loss difference in each slice",
        x=_difference(verdict),
        reading=f"Left of zero the candidate is better. Grey, hollow: too few rows to judge.{left_out} {said}".strip(),
        bars=shown,
        lines=tuple(_margin(_slice_margin(gate), "slice margin")),
    )


def _bars(table: Table) -> Iterator[Bar]:
    at = {name: place for place, name in enumerate(table.columns)}
    for row in table.rows:
        value, low, high = (_float(row[at[name]]) for name in ("difference", "low", "high"))
        if value is None:
            continue
        decided = row[at["decision"]]
        kind: Literal["judged", "harmed", "listed"] = (
            "harmed" if decided == "fail" else "judged" if decided == "pass" else "listed"
        )
        dimension = plain(row[at["dimension"]]) if "dimension" in at else ""
        yield Bar(dimension, plain(row[at["group"]]), value, low, high, kind)


def _most_telling(bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
    """All judged slices; of those only listed, the first few that still fit."""
    room = MOST_SLICES - sum(one.kind != "listed" for one in bars)
    shown = []
    for one in bars:
        room -= one.kind == "listed"
        if one.kind != "listed" or room >= 0:
            shown.append(one)
    return tuple(shown)


def _slice_margin(gate: GateResult) -> float | None:
    """Where harm begins: the share of the reference's loss that the thresholds name."""
    share, loss = gate.inputs.get("slice_margin"), _check(gate, "mean loss, reference")
    if not isinstance(share, int | float) or loss is None or loss.statistic is None:
        return None
    return share * abs(loss.statistic)


def _margin(at: float | None, label: str) -> Iterator[Line]:
    if at is not None:
        yield Line("x", at, f"{label} {number(at)}")


def reference(verdict: Verdict) -> str:
    """What the candidate is held against."""
    return "the constant baseline" if verdict.rule == "first release" else "production"


def _difference(verdict: Verdict) -> str:
    return f"mean loss, candidate minus {reference(verdict)}"


def _check(gate: GateResult, name: str) -> Check | None:
    return next((one for one in gate.checks if one.name == name), None)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "curve"
