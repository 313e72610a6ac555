"""A timeline as one page: traffic, the canary's weight and what happened, on one axis of time."""

import html
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OK = 200
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
{style}</style><h1>{title}</h1>"""
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse;width:100%;margin:1rem 0}
td,th{padding:.3rem .6rem;border-bottom:1px solid #dde3ea;text-align:left;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bad{color:#b3261e}.good{color:#1b6e3c}svg{width:100%;height:auto}"""


def render(folder: Path) -> Path:
    """From folder/timeline.json and folder/traffic.jsonl to folder/index.html."""
    story = json.loads((folder / "timeline.json").read_text())
    path = folder / "traffic.jsonl"
    traffic = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    page = folder / "index.html"
    head = _HEAD.format(title=html.escape(story["title"]), style=_STYLE)
    drawn = (_summary(traffic) if traffic else "") + (_picture(story, traffic) if story["samples"] else "")
    page.write_text(head + drawn + _chapters(story) + _figures(story) + _events(story))
    return page


def _summary(traffic: list[dict[str, Any]]) -> str:
    cells = ""
    for target in sorted({one["target"] for one in traffic}):
        seen = Counter(one["status"] for one in traffic if one["target"] == target)
        failed = sum(count for status, count in seen.items() if status != OK)
        again = sum(one["refused"] > 0 for one in traffic if one["target"] == target)
        said = html.escape(", ".join(f"{count} x {status}" for status, count in sorted(seen.items())))
        cells += f"<tr><td>{target}<td class=n>{seen.total()}<td class=n>{failed}<td class=n>{again}<td>{said}"
    head = "<tr><th>to<th class=n>sent<th class=n>failed<th class=n>connected again<th>by status (0: no answer)"
    return f"<h2>Requests</h2><table>{head}{cells}</table>"


def _chapters(story: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(one['title'])}<td class=n>{(one['end'] or one['start']) - one['start']:.1f} s"
        f"<td class={'good' if one['passed'] else 'bad'}>{'passed' if one['passed'] else 'failed'}"
        for one in story["chapters"]
    )
    return f"<h2>Chapters</h2><table><tr><th>chapter<th class=n>took<th>{rows}</table>"


def _figures(story: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(one['name'])}<td class='n {'good' if one['value'] <= one['limit'] else 'bad'}'>"
        f"{one['value']:.3g} {one['unit']}<td class=n>{one['limit']:g} {one['unit']}"
        for one in story["figures"]
    )
    return f"<h2>Figures</h2><table><tr><th>what<th class=n>measured<th class=n>limit{rows}</table>"


def _events(story: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td class=n>{one['at'] - story['started']:.1f} s<td>{_linked(one['what'], one['url'])}"
        for one in story["events"]
    )
    return f"<h2>Events</h2><table>{rows}</table>"


def _linked(text: str, url: str) -> str:
    shown = html.escape(text)
    return f'<a href="{html.escape(url)}">{shown}</a>' if url else shown


def _picture(story: dict[str, Any], traffic: list[dict[str, Any]]) -> str:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    panels = [*_panels(story, traffic)]
    figure, axes = plt.subplots(len(panels), 1, sharex=True, figsize=(14, 3.2 * len(panels)), squeeze=False)
    for (axis,), (draw, *what) in zip(axes, panels, strict=True):
        draw(axis, story, *what)
    axes[-1][0].set_xlabel("seconds since the start")
    figure.tight_layout()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    plt.close(figure)
    return drawn.getvalue()[drawn.getvalue().index("<svg") :]


def _panels(story: dict[str, Any], traffic: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """What is drawn below each other: an environment that nobody asked has its pods alone."""
    for target in sorted({one["target"] for one in traffic} | {one["environment"] for one in story["samples"]}):
        if mine := [one for one in traffic if one["target"] == target]:
            yield _draw_traffic, mine, target
        yield _draw_pods, target


def _draw_traffic(axis: Any, story: dict[str, Any], traffic: list[dict[str, Any]], target: str) -> None:
    for good, colour, label in ((True, "#2f7ed8", "answered"), (False, "#b3261e", "failed")):
        seconds = Counter(int(one["at"] - story["started"]) for one in traffic if (one["status"] == OK) is good)
        axis.bar(list(seconds), list(seconds.values()), width=1.0, color=colour)
        axis.plot([], [], color=colour, linewidth=6, label=label)  # a bar that is not there would be of any colour
    axis.set_ylabel(f"{target}\nrequests/s")
    axis.legend(loc="upper right")
    _mark(axis, story)


def _draw_pods(axis: Any, story: dict[str, Any], target: str) -> None:
    seen = [one for one in story["samples"] if one["environment"] == target]
    times = [one["at"] - story["started"] for one in seen]
    axis.step(times, [one["weight"] for one in seen], where="post", color="#e0861a", label="canary's weight, %")
    axis.set_ylim(-5, 105)
    pods = axis.twinx()
    pods.step(times, [one["ready"] for one in seen], where="post", color="#5b6b7b", label="ready pods")
    pods.set_ylim(0, 9)
    axis.set_ylabel(f"{target}\nweight, %")
    pods.set_ylabel("pods")
    axis.legend(handles=[*axis.get_lines(), *pods.get_lines()], loc="upper left")
    _mark(axis, story)


def _mark(axis: Any, story: dict[str, Any]) -> None:
    for number, one in enumerate(story["chapters"]):
        start = one["start"] - story["started"]
        axis.axvspan(
            start, (one["end"] or start) - story["started"], color="#eef2f7" if number % 2 else "#ffffff", zorder=0
        )
        axis.annotate(one["title"].split(" ")[0], (start, 1), xycoords=("data", "axes fraction"), fontsize=8, va="top")
