"""What main knows of a pull request and what its run handed over, made on the spot."""

import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.config import GateName
from pipeline.review.models import Evidence, Figure, Output, Provenance, Setting
from pipeline.review.report import Known
from pipeline.verdict import Check, Decision, GateResult, Verdict
from tests import verdicts

HEAD, BASE = "a1" * 20, "b2" * 20
END = Setting(name="data.end", base="2013-03-31", head="2013-05-31")
HASH = "{:064x}".format


def verdict(**changes: Any) -> Verdict:
    """A candidate that passes every gate."""
    return verdicts.verdict(**changes)


def first_release() -> Verdict:
    """Nothing is in production; the differential says so, as the gate does."""
    given = verdicts.first_release()
    only = Check(name="against production", decision=None, reason="no production yet")
    parity = next(one for one in verdicts.differential().checks if one.name == "parity")
    gate = GateResult(gate="differential", decision=Decision.PASS, reason=parity.reason, checks=(parity, only))
    return given.model_copy(update={"gates": (*given.gates[:2], gate, given.gates[2])})


def blocked(name: GateName, decision: Decision, reason: str) -> Verdict:
    """One gate says no."""
    given = verdict()
    gates = tuple(_saying(one, decision, reason) if one.gate == name else one for one in given.gates)
    return verdict(gates=gates, decision=decision, reason=f"{name}: {reason}")


def _saying(gate: GateResult, decision: Decision, reason: str) -> GateResult:
    judged = Check(name="judged", decision=decision, reason=reason)
    return gate.model_copy(update={"decision": decision, "reason": reason, "checks": (judged, *gate.checks)})


def harmed() -> Verdict:
    """One slice is harmed."""
    bench = verdicts.benchmark()
    rows = [list(row) for row in bench.tables[0].rows]
    rows[3][6:] = [0.1, 0.05, 0.15, 0.001, "fail"]
    reason = "harm beyond .0153 in 1 of 19 slices: carrier DL +.1000 [.0500, .1500]"
    checks = tuple(
        one.model_copy(update={"decision": Decision.FAIL, "reason": reason}) if one.name == "slices" else one
        for one in bench.checks
    )
    table = bench.tables[0].model_copy(update={"rows": tuple(map(tuple, rows))})
    changed = bench.model_copy(
        update={"decision": Decision.FAIL, "reason": reason, "checks": checks, "tables": (table,)}
    )
    gates = (verdicts.data(), changed, verdicts.differential(), verdicts.load())
    return verdict(gates=gates, decision=Decision.FAIL, reason=f"benchmark: {reason}")


def evidence(of: Verdict | None = None, **changes: Any) -> Evidence:
    """What the run of HEAD says of a verdict."""
    fields: dict[str, Any] = {
        "head": HEAD,
        "base": BASE,
        "machine": False,
        "model": True,
        "outcome": "judged",
        "metrics": (Figure(name="loss", base=0.489, head=0.4587),),
        "params": (END,),
        "data": (Output(path="build/rows", base="1" * 32, head="2" * 32, base_bytes=10, head_bytes=20),),
        "provenance": provenance(of) if of else None,
    }
    return Evidence(**{**fields, **changes})


def provenance(of: Verdict) -> Provenance:
    production = of.production.version if of.production else None
    hashes = {name: HASH(at) for at, name in enumerate(("data", "code", "parameters", "requirements"))}
    return Provenance(version=of.candidate.version, production=production, **hashes)


def known(of: Verdict | None = None, **changes: Any) -> Known:
    """What main knows where the run tells the truth."""
    fields: dict[str, Any] = {
        "head": HEAD,
        "base": BASE,
        "fork": "",
        "files": ("dvc.lock", "params.yaml"),
        "params": (END,),
        "overrides": (),
        "model": True,
        "production": of.production.version if of and of.production else None,
        "first": "staging",
        "today": datetime.date(2013, 6, 1),
    }
    return Known(**{**fields, **changes})


def hand_over(folder: Path, said: Evidence, judged: Verdict | None = None, plots: Iterable[str] = ()) -> Path:
    """The artifact as a forge unpacks it."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (folder / "evidence.json").write_text(said.model_dump_json())
    if judged is not None:
        (folder / "verdict.json").write_text(judged.model_dump_json())
    for name in plots:
        Image.new("RGB", (40, 20), "white").save(folder / "plots" / f"{name}.png")
    return folder


def edit(path: Path, **fields: object) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
