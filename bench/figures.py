"""A figure, the goal it is held against, and how a run of them is shown."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One promise: the median of `values` is at least, or at most, `goal`. Without a goal it is only shown."""

    name: str
    values: tuple[float, ...]
    unit: str
    goal: float | None = None
    sense: Literal[">=", "<="] = ">="

    @property
    def median(self) -> float:
        """What is held against the goal."""
        return median(self.values)

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        if self.goal is None:
            return True
        return self.median >= self.goal if self.sense == ">=" else self.median <= self.goal


def ratios(name: str, ours: Sequence[float], theirs: Sequence[float], goal: float | None = None) -> Figure:
    """Ours over theirs, round by round: what slows the machine down for a while slows both."""
    return Figure(name, tuple(our / their for our, their in zip(ours, theirs, strict=True)), "x", goal)


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table("figure", "goal", "median", "min .. max", "met")
    for one in figures:
        goal = "" if one.goal is None else f"{one.sense} {_number(one.goal)} {one.unit}"
        spread = f"{_number(min(one.values))} .. {_number(max(one.values))}"
        table.add_row(one.name, goal, f"{_number(one.median)} {one.unit}", spread, _verdict(one))
    Console().print(table)


def save(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON, with the number of cores; ratios travel between machines, absolute figures do not."""
    rows: list[dict[str, Any]] = [{**asdict(one), "median": one.median, "met": one.met} for one in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cores": os.cpu_count(), "figures": rows}, indent=2) + "\n")


def _verdict(one: Figure) -> str:
    if one.goal is None:
        return ""
    return "yes" if one.met else "[bold red]MISSED[/]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004
