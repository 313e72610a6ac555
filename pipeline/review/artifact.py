"""The artifact of a run, read as what it is: files that anybody may have written."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.config import faults
from pipeline.review import png
from pipeline.review.models import EVIDENCE, MOST_PLOTS, PICTURE, PLOTS, VERDICT, Evidence
from pipeline.text import plain
from pipeline.verdict import Decision, GateResult, Verdict, worst

MOST_BYTES = {EVIDENCE: 256_000, VERDICT: 2_000_000}
MOST_CHECKS, MOST_TABLES, MOST_CURVES, MOST_ROWS, MOST_TEXT = 100, 10, 40, 400, 1000
_PLOT = re.compile(rf"{PLOTS}/({PICTURE})\.png")
_Kind = TypeVar("_Kind", bound=BaseModel)


class ArtifactError(ValueError):
    """The artifact is not what a run writes. Names the file, the field and what to do."""


@dataclass(frozen=True)
class Artifact:
    """What a run says, each part checked for its form and none for its truth; `plots` are PNGs by name."""

    evidence: Evidence
    verdict: Verdict | None = None
    plots: Mapping[str, bytes] = field(default_factory=dict)


def read(folder: Path) -> Artifact:
    """Read an artifact that was downloaded to a folder. Raises ArtifactError."""
    found = dict(_files(folder))
    if EVIDENCE not in found:
        raise ArtifactError(f"{EVIDENCE} is missing: the run ended before `flightline evidence` wrote it")
    evidence = _document(Evidence, found[EVIDENCE], EVIDENCE)
    verdict = _document(Verdict, found[VERDICT], VERDICT) if VERDICT in found else None
    if (verdict is None) == (evidence.outcome == "judged"):
        raise ArtifactError(
            f"{EVIDENCE}: outcome {evidence.outcome!r} {'without' if verdict is None else 'beside'} a {VERDICT}"
        )
    if verdict is not None:
        check_verdict(verdict)
    return Artifact(evidence, verdict, {name: _plot(path) for name, path in _plots(found)})


def check_verdict(verdict: Verdict) -> None:
    """Raise ArtifactError unless the verdict says once what its gates say, in a bearable length."""
    for gate in verdict.gates:
        _check_size(gate)
    names = [gate.gate for gate in verdict.gates]
    if len(set(names)) < len(names):
        raise ArtifactError(f"{VERDICT}: gates: one is there twice")
    concluded = conclusion(verdict.gates)
    if verdict.decision is not concluded:
        raise ArtifactError(
            f"{VERDICT}: decision: {verdict.decision.value!r}, but its gates make it {concluded.value!r}"
        )


def conclusion(gates: tuple[GateResult, ...]) -> Decision:
    """What the gates make of it: the worst of them, an overridden one apart; inconclusive where one did not run."""
    counted = [Decision.PASS if gate.override else worst([gate.decision, *_judged(gate)]) for gate in gates]
    missing = {"data", "benchmark", "differential", "load"} - {gate.gate for gate in gates}
    return worst([*counted, Decision.INCONCLUSIVE] if missing else counted)


def _judged(gate: GateResult) -> Iterator[Decision]:
    """A gate is as good as the worst of its judged checks, whatever it says itself."""
    return (check.decision for check in gate.checks if check.decision is not None)


def _check_size(gate: GateResult) -> None:
    where = f"{VERDICT}: gate {gate.gate}"
    counts = {
        "checks": (len(gate.checks), MOST_CHECKS),
        "tables": (len(gate.tables), MOST_TABLES),
        "curves": (len(gate.curves), MOST_CURVES),
        "rows": (max((len(table.rows) for table in gate.tables), default=0), MOST_ROWS),
        "characters of a reason": (max(len(one) for one in (gate.reason, *(c.reason for c in gate.checks))), MOST_TEXT),
    }
    for what, (count, most) in counts.items():
        if count > most:
            raise ArtifactError(f"{where}: {count:,} {what}, at most {most:,} are taken")
    for table in gate.tables:
        if any(len(row) != len(table.columns) for row in table.rows):
            raise ArtifactError(f"{where}: table {plain(table.name)[:40]!r} has a row of another length than its head")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Regular files of expected names; links are not followed. Raises ArtifactError."""
    if not folder.is_dir() or folder.is_symlink():
        raise ArtifactError("there is no artifact: the run ended before it handed one over")
    for place, folders, names in os.walk(folder, onerror=_refuse):
        for name in (*folders, *names):
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and relative == PLOTS:
                continue
            if not stat.S_ISREG(mode) or not (relative in MOST_BYTES or _PLOT.fullmatch(relative)):
                raise ArtifactError(f"{plain(relative)[:80]!r} is no file that `flightline evidence` writes")
            yield relative, path


def _refuse(error: OSError) -> None:
    raise ArtifactError(f"the artifact cannot be read: {error.strerror}")


def _document(kind: type[_Kind], path: Path, name: str) -> _Kind:
    size, most = path.stat().st_size, MOST_BYTES[name]
    if size > most:
        raise ArtifactError(f"{name} has {size:,} bytes, at most {most:,} are taken")
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtifactError(f"{name}: {plain(faults(error))[:300]}") from error


def _plots(found: Mapping[str, Path]) -> list[tuple[str, Path]]:
    plots = [(named[1], path) for name, path in sorted(found.items()) if (named := _PLOT.fullmatch(name))]
    if len(plots) > MOST_PLOTS:
        raise ArtifactError(f"{PLOTS} has {len(plots)} pictures, at most {MOST_PLOTS} are taken")
    return plots


def _plot(path: Path) -> bytes:
    if path.stat().st_size > png.MOST_BYTES:
        raise ArtifactError(f"{PLOTS}/{path.name}: at most {png.MOST_BYTES:,} bytes are taken")
    try:
        return png.rewritten(path.read_bytes())
    except png.PictureError as error:
        raise ArtifactError(f"{PLOTS}/{path.name}: {error}") from error
