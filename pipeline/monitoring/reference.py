"""What a bundle says of the rows it was made from: `reference.json` and the constant baseline, typed.

A bundle made before `blocks` were written has none: everything but decay can be said of it. One made before nulls and
days of categories were written does not know them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from model.contract import Floats
from pipeline.stages.blocks import SUMS
from serving.bundle import BundleError

ROWS, OBSERVED, EXPECTED, WITH_LOSS, LOSS, BASELINE_LOSS = range(len(SUMS))


@dataclass(frozen=True)
class Numbers:
    """Counts between `edges`: (edges,) and (edges - 1,)."""

    edges: Floats
    counts: Floats
    nulls: int = 0


@dataclass(frozen=True)
class Categories:
    """Counts by category. `on_days` has for each the share of rows that lie on days on which it came.

    Either of the others is None where the bundle does not say it.
    """

    counts: Mapping[str, int]
    nulls: int | None = None
    on_days: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Blocks:
    """Sums over the rows of each held-out block, (blocks, sums), its columns as in `SUMS`.

    `unit` is `DAY`, or the column that names the blocks; `until` the last day of the bundle's own data, None without
    time.
    """

    unit: str
    until: date | None
    sums: Floats


@dataclass(frozen=True)
class Reference:
    """What later rows are compared with. `blocks` is None where the bundle has none; `reason` then says why."""

    version: str
    rows: int
    features: Mapping[str, Numbers | Categories]
    score: Numbers
    relations: Mapping[str, float]
    baseline: float
    blocks: Blocks | None
    reason: str = ""


def read_reference(bundle: Path, version: str) -> Reference:
    """Of a bundle whose files were checked. Raises BundleError naming what is missing."""
    document = json.loads((bundle / "reference.json").read_text())
    metrics = json.loads((bundle / "metrics.json").read_text())
    try:
        blocks, reason = _blocks(document.get("blocks"))
        return Reference(
            version=version,
            rows=int(document["rows"]["train"]),
            features={name: _distribution(one) for name, one in document["features"].items()},
            score=_numbers(document["score"]),
            relations=document["relations"],
            baseline=float(metrics["baseline"]["score"]),
            blocks=blocks,
            reason=reason,
        )
    except KeyError as error:
        raise BundleError(f"{bundle}: reference.json or metrics.json has no {error}; rebuild the bundle") from error


def _blocks(document: Mapping[str, Any] | None) -> tuple[Blocks | None, str]:
    if document is None:
        return None, "the bundle was made before held-out days were kept in it; release one made by this version"
    if "reason" in document:
        return None, str(document["reason"])
    until = document["until"]
    sums = np.array([document["sums"][name] for name in SUMS], np.float64).T
    return Blocks(document["unit"], date.fromisoformat(until) if until else None, sums), ""


def _distribution(document: Mapping[str, Any]) -> Numbers | Categories:
    if document["type"] == "category":
        return Categories(document["counts"], document.get("nulls"), document.get("on_days"))
    return _numbers(document)


def _numbers(document: Mapping[str, Any]) -> Numbers:
    edges = np.asarray(document["edges"], np.float64)
    return Numbers(edges, np.asarray(document["counts"], np.float64), int(document.get("nulls", 0)))
