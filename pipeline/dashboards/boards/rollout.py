"""Canary beside stable."""

from pipeline.dashboards.model import Board, Panel, Query, Row
from pipeline.dashboards.queries import HERE, PODS, failed, mean_score, objective, quantile, rate, versions

_EACH = f"{{{{{PODS}}}}}"
_COUNTED = rate("flightline_score_count", PODS)
_SHARES = f"({rate('flightline_score_bucket', f'{PODS}, le')} / on ({PODS}) group_left () {_COUNTED})"

ROLLOUT = Board(
    "rollout",
    "Rollout",
    "Canary beside stable: who takes traffic, who fails, and what the controller makes of it.",
    (
        Row(
            "Canary beside stable",
            (
                Panel(
                    "Servers by version",
                    "A version is a bundle; two at a time while one is rolled out.",
                    (versions(),),
                    kind="steps",
                ),
                Panel(
                    "Requests by version",
                    "The share that a canary really gets. Without a router it is by pods.",
                    (Query(rate("flightline_requests_total", PODS), _EACH),),
                    unit="per second",
                ),
                Panel(
                    "Errors by version",
                    "Failed requests, each version's own.",
                    (Query(failed(PODS), _EACH),),
                    unit="share",
                ),
                Panel(
                    "p95 by version",
                    "Against the objective.",
                    (Query(quantile(0.95, PODS), _EACH), objective("p95_seconds")),
                    unit="seconds",
                ),
                Panel(
                    "Mean score by version",
                    "Two versions on the same traffic should agree on the mean, unless the release said otherwise.",
                    (Query(mean_score(PODS), _EACH),),
                    unit="ratio",
                ),
                Panel(
                    "Distance of the scores",
                    "Largest difference of the cumulative shares of the two versions furthest apart; 0 with one.",
                    (Query(f"max(max by (le) {_SHARES} - min by (le) {_SHARES})", "KS"),),
                    unit="ratio",
                ),
            ),
        ),
        Row(
            "Controller",
            (
                Panel(
                    "Replicas",
                    "Of the Rollout: desired, with the new version, available.",
                    tuple(
                        Query(f"sum by (namespace) (rollout_info_replicas_{one}{{{HERE}}})", f"{one} {{{{namespace}}}}")
                        for one in ("desired", "updated", "available")
                    ),
                    kind="steps",
                    source="rollouts",
                ),
                Panel(
                    "Phase",
                    "Progressing while a canary is out; Paused waits for time, an analysis or a person.",
                    (Query(f"sum by (namespace, phase) (rollout_info{{{HERE}}})", "{{namespace}} {{phase}}"),),
                    kind="steps",
                    source="rollouts",
                ),
                Panel(
                    "Events",
                    "What the controller did, in ten minutes.",
                    (Query(f"sum by (reason) (increase(rollout_events_total{{{HERE}}}[10m]))", "{{reason}}"),),
                    source="rollouts",
                ),
            ),
        ),
    ),
)
