"""The dashboards as one page that needs nothing else: asked of Prometheus now, drawn by the report's own plots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from pipeline.config import ConfigError, Settings
from pipeline.dashboards.answers import Span, ask
from pipeline.dashboards.figures import NEEDS, Tile, chart, tile
from pipeline.dashboards.model import Board, Panel, Row
from pipeline.prometheus import Alert, Prometheus
from pipeline.report.figures import Chart
from pipeline.report.page import with_code
from pipeline.report.plots import svg, themed
from pipeline.report.templating import template

PATH = Path("build/dashboard.html")


@dataclass(frozen=True)
class Shown:
    """A panel as it stands on the page: a tile, a picture, or why there is none."""

    panel: Panel
    tile: Tile | None
    picture: Chart | None
    absent: str


@dataclass(frozen=True)
class ShownRow:
    """A row with its tiles and pictures apart."""

    title: str
    tiles: tuple[Tile, ...]
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class ShownBoard:
    """A dashboard with its rows."""

    board: Board
    rows: tuple[ShownRow, ...]


@dataclass(frozen=True)
class View:
    """All that the page says. `title` is the project's, `address` where it was asked."""

    title: str
    address: str
    span: Span
    alerts: tuple[Alert, ...]
    boards: tuple[ShownBoard, ...]


def known(settings: Settings, env: str) -> str:
    """The environment; empty for all. Raises ConfigError for one that is not in the settings."""
    if env and env not in settings.environments:
        raise ConfigError(f"--env {env}: there is no such environment; take {' or '.join(settings.environments)}")
    return env


def look(prometheus: Prometheus, boards: Sequence[Board], title: str, span: Span, say: Callable[[str], None]) -> View:
    """Ask everything. Raises UnavailableError."""
    alerts = sorted(prometheus.alerts(), key=lambda one: (one.state, sorted(one.labels.items())))
    shown = tuple(_board(prometheus, board, span, say) for board in boards)
    return View(title, prometheus.address, span, tuple(alerts), shown)


def text(view: View) -> str:
    """The page."""
    pictures = [one.picture for board in view.boards for row in board.rows for one in row.pictures if one.picture]
    drawn = {
        one.name: Markup(themed(svg(one), one.name, f"{one.title}. {one.reading}"))  # noqa: S704 - matplotlib escapes
        for one in pictures
    }
    return template("dashboard.html.j2", with_code)(view=view, drawn=drawn, link=link)


def link(address: str) -> str:
    """An address to put into a link; empty for what a browser would run."""
    return address if address.startswith(("https://", "http://")) else ""


def _board(prometheus: Prometheus, board: Board, span: Span, say: Callable[[str], None]) -> ShownBoard:
    say(f"asking about {board.title.lower()}")
    return ShownBoard(board, tuple(_row(prometheus, board, row, span) for row in board.rows))


def _row(prometheus: Prometheus, board: Board, row: Row, span: Span) -> ShownRow:
    shown = [_panel(prometheus, board, panel, span) for panel in row.panels]
    tiles = tuple(one.tile for one in shown if one.tile)
    return ShownRow(row.title, tiles, tuple(one for one in shown if not one.tile))


def _panel(prometheus: Prometheus, board: Board, panel: Panel, span: Span) -> Shown:
    answers = ask(prometheus, panel, span)
    if panel.kind == "number":
        return Shown(panel, tile(panel, answers), None, "")
    name = f"{board.name}-{'-'.join(panel.title.lower().split())}"
    picture = chart(panel, answers, span, "".join(one for one in name if one.isalnum() or one == "-"))
    return Shown(panel, None, picture, "" if picture else NEEDS[panel.source])
