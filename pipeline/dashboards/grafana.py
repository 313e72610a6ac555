"""The dashboards as Grafana's JSON, by Grafana's own typed builders: files in git, and what they have to say."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipeline.dashboards.boards import BOARDS
from pipeline.dashboards.model import Board, Panel, Query, Unit

with warnings.catch_warnings():
    # The SDK prefers the format of Grafana 13 and says so on import; this one is taken by 10 and all that followed.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as looks
    from grafana_foundation_sdk.builders import dashboard, heatmap, prometheus, stat, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.common import (
        BigValueGraphMode,
        DataSourceRef,
        LegendDisplayMode,
        LegendPlacement,
        LineInterpolation,
        VisibilityMode,
    )
    from grafana_foundation_sdk.models.dashboard import (
        DashboardCursorSync,
        DashboardLinkType,
        DynamicConfigValue,
        VariableRefresh,
        VariableSort,
    )
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel as BuiltPanel
    from grafana_foundation_sdk.models.dashboard import VariableModel

    Built: TypeAlias = Builder[BuiltPanel]

FOLDER = Path("k8s/components/grafana")
TAG = "flightline"
HEIGHT, LOW = 8, 4
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_UNITS: dict[Unit, str] = {
    "count": "short",
    "per second": "cps",
    "share": "percentunit",
    "seconds": "s",
    "bytes": "bytes",
    "cores": "short",
    "ratio": "none",
    "age": "s",
}


def write(root: Path) -> tuple[Path, ...]:
    """Write every dashboard under `root`, and nothing that did not change; returns the files."""
    for name, text in files().items():
        path = root / name
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tuple(files())


def files() -> dict[Path, str]:
    """The file of every dashboard, and its text."""
    return {FOLDER / f"{board.name}.json": text(board) for board in BOARDS}


def text(board: Board) -> str:
    """A dashboard as Grafana imports it."""
    return json.dumps(built(board).build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def built(board: Board) -> dashboard.Dashboard:
    """A dashboard in Grafana's terms. Numbers of panels follow from their places, so that links to them last."""
    made = (
        dashboard.Dashboard(f"Flightline: {board.title}")
        .uid(f"flightline-{board.name}")
        .description(board.about)
        .tags([TAG])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Flightline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in _variables(board):
        made.with_variable(variable)
    number = 0
    for row in board.rows:
        number += 1
        made.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            made.with_panel(_panel(panel, number))
    return made


def _variables(board: Board) -> "Iterator[Builder[VariableModel]]":
    yield dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    asked = " ".join(query.expr for panel in board.panels for query in panel.queries)
    if "$namespace" in asked:
        yield _labels("namespace", "Namespace", "label_values(flightline_model_info, namespace)")
    if "$env" in asked:
        yield _labels("env", "Environment", "label_values(flightline_observation_timestamp_seconds, env)")


def _labels(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .include_all(True)
        .all_value(".*")
    )


def _panel(panel: Panel, number: int) -> "Built":
    made: dict[str, Callable[[Panel, int], Built]] = {"number": _number, "distribution": _distribution}
    return made.get(panel.kind, _lines)(panel, number)


def _lines(panel: Panel, number: int) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .id(number)
        .title(panel.title)
        .description(panel.reading)
        .datasource(_SOURCE)
        .unit(_UNITS[panel.unit])
        .height(HEIGHT)
        .span(panel.span)
        .line_width(2)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .axis_soft_min(0)
        .legend(
            looks.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
    )
    if panel.kind == "steps":
        made.line_interpolation(LineInterpolation.STEP_AFTER)
    for place, query in enumerate(panel.queries):
        made.with_target(_target(query, place))
        if query.limit:
            made.override_by_query(_reference(place), _as_limit())
    return made


def _as_limit() -> list[DynamicConfigValue]:
    """Dashed and without an area: what others are held against."""
    return [
        DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
        DynamicConfigValue("custom.fillOpacity", 0),
        DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "text"}),
    ]


def _number(panel: Panel, number: int) -> stat.Panel:
    made = (
        stat.Panel()
        .id(number)
        .title(panel.title)
        .description(panel.reading)
        .datasource(_SOURCE)
        .unit(_UNITS[panel.unit])
        .height(LOW)
        .span(panel.span)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(looks.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for place, query in enumerate(panel.queries):
        made.with_target(_target(query, place))
    return made


def _distribution(panel: Panel, number: int) -> heatmap.Panel:
    made = (
        heatmap.Panel()
        .id(number)
        .title(panel.title)
        .description(panel.reading)
        .datasource(_SOURCE)
        .height(HEIGHT)
        .span(panel.span)
        .calculate(False)
    )
    for place, query in enumerate(panel.queries):
        made.with_target(_target(query, place).format(PromQueryFormat.HEATMAP))
    return made


def _target(query: Query, place: int) -> prometheus.Dataquery:
    """Legends are said: without one Grafana shows all labels."""
    return (
        prometheus.Dataquery()
        .ref_id(_reference(place))
        .datasource(_SOURCE)
        .expr(query.expr)
        .range()
        .legend_format(query.legend or "__auto")
    )


def _reference(place: int) -> str:
    return chr(ord("A") + place)
