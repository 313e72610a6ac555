"""What is asked, what is answered, and whether it comes true."""

from pipeline.dashboards.model import Board, Panel, Query, Row
from pipeline.dashboards.queries import ENV, HERE, RANGE, came_true, level, mean_score, observed, per_row

MODEL = Board(
    "model",
    "Model",
    "What is asked, what is answered, and whether it comes true.",
    (
        Row(
            "As it is asked",
            (
                Panel(
                    "Scores",
                    "How many scores fell where, over the time shown.",
                    (Query(f"sum by (le) (increase(flightline_score_bucket{{{HERE}}}{RANGE}))", "{{le}}"),),
                    kind="distribution",
                ),
                Panel(
                    "Mean score",
                    "What the model expects on average.",
                    (Query(mean_score("namespace"), "{{namespace}}"),),
                    unit="ratio",
                ),
                Panel(
                    "Missing",
                    "Share of rows without a value, by feature.",
                    (per_row("missing"),),
                    unit="share",
                ),
                Panel(
                    "Out of range",
                    "Share of rows outside of the schema's range, by feature.",
                    (per_row("out_of_range"),),
                    unit="share",
                ),
                Panel(
                    "Unseen",
                    "Share of rows with a category that training never saw, by feature.",
                    (per_row("unseen"),),
                    unit="share",
                ),
                Panel(
                    "PSI by feature",
                    "Against training. Seasonal ones are always far off; a stable one over .2 is a broken feed.",
                    (
                        Query(f"max by (feature) (flightline_psi{{{ENV}}})", "{{feature}}"),
                        level(0.2, "stable: alarm"),
                    ),
                    unit="ratio",
                    source="monitoring",
                ),
            ),
        ),
        Row(
            "As it came true",
            (
                Panel(
                    "Observed against expected",
                    "Newest full, labelled window: ratio, 1 is calibrated; for a regression outcome less score, 0 is.",
                    came_true(),
                    unit="ratio",
                    source="monitoring",
                ),
                Panel(
                    "Skill",
                    "How much better than always saying the base rate; 0 is no better.",
                    (observed("flightline_skill"),),
                    unit="ratio",
                    source="monitoring",
                ),
                Panel(
                    "Labelled rows",
                    "Rows whose outcome is known, after the data of the model ended.",
                    (observed("flightline_labelled_rows"),),
                    source="monitoring",
                ),
            ),
        ),
    ),
)
