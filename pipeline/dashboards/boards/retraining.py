"""Why a retraining starts, and why not."""

from pipeline.dashboards.model import Board, Panel, Query, Row
from pipeline.dashboards.queries import ENV, came_true, versions

RETRAINING = Board(
    "retraining",
    "Retraining",
    "Why a retraining starts, and why not.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Decay",
                    "1: what happens is no longer what the model says. It alone starts retraining.",
                    (Query(f"max(flightline_decay_alarm{{{ENV}}})"),),
                    kind="number",
                    source="monitoring",
                    span=6,
                ),
                Panel(
                    "Broken feed",
                    "1: rows are broken. Nothing is learnt from them.",
                    (Query(f"max(flightline_feed_alarm{{{ENV}}})"),),
                    kind="number",
                    source="monitoring",
                    span=6,
                ),
                Panel(
                    "Last look",
                    "Since the day of the newest observation.",
                    (Query(f"time() - max(flightline_observation_timestamp_seconds{{{ENV}}})"),),
                    unit="age",
                    kind="number",
                    source="monitoring",
                    span=6,
                ),
                Panel(
                    "New labels",
                    "Labelled rows after the data of the model ended; a retraining needs some.",
                    (Query(f"max(flightline_labelled_rows{{{ENV}}})"),),
                    kind="number",
                    source="monitoring",
                    span=6,
                ),
            ),
        ),
        Row(
            "Since when",
            (
                Panel(
                    "Alarms of monitoring",
                    "Decay starts retraining, a broken feed forbids it; without labels enough nothing is told.",
                    (
                        Query(f"max by (env) (flightline_decay_alarm{{{ENV}}})", "decay {{env}}"),
                        Query(f"max by (env) (flightline_feed_alarm{{{ENV}}})", "feed {{env}}"),
                        Query(f"max by (env) (flightline_decay_known{{{ENV}}})", "labels enough {{env}}"),
                    ),
                    kind="steps",
                    source="monitoring",
                ),
                Panel(
                    "Observed against expected",
                    "The reading that most often tells decay: ratio, or for a regression mean outcome less score.",
                    came_true(),
                    unit="ratio",
                    source="monitoring",
                ),
                Panel(
                    "Attempts",
                    "What came of each retraining; `flightline retraining attempts` has the reasons.",
                    (Query(f"max by (outcome) (flightline_retraining_attempts{{{ENV}}})", "{{outcome}}"),),
                    kind="steps",
                    source="monitoring",
                ),
                Panel(
                    "Failures in a row",
                    "At `retrain.max_failures` nothing more is tried until a person has looked; an issue says why.",
                    (Query(f"max(flightline_retraining_failures_in_a_row{{{ENV}}})", "failures"),),
                    kind="steps",
                    source="monitoring",
                ),
                Panel(
                    "Servers by version",
                    "A retraining that gained enough ends here, by way of a pull request and a rollout.",
                    (versions(),),
                    kind="steps",
                ),
                Panel(
                    "Alerts",
                    "What fires now, of the rules in git.",
                    (
                        Query(
                            'count by (alertname) (ALERTS{alertname=~"Flightline.*",alertstate="firing"}) or vector(0)',
                            "{{alertname}}",
                        ),
                    ),
                    kind="steps",
                    source="rules",
                ),
            ),
        ),
    ),
)
