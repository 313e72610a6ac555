"""The folded parts of the comment: each a summary that says the answer, then words, pictures and tables.

Every figure is one that the gates wrote down; here they are put in order and cut to a length that a comment bears.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.report.document import LATENCY, Document, Grid, Pair, Row, Section, pairs
from pipeline.report.figures import Chart, Forest, sentence
from pipeline.report.words import MARKS, short
from pipeline.review.models import Evidence, Figure, Output, Setting
from pipeline.text import MISSING, Cell, clipped, column, interval, number, plain
from pipeline.verdict import Check, Decision, GateResult, Table, Verdict

MOST_ROWS, MOST_CELL, MOST_LINE = 40, 200, 400
_SLICES = {"fail": MARKS[Decision.FAIL], "pass": MARKS[Decision.PASS]}
_POWER = ("half-width", "smallest detectable difference")


@dataclass(frozen=True)
class Part:
    """One folded part. `lines` are (label, text); `pictures` are names of those that the verdict draws."""

    title: str
    answer: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Chart | Forest, ...] = ()
    tables: tuple[Grid, ...] = ()


def of_verdict(verdict: Verdict, document: Document) -> Iterator[Part]:
    """What the gates found, the benchmark first."""
    sections = {one.name: one for one in document.sections}
    gates = {one.gate: one for one in verdict.gates}
    yield _metrics(verdict, document, sections["benchmark"])
    yield from _slices(gates.get("benchmark"), sections["benchmark"])
    yield _flips(sections["differential"], gates.get("differential"))
    yield _load(sections["load"], gates.get("load"))
    yield from _curves(sections["benchmark"])
    yield _data(sections["data"])


def differences(verdict: Verdict) -> Grid:
    """Every figure on both sides with its difference."""
    other = "Baseline" if verdict.rule == "first release" else "Production"
    rows = tuple(map(difference, pairs(verdict)))
    return Grid("On the rows held out", ("Figure", "Candidate", other, "Difference"), rows, (False, True, True, True))


def difference(one: Pair) -> tuple[str, str, str, str]:
    """One row of `differences`."""
    if one.candidate is None or one.reference is None:
        candidate, reference = column([one.candidate, one.reference])
        return one.name, candidate, reference, MISSING
    apart = one.candidate - one.reference
    candidate, reference, shown = column([one.candidate, one.reference, apart])
    return one.name, candidate, reference, _signed(shown, apart)


def headline(verdict: Verdict) -> Grid:
    """Three figures, narrow enough for a phone: the loss, the first figure of merit, the latency."""
    found = pairs(verdict)
    first = [one for one in found if one.name != LATENCY][:2]
    chosen = (*first, *(one for one in found if one.name == LATENCY))
    other = "Baseline" if verdict.rule == "first release" else "Production"
    return Grid("", ("", other, "Candidate"), tuple(map(_narrow, chosen)), (False, True, True))


def _narrow(one: Pair) -> tuple[str, str, str]:
    name, candidate, reference, apart = difference(one)
    return name, reference, candidate if apart == MISSING else f"{candidate} ({apart})"


def _metrics(verdict: Verdict, document: Document, bench: Section) -> Part:
    gate = next((one for one in verdict.gates if one.gate == "benchmark"), None)
    power = [check.reason for check in (gate.checks if gate else ()) if check.name in _POWER or "needed" in check.name]
    lines = [
        ("Loss, candidate minus " + document.reference, f"{document.outcome}." if document.outcome else ""),
        ("Rule", document.rule),
        ("Power", " ".join(map(sentence, power))),
        ("Compared", document.compared),
    ]
    outcome = (document.picture,) if document.picture else ()
    return Part(
        "Metrics, intervals and power",
        _outcome(gate),
        _told(lines),
        (*outcome, *_named(bench, "half-width")),
        (fitting(differences(verdict)), *_checks(bench.judged)),
    )


def _outcome(gate: GateResult | None) -> str:
    check = _check(gate, "loss")
    if check is None or check.statistic is None:
        return sentence(gate.reason) if gate else "not run"
    return f"loss {_signed(number(check.statistic), check.statistic)} {interval(check.interval)}".strip()


def _slices(gate: GateResult | None, bench: Section) -> Iterator[Part]:
    table = next((one for one in gate.tables if one.name == "slices"), None) if gate else None
    check = _check(gate, "slices")
    if table is None:
        return
    answer = f"{MARKS[check.decision]} {check.reason}" if check else ""
    yield Part("Slices", answer, (), _named(bench, "slices"), (fitting(worst_first(table)),))


def worst_first(table: Table) -> Grid:
    """The slices that were harmed, then the others by how much worse they are, those too small to judge last."""
    rows = sorted((dict(zip(table.columns, row, strict=True)) for row in table.rows), key=_rank)
    names = [f"{_SLICES.get(str(row.get('decision')), MARKS[None])} {_group(row)}" for row in rows]
    apart, size = (column([row.get(name) for row in rows]) for name in ("difference", "rows"))
    bounds = [_bounds(row.get("low"), row.get("high")) for row in rows]
    header = ("Slice", "Difference", "Interval", "Rows")
    return Grid("Worst first", header, tuple(zip(names, apart, bounds, size, strict=True)), (False, True, True, True))


def _rank(row: Mapping[str, Cell]) -> tuple[int, float]:
    value = row.get("difference")
    worse = float(value) if isinstance(value, int | float) else 0.0
    return list(_SLICES).index(str(row.get("decision"))) if str(row.get("decision")) in _SLICES else len(
        _SLICES
    ), -worse


def _group(row: Mapping[str, Cell]) -> str:
    return " ".join(plain(row[name]) for name in ("dimension", "group") if name in row)


def _bounds(low: Cell, high: Cell) -> str:
    both = (low, high)
    figures = [float(one) for one in both if isinstance(one, int | float)]
    return interval((figures[0], figures[1])) if len(figures) == len(both) else MISSING


def _flips(section: Section, gate: GateResult | None) -> Part:
    check = _check(gate, "flips")
    return Part(
        "Decisions that flip",
        f"{_mark(section)} {check.reason if check else section.reason}",
        _told([("Question", section.question), ("Note", section.absent)]),
        section.pictures,
        (*_checks(section.checks), *map(fitting, section.tables)),
    )


def _load(section: Section, gate: GateResult | None) -> Part:
    reasons = [check.reason for name in ("p95", "slower") if (check := _check(gate, name)) is not None]
    return Part(
        "Latency and load",
        f"{_mark(section)} {'; '.join(reasons) or section.reason}",
        _told([("Note", section.absent)]),
        section.pictures,
        (*_checks(section.checks), *map(fitting, section.tables)),
    )


def _curves(bench: Section) -> Iterator[Part]:
    shown = tuple(one for one in bench.pictures if "half-width" not in one.name and "slices" not in one.name)
    if shown or bench.absent:
        yield Part("Curves", f"{len(shown)} pictures", _told([("Note", bench.absent)]), shown)


def _data(section: Section) -> Part:
    tables = (*_checks(section.checks), *map(fitting, section.tables))
    return Part("Is the data sound?", f"{_mark(section)} {section.reason}", (), (), tables)


def changes(files: Sequence[str], params: Sequence[Setting]) -> Part:
    """What the branch changes, as git says."""
    many = len(files)
    rows = tuple((one.name, one.base or MISSING, one.head or MISSING) for one in params)
    tables = [fitting(Grid("Parameters", ("Setting", "Base", "This branch"), rows))] if rows else []
    tables += [fitting(Grid("Files", ("File",), tuple((name,) for name in files)))] if files else []
    parameters = f"{len(rows)} parameter{'s' * (len(rows) != 1)}" if rows else "no parameter"
    return Part("Parameters and files changed", f"{parameters}, {many} file{'s' * (many != 1)}", (), (), tuple(tables))


def data(evidence: Evidence) -> Part:
    """What DVC calls the outputs on both sides, and their figures, each on its own held-out rows."""
    changed = [one for one in evidence.data if one.base != one.head]
    rows = tuple(_output(one) for one in evidence.data)
    figures = tuple(_figure(one) for one in evidence.metrics)
    tables = (
        [fitting(Grid("Outputs by hash, from dvc.lock", ("Output", "Base", "This branch", "Size"), rows))]
        if rows
        else []
    )
    if figures:
        header = ("metrics.json, each on the rows it held out itself", "Base", "This branch", "Difference")
        tables.append(fitting(Grid("Figures of the two commits", header, figures, (False, True, True, True))))
    answer = f"{len(changed)} of {len(rows)} outputs changed" if rows else "no dvc.lock to compare"
    notes = tuple(("Note", sentence(one)) for one in evidence.notes)
    return Part("Data and outputs", answer, notes, (), tuple(tables))


def _output(one: Output) -> tuple[str, str, str, str]:
    sizes = [f"{size:,}" if size is not None else MISSING for size in (one.base_bytes, one.head_bytes)]
    size = sizes[1] if sizes[0] == sizes[1] else " → ".join(sizes)
    now = "the same" if one.base == one.head else (one.head or MISSING)[:12]
    return one.path, (one.base or MISSING)[:12], now, f"{size} bytes"


def _figure(one: Figure) -> tuple[str, str, str, str]:
    name, head, base, apart = difference(Pair(one.name, one.head, one.base))
    return name, base, head, apart


def provenance(evidence: Evidence, document: Document | None) -> Part:
    """Commits, bundles and hashes of what was judged."""
    made = evidence.provenance
    rows = [("head", evidence.head), ("base", evidence.base)]
    if made is not None:
        rows += [("bundle", made.version), ("compared with", made.production or "no production")]
        rows += [(f"hash of {name}", getattr(made, name)) for name in ("data", "code", "parameters", "requirements")]
    tables = [Grid("This run", ("", ""), tuple(rows))]
    tables += [fitting(one) for one in (document.bundles, document.holdout, document.thresholds)] if document else []
    return Part(
        "Provenance",
        f"commit {evidence.head[:12]}" + (f", bundle {short(made.version)}" if made else ""),
        (),
        (),
        tuple(tables),
    )


def fitting(grid: Grid) -> Grid:
    """A table that a comment bears: so many rows, so long a cell; the title says what is left out."""
    left = len(grid.rows) - MOST_ROWS
    title = f"{grid.title} ({left:,} more rows are left out)" if left > 0 else grid.title
    rows = tuple(tuple(clipped(cell, MOST_CELL) for cell in row) for row in grid.rows[:MOST_ROWS])
    return replace(
        grid, title=clipped(title, MOST_LINE), header=tuple(clipped(one, MOST_CELL) for one in grid.header), rows=rows
    )


def _checks(rows: Sequence[Row]) -> tuple[Grid, ...]:
    """The judged checks first; reasons hold the figures, and two columns fit a phone."""
    judged_first = sorted(rows, key=lambda one: one.decision is None)
    shown = tuple((f"{MARKS[one.decision]} {one.name}", one.reason) for one in judged_first)
    return (fitting(Grid("Checks", ("Check", "Why"), shown)),) if rows else ()


def _named(section: Section, word: str) -> tuple[Chart | Forest, ...]:
    return tuple(one for one in section.pictures if word in one.name)


def _told(lines: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((label, clipped(text, MOST_LINE)) for label, text in lines if text)


def _mark(section: Section) -> str:
    return MARKS[section.decision]


def _check(gate: GateResult | None, name: str) -> Check | None:
    return next((one for one in gate.checks if one.name == name), None) if gate else None


def _signed(shown: str, value: float) -> str:
    return f"+{shown}" if value > 0 else shown
