"""What the report calls the gates, their decisions and the rules they decide by."""

from pipeline.text import plain
from pipeline.verdict import Decision, Verdict

GATES = {
    "data": "Data",
    "benchmark": "Benchmark",
    "differential": "Differential",
    "load": "Load",
}
QUESTIONS = {
    "data": "Is the data sound enough to judge by?",
    "benchmark": "Is the candidate at least as good as what it would replace, for everyone?",
    "differential": "What would change for the people and programs that use it?",
    "load": "Does it answer fast enough, and no slower than before?",
}
MARKS = {Decision.PASS: "✅", Decision.FAIL: "❌", Decision.INCONCLUSIVE: "⚠️", None: "·"}
RULES = {
    "first release": "First release: there is nothing in production, so it has to beat the constant baseline.",
    "non-inferior": "Not worse than production by more than the margin.",
    "gain": "Better than production by at least the margin, as a retraining has to be.",
}
MEANINGS = {
    Decision.PASS: "fit to replace production",
    Decision.FAIL: "not fit to replace production",
    Decision.INCONCLUSIVE: "cannot tell yet",
}
SHORT = 12


def short(version: str) -> str:
    """The first characters of a hash, enough to tell bundles apart."""
    return plain(version)[:SHORT]


def meaning(verdict: Verdict) -> str:
    """The decision as a phrase."""
    said = MEANINGS[verdict.decision]
    return said.replace("to replace production", "for a first release") if verdict.rule == "first release" else said
