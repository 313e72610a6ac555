"""What the report calls the gates, their decisions and the rules they decide by."""

from pipeline.verdict import Decision

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
