"""Alerts that somebody can act on: each says how grave it is and links a runbook that is here, and each can fire."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.slo import PATH, read_slo
from pipeline.validate.renders import Document
from pipeline.validate.results import Result, grouped, several
from pipeline.validate.settings import RUNBOOKS

NAME = "alerts"
HEADINGS = ("What it means", "What to look at", "What to type")
SEVERITIES = ("critical", "warning")
# The fastest burn that an alert waits for; a share of requests cannot be over 1.
FASTEST = 14.4


def check(root: Path, documents: Sequence[Document]) -> Result:
    """Every alert of every PrometheusRule, and the objectives they are held to. Raises ConfigError."""
    found = [(one, alert) for one in documents for alert in _alerts(one.body)]
    failures = grouped((one.where, fault) for one, alert in found for fault in _faults(root, alert))
    return Result(NAME, several(len({str(alert) for _, alert in found}), "alert"), (*failures, *_unreachable(root)))


def _alerts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if body.get("kind") == "PrometheusRule":
        for group in (body.get("spec") or {}).get("groups") or ():
            yield from (rule for rule in group.get("rules") or () if "alert" in rule)


def _faults(root: Path, alert: Mapping[str, Any]) -> Iterator[str]:
    name, labels, annotations = alert["alert"], alert.get("labels") or {}, alert.get("annotations") or {}
    if labels.get("severity") not in SEVERITIES:
        yield f"alert {name}: severity is {labels.get('severity')!r}; Alertmanager routes {' and '.join(SEVERITIES)}"
    if not annotations.get("summary"):
        yield f"alert {name}: no summary; say in one line what is wrong and where"
    runbook = RUNBOOKS / Path(annotations.get("runbook_url", "")).name
    if not (root / runbook).is_file():
        yield f"alert {name}: runbook_url {annotations.get('runbook_url')!r} leads to no file of {RUNBOOKS}; write it"
    elif missing := [one for one in HEADINGS if f"\n## {one}\n" not in (root / runbook).read_text()]:
        yield f"alert {name}: {runbook} has no heading {', '.join(map(repr, missing))}"


def _unreachable(root: Path) -> Iterator[str]:
    """Objectives that no alert could ever find missed."""
    from serving.metrics import LATENCY_BOUNDS

    slo = read_slo(root)
    if slo.p95_seconds not in LATENCY_BOUNDS:
        below, above = ([one for one in LATENCY_BOUNDS if (one < slo.p95_seconds) is less] for less in (True, False))
        near = " or ".join(f"{one:g}" for one in (*below[-1:], *above[:1]))
        yield (
            f"{PATH}: p95_seconds {slo.p95_seconds:g} is no bound of the latency histogram, so that nobody can count "
            f"the requests over it; take {near}"
        )
    if slo.error_ratio * FASTEST >= 1:
        yield f"{PATH}: error_ratio {slo.error_ratio:g} burns {FASTEST} times as fast at no share; take less than 0.069"
