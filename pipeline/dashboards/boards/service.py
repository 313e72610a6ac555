"""Is it up, is it quick, does it keep its objectives, and what does it need?"""

from pipeline.dashboards.model import Board, Panel, Query, Row
from pipeline.dashboards.queries import HERE, OURS, RANGE, burn, failed, objective, quantile, rate

_CONTAINER = f'{HERE},container="server"'

SERVICE = Board(
    "service",
    "Service",
    "Is it up, is it quick, does it keep its objectives, and what does it need?",
    (
        Row(
            "Now",
            (
                Panel(
                    "Ready servers",
                    "Pods whose /readyz answers 200.",
                    (Query(f"sum(flightline_ready{{{HERE}}})"),),
                    kind="number",
                    span=4,
                ),
                Panel(
                    "Requests",
                    "Answered or refused.",
                    (Query(rate("flightline_requests_total")),),
                    unit="per second",
                    kind="number",
                    span=4,
                ),
                Panel(
                    "Rows",
                    "Scores given; a request may hold many rows.",
                    (Query(rate("flightline_score_count")),),
                    unit="per second",
                    kind="number",
                    span=4,
                ),
                Panel(
                    "Failed",
                    "The server's own failures; what callers did wrong does not count.",
                    (Query(failed()),),
                    unit="share",
                    kind="number",
                    span=4,
                ),
                Panel(
                    "p95",
                    "From a request's head to its answer, of those that were scored.",
                    (Query(quantile(0.95)),),
                    unit="seconds",
                    kind="number",
                    span=4,
                ),
                Panel(
                    "In flight",
                    "Requests under way in all servers.",
                    (Query(f"sum(flightline_requests_in_flight{{{HERE}}})"),),
                    kind="number",
                    span=4,
                ),
            ),
        ),
        Row(
            "Traffic",
            (
                Panel(
                    "Requests by status",
                    "4xx are the callers' mistakes, 5xx ours.",
                    (Query(rate("flightline_requests_total", "code"), "{{code}}"),),
                    unit="per second",
                ),
                Panel(
                    "Errors by reason",
                    "Every kind of problem; internal, draining and overloaded count against the objective.",
                    (Query(rate("flightline_errors_total", "reason"), "{{reason}}"),),
                    unit="per second",
                ),
                Panel(
                    "Latency",
                    "Quantiles over all servers, against the objective for the 95th percentile.",
                    (
                        Query(quantile(0.5), "p50"),
                        Query(quantile(0.95), "p95"),
                        Query(quantile(0.99), "p99"),
                        objective("p95_seconds"),
                    ),
                    unit="seconds",
                ),
                Panel(
                    "Requests by server",
                    "Uneven where callers keep few connections open.",
                    (Query(rate("flightline_requests_total", "pod"), "{{pod}}"),),
                    unit="per second",
                ),
                Panel(
                    "In flight by server",
                    "At FLIGHTLINE_MAX_CONCURRENCY a server answers 503.",
                    (Query(f"sum by (pod) (flightline_requests_in_flight{{{HERE}}})", "{{pod}}"),),
                ),
                Panel(
                    "Rows per request",
                    "Many rows in a request make it slow, and large.",
                    (Query(f"{rate('flightline_score_count')} / {rate('flightline_request_seconds_count')}", "rows"),),
                    unit="ratio",
                ),
            ),
        ),
        Row(
            "Objectives",
            (
                Panel(
                    "Error budget, times as fast as it lasts",
                    "1 uses up a month's budget within the month; at 14.4 over an hour somebody is paged.",
                    burn("error_ratio"),
                    unit="ratio",
                    source="rules",
                    span=12,
                ),
                Panel(
                    "Latency budget, times as fast as it lasts",
                    "The share of requests over the objective, against the one in twenty that a p95 allows.",
                    burn("slow_ratio"),
                    unit="ratio",
                    source="rules",
                    span=12,
                ),
            ),
        ),
        Row(
            "Resources",
            (
                Panel(
                    "CPU by server",
                    "Processor time of the server's process; one core is all that one process uses for its answers.",
                    (
                        Query(
                            f"sum by (pod) (rate(process_cpu_seconds_total{{{HERE}}}{RANGE}) {OURS})",
                            "{{pod}}",
                        ),
                    ),
                    unit="cores",
                ),
                Panel(
                    "Memory by server",
                    "Resident memory of the server's process, against the objective.",
                    (
                        Query(f"sum by (pod) (process_resident_memory_bytes{{{HERE}}} {OURS})", "{{pod}}"),
                        objective("memory_bytes"),
                    ),
                    unit="bytes",
                ),
                Panel(
                    "Log lines lost",
                    "Lines of the prediction log that could not be written, in ten minutes.",
                    (Query(f"sum by (pod) (increase(flightline_log_dropped_total{{{HERE}}}[10m]))", "{{pod}}"),),
                ),
                Panel(
                    "CPU as the cluster counts it",
                    "The whole container, as the kubelet measures it.",
                    (
                        Query(
                            f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{_CONTAINER}}}{RANGE}))",
                            "{{pod}}",
                        ),
                    ),
                    unit="cores",
                    source="cluster",
                ),
                Panel(
                    "Memory as the cluster counts it",
                    "The working set of the container; over the limit the kernel ends it.",
                    (
                        Query(f"sum by (pod) (container_memory_working_set_bytes{{{_CONTAINER}}})", "{{pod}}"),
                        Query(f"max(container_spec_memory_limit_bytes{{{_CONTAINER}}})", "limit", limit=True),
                    ),
                    unit="bytes",
                    source="cluster",
                ),
                Panel(
                    "Restarts",
                    "How often a container was started anew within an hour; its pod stays the same.",
                    (
                        Query(
                            f"sum by (pod) (changes(process_start_time_seconds{{{HERE}}}[1h]) {OURS})",
                            "{{pod}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
