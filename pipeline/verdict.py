"""The verdict: what every gate was given, what it found, what it decided and why. A versioned, typed document.

The report, the page, the comment on a pull request and the commit message are rendered from it and compute nothing.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal

from pipeline.config import Frozen, GateName, Override


class Decision(StrEnum):
    """A gate's answer. Inconclusive is an answer, and never passes silently."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """What `flightline gate` exits with: 0 pass, 1 fail, 2 inconclusive."""
        return list(Decision).index(self)


Rule = Literal["first release", "non-inferior", "gain"]


class Check(Frozen):
    """One thing a gate looked at: the statistic, what it was held against, and the reason in a sentence.

    `decision` None means reported, not judged.
    """

    name: str
    decision: Decision | None
    reason: str
    statistic: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None


class Curve(Frozen):
    """Points of a plot: `x` and `y` of equal length, with an optional band around `y`."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    weight: tuple[float, ...] = ()


class Table(Frozen):
    """A small table for people: a row per item, cells already of the type they are shown as."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]


class GateResult(Frozen):
    """One gate's part of the verdict. `inputs` are the thresholds and figures it was given."""

    gate: GateName
    decision: Decision
    reason: str
    checks: tuple[Check, ...]
    inputs: dict[str, Any] = {}
    tables: tuple[Table, ...] = ()
    curves: tuple[Curve, ...] = ()
    seconds: float = 0.0
    override: Override | None = None

    @property
    def blocks(self) -> bool:
        """Whether this gate keeps the candidate out."""
        return self.decision is not Decision.PASS and self.override is None


class BundleRef(Frozen):
    """A bundle as the verdict names it: version, what it was trained on and how it did on its own holdout."""

    version: str
    model: str
    estimator: str
    rule: dict[str, str | float]
    training_rows: int
    loss: float


class Holdout(Frozen):
    """The rows that judged: their hash, extent, and how many releases on main were judged by the very same rows."""

    id: str
    rows: int
    blocks: int
    first: str
    last: str
    looks: int


class Verdict(Frozen):
    """Everything that was decided about one candidate. `key` hashes all inputs, so that an unchanged run is known."""

    schema_version: Literal[1] = 1
    key: str
    candidate: BundleRef
    production: BundleRef | None
    production_note: str
    task: str
    title: str
    rule: Rule
    holdout: Holdout
    decision: Decision
    reason: str
    next_step: str
    gates: tuple[GateResult, ...]


def worst(decisions: Iterable[Decision]) -> Decision:
    """Fail beats inconclusive beats pass; no decision at all is inconclusive."""
    given = set(decisions)
    for decision in (Decision.FAIL, Decision.INCONCLUSIVE, Decision.PASS):
        if decision in given:
            return decision
    return Decision.INCONCLUSIVE
