"""A verdict arranged for reading: the same document that the Markdown and the page are written from.

Nothing is computed here; every figure is one the gates wrote down.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from pipeline.config import GateName
from pipeline.report import figures
from pipeline.report.figures import Chart, Forest, sentence
from pipeline.report.words import GATES, QUESTIONS, RULES, meaning, short
from pipeline.text import MISSING, Cell, column, interval, leaves, number, plain, setting
from pipeline.verdict import BundleRef, Check, Decision, GateResult, Table, Verdict

LATENCY = "latency p95, ms"
_RULE = {"kind": "split by", "column": "split by column", "share": "share held out"}
_PAIR = re.compile(r"^(?P<what>.+), (?P<whose>candidate|production|reference)$")


@dataclass(frozen=True)
class Grid:
    """A table as text, with which of its columns hold figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Row:
    """One check as text; `decision` None means reported, not judged."""

    name: str
    decision: Decision | None
    found: str
    limit: str
    reason: str


@dataclass(frozen=True)
class Section:
    """One gate: its question and answer, checks, pictures and tables, and a word about what is not there."""

    name: str
    title: str
    question: str
    decision: Decision | None
    reason: str
    checks: tuple[Row, ...] = ()
    pictures: tuple[Chart | Forest, ...] = ()
    tables: tuple[Grid, ...] = ()
    absent: str = ""
    override: str = ""
    seconds: str = ""

    @property
    def judged(self) -> tuple[Row, ...]:
        """The checks that decided."""
        return tuple(one for one in self.checks if one.decision is not None)

    @property
    def reported(self) -> tuple[Row, ...]:
        """The checks that are there to be known."""
        return tuple(one for one in self.checks if one.decision is None)


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    decision: Decision
    meaning: str
    sentence: str
    next_step: str
    compared: str
    rule: str
    reference: str
    outcome: str
    picture: Forest | None
    headline: Grid
    gates: Grid
    sections: tuple[Section, ...]
    bundles: Grid
    holdout: Grid
    thresholds: Grid
    overrides: Grid
    schema_version: str

    @property
    def pictures(self) -> tuple[Chart | Forest, ...]:
        """Every picture in the order shown, each under a name of its own."""
        first = (self.picture,) if self.picture else ()
        return (*first, *(one for section in self.sections for one in section.pictures))


def document(verdict: Verdict) -> Document:
    """Arrange a verdict for reading."""
    return Document(
        title=plain(verdict.title),
        decision=verdict.decision,
        meaning=meaning(verdict),
        sentence=sentence(verdict.reason),
        next_step=sentence(verdict.next_step),
        compared=_compared(verdict),
        rule=RULES[verdict.rule],
        reference=figures.reference(verdict),
        outcome=_outcome(verdict),
        picture=figures.outcome(verdict),
        headline=_headline(verdict),
        gates=_gates(verdict),
        sections=tuple(_sections(verdict)),
        bundles=_bundles(verdict),
        holdout=_holdout(verdict),
        thresholds=_thresholds(verdict),
        overrides=_overrides(verdict),
        schema_version=str(verdict.schema_version),
    )


def of_gate(verdict: Verdict, name: str) -> GateResult | None:
    """A gate's result, or None where it was not run."""
    return next((one for one in verdict.gates if one.gate == name), None)


def _compared(verdict: Verdict) -> str:
    """Who was held against whom, on what: one line."""
    held = verdict.holdout
    other = f" {_called(verdict.production)}" if verdict.production else ""
    return (
        f"Candidate {_called(verdict.candidate)} against {figures.reference(verdict)}{other}, "
        f"on {number(held.rows)} rows held out, {plain(held.first)} to {plain(held.last)}."
    )


def _called(one: BundleRef) -> str:
    return f"{short(one.version)} ({plain(one.estimator)})"


def _outcome(verdict: Verdict) -> str:
    """The one difference that decided, with its interval and what was allowed; empty where none was found."""
    bench = of_gate(verdict, "benchmark")
    check = next((one for one in bench.checks if one.name == "loss"), None) if bench else None
    if bench is None or check is None or check.statistic is None:
        return ""
    confidence = bench.inputs.get("confidence")
    share = f"{100 * confidence:g} % interval " if isinstance(confidence, int | float) else ""
    allowed = "margin" if verdict.rule == "non-inferior" else "gain needed"
    parts = [number(check.statistic), f"{share}{interval(check.interval)}".strip()]
    threshold = f"; {allowed} {number(check.threshold)}" if check.threshold is not None else ""
    return f"{', '.join(part for part in parts if part)}{threshold}"


@dataclass(frozen=True)
class Pair:
    """One figure of the candidate and of what it is held against; None where it was not measured."""

    name: str
    candidate: float | None
    reference: float | None


def pairs(verdict: Verdict) -> tuple[Pair, ...]:
    """Every figure that the gates measured on both, in their order."""
    found: dict[str, dict[str, float | None]] = {}
    for check in (check for gate in verdict.gates for check in gate.checks):
        if (named := _PAIR.match(check.name)) is not None:
            whose = "candidate" if named["whose"] == "candidate" else "reference"
            found.setdefault(named["what"], {})[whose] = check.statistic
    measured = (Pair(plain(what), one.get("candidate"), one.get("reference")) for what, one in found.items())
    return (*measured, *_latency(verdict))


def _latency(verdict: Verdict) -> Iterator[Pair]:
    """The p95 of both servers, from the load gate's own table."""
    load = of_gate(verdict, "load")
    for table in load.tables if load else ():
        if {"server", "p95 ms"} <= set(table.columns):
            server, p95 = table.columns.index("server"), table.columns.index("p95 ms")
            by_name = {row[server]: _figure(row[p95]) for row in table.rows}
            yield Pair(LATENCY, by_name.get("candidate"), by_name.get("production"))


def _figure(cell: Cell) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None


def _headline(verdict: Verdict) -> Grid:
    rows = [(one.name, *column([one.candidate, one.reference])) for one in pairs(verdict)]
    other = "Baseline" if verdict.rule == "first release" else "Production"
    header = ("Held-out rows", "Candidate", other)
    return Grid("Headline figures", header, tuple(rows), (False, True, True))


def _gates(verdict: Verdict) -> Grid:
    rows = []
    for name in get_args(GateName):
        gate = of_gate(verdict, name)
        answer = _answer(gate) if gate else "not run"
        rows.append((GATES[name], answer, sentence(gate.reason) if gate else ""))
    return Grid("Gates", ("Gate", "Decision", "Why"), tuple(rows))


def _answer(gate: GateResult) -> str:
    return f"{gate.decision}, overridden" if gate.override else str(gate.decision)


def _sections(verdict: Verdict) -> Iterator[Section]:
    """The gate that decides about the model first, then the others; one that was not run says so."""
    for name in ("benchmark", "differential", "load", "data"):
        gate = of_gate(verdict, name)
        yield _section(gate, verdict) if gate else _not_run(name, verdict)


def _not_run(name: str, verdict: Verdict) -> Section:
    why = "This gate was not run."
    if name == "differential" and verdict.production is None:
        why = "This gate was not run: there is no production to differ from."
    return Section(name, GATES[name], QUESTIONS[name], None, why)


def _section(gate: GateResult, verdict: Verdict) -> Section:
    return Section(
        name=gate.gate,
        title=GATES[gate.gate],
        question=QUESTIONS[gate.gate],
        decision=gate.decision,
        reason=sentence(gate.reason),
        checks=tuple(map(_row, gate.checks)),
        pictures=figures.charts(gate, verdict),
        tables=tuple(map(grid, gate.tables)),
        absent=figures.absent(gate, verdict),
        override=_override(gate),
        seconds=f"{gate.seconds:.1f} s" if gate.seconds else "",
    )


def _row(check: Check) -> Row:
    return Row(
        name=plain(check.name),
        decision=check.decision,
        found=f"{number(check.statistic)} {interval(check.interval)}".strip() if check.statistic is not None else "",
        limit=number(check.threshold) if check.threshold is not None else "",
        reason=sentence(check.reason),
    )


def _override(gate: GateResult) -> str:
    if gate.override is None:
        return ""
    return f"Does not block until {gate.override.expires}: {sentence(gate.override.reason)}"


def grid(table: Table) -> Grid:
    """A table as text, with which of its columns hold figures."""
    columns = [column([row[place] for row in table.rows]) for place in range(len(table.columns))]
    numeric = tuple(
        any(isinstance(row[place], int | float) for row in table.rows)
        and not any(isinstance(row[place], str) for row in table.rows)
        for place in range(len(table.columns))
    )
    rows = tuple(zip(*columns, strict=True)) if table.rows else ()
    return Grid(sentence(table.name).rstrip("."), tuple(map(plain, table.columns)), rows, numeric)


def _bundles(verdict: Verdict) -> Grid:
    """What was compared, as two columns; the second says why where there is no production."""
    candidate = _facts(verdict.candidate)
    production = _facts(verdict.production) if verdict.production else {}
    names = list(dict.fromkeys([*candidate, *production]))
    rows = [(name, candidate.get(name, MISSING), production.get(name, MISSING)) for name in names]
    rows.append(("where from", "this run", sentence(verdict.production_note) or MISSING))
    return Grid("What was compared", ("", "Candidate", "Production"), tuple(rows))


def _facts(bundle: BundleRef) -> dict[str, str]:
    return {
        "version": plain(bundle.version),
        "model": plain(bundle.model),
        "estimator": plain(bundle.estimator),
        **{_RULE.get(name, plain(name).replace("_", " ")): setting(value) for name, value in bundle.rule.items()},
        "training rows": number(bundle.training_rows),
        "loss on its own holdout": number(bundle.loss),
    }


def _holdout(verdict: Verdict) -> Grid:
    held = verdict.holdout
    looks = {0: "no release on main was judged by them before", 1: "1 release on main was judged by them before"}
    rows = (
        ("rows", number(held.rows)),
        ("blocks, resampled whole", number(held.blocks)),
        ("from", plain(held.first)),
        ("to", plain(held.last)),
        ("looked at", looks.get(held.looks, f"{held.looks} releases on main were judged by them before")),
        ("hash", plain(held.id)),
        ("hash of all inputs", plain(verdict.key)),
    )
    return Grid("The rows that judged", ("", ""), rows)


def _thresholds(verdict: Verdict) -> Grid:
    rows = [
        (GATES[gate.gate], plain(name), setting(value))
        for gate in verdict.gates
        for name, value in leaves(gate.inputs)
        if setting(value) != MISSING
    ]
    return Grid("What each gate was given", ("Gate", "Setting", "Value"), tuple(rows))


def _overrides(verdict: Verdict) -> Grid:
    given: Sequence[GateResult] = [gate for gate in verdict.gates if gate.override is not None]
    rows = [
        (GATES[one.gate], plain(one.override.candidate), str(one.override.expires), sentence(one.override.reason))
        for one in given
        if one.override is not None
    ]
    return Grid("Overrides", ("Gate", "Candidate", "Until", "Reason"), tuple(rows))
