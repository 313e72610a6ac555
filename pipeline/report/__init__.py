"""The verdict for people: a line, a table for the terminal, Markdown for a pull request, and one page to show.

Everything is written from the verdict alone, and the same verdict always gives the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.report.words import GATES, short
from pipeline.text import plain
from pipeline.verdict import Decision, Verdict

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {Decision.PASS: "bold green", Decision.FAIL: "bold red", Decision.INCONCLUSIVE: "bold yellow"}


@dataclass(frozen=True)
class Report:
    """Where the report was written; `plots` in the order they are shown."""

    markdown: Path
    page: Path
    plots: tuple[Path, ...]


def render(verdict: Verdict, out: Path) -> Report:
    """Write `plots/*.svg`, `report.md` and last `report.html` under `out`, each whole or not at all.

    The page of an earlier run goes first: where there is a page, all of the report is there and of one verdict.
    """
    from pipeline.report import markdown, page, plots
    from pipeline.report.document import document

    (out / "report.html").unlink(missing_ok=True)
    arranged = document(verdict)
    drawn = {one.name: plots.svg(one) for one in arranged.pictures}
    folder = out / "plots"
    _clear(folder)
    paths = tuple(_written(folder / f"{name}.svg", text) for name, text in drawn.items())
    return Report(
        markdown=_written(out / "report.md", markdown.text(arranged)),
        page=_written(out / "report.html", page.text(arranged, drawn)),
        plots=paths,
    )


def headline(verdict: Verdict) -> str:
    """The one line that the gate prints: decision, candidate, why, what to do."""
    return (
        f"{verdict.decision.upper()}  candidate {short(verdict.candidate.version)}: {plain(verdict.reason)}; "
        f"next: {plain(verdict.next_step)}"
    )


def terminal(verdict: Verdict) -> "Table":
    """The gates as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table("gate", "decision", "why", box=None, pad_edge=False, header_style="dim")
    for gate in verdict.gates:
        answer = f"{gate.decision}, overridden" if gate.override else str(gate.decision)
        table.add_row(GATES[gate.gate].lower(), Text(answer, _STYLES[gate.decision]), Text(plain(gate.reason)))
    return table


def _clear(folder: Path) -> None:
    """Remove the pictures of an earlier run, which may have had others; whatever is not named as ours stays."""
    for name in GATES:
        for old in folder.glob(f"{name}-*.svg"):
            old.unlink()


def _written(path: Path, text: str) -> Path:
    from pipeline.frames import write_text

    write_text(path, text)
    return path
