"""What the gates share: making checks, drawing the conclusion from them, and writing figures for people."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import GateName
from pipeline.verdict import Check, Curve, Decision, GateResult, Table, worst

_TINY, _SMALL, _TENS, _LARGE = 0.00001, 0.0005, 10, 10_000


def judged(
    name: str, sound: bool, reason: str, *, statistic: float | None = None, threshold: float | None = None
) -> Check:
    """A check that passes or fails."""
    decision = Decision.PASS if sound else Decision.FAIL
    return Check(name=name, decision=decision, reason=reason, statistic=statistic, threshold=threshold)


def reported(name: str, reason: str, *, statistic: float | None = None, threshold: float | None = None) -> Check:
    """A figure for people: shown, never judged. A figure that is not finite is left out."""
    shown = statistic if statistic is not None and np.isfinite(statistic) else None
    return Check(name=name, decision=None, reason=reason, statistic=shown, threshold=threshold)


def conclude(
    gate: GateName,
    checks: Iterable[Check],
    passed: str,
    *,
    inputs: dict[str, Any] | None = None,
    tables: Iterable[Table] = (),
    curves: Iterable[Curve] = (),
) -> GateResult:
    """The gate's result: the worst of its checks' decisions, with the reasons of those checks, or `passed`."""
    found = tuple(checks)
    decision = worst(check.decision for check in found if check.decision is not None)
    reasons = [check.reason for check in found if check.decision is decision]
    reason = passed if decision is Decision.PASS else "; ".join(reasons) or "nothing was judged"
    return GateResult(
        gate=gate,
        decision=decision,
        reason=reason,
        checks=found,
        inputs=inputs or {},
        tables=tuple(tables),
        curves=tuple(curves),
    )


def plain(value: float) -> str:
    """Four decimals below one and four digits above, without the leading zero: .4821, 12.31."""
    size = abs(value)
    if 0 < size < _TINY:
        return f"{value:.1e}"
    text = (
        f"{value:.{5 if size < _SMALL else 4}f}" if size < 1 else f"{value:,.4g}" if size < _LARGE else f"{value:,.0f}"
    )
    return text.replace("0.", ".", 1) if size < 1 else text


def signed(value: float) -> str:
    """`plain` with its sign: +.0047, -.0125."""
    return plain(value) if value < 0 else f"+{plain(value)}"


def percent(share: float) -> str:
    """A share as a percentage with as many decimals as it needs: 12 %, 2.3 %, .04 %."""
    value = 100 * share
    digits = 0 if value == 0 or value >= _TENS else 1 if value >= 1 else 2
    text = f"{value:.{digits}f}"
    return f"{text.replace('0.', '.', 1) if text.startswith('0.') else text} %"


def named(items: Iterable[Any], most: int = 5) -> str:
    """The first few items, and how many more there are."""
    every = [str(item) for item in items]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def row_key(row: "pd.Series[Any]", key: Iterable[str]) -> str:
    """A row by its key, for people: date 2013-03-04, flight 15."""
    return ", ".join(f"{name} {row[name]}" for name in key)


def bare(value: Any) -> str | float | int | None:
    """A cell as a document can hold it: numpy's numbers become Python's, NaN becomes None, the rest becomes text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if isinstance(value, (str, float, int)) else str(value)
