"""Figures and foreign text as people read them: one safe line, numbers in four digits, Markdown that shows itself."""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Cell: TypeAlias = str | float | int | None

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co"})
MISSING = "\N{EN DASH}"
_AUTOLINK = re.compile(r"([@#](?=\w)|\$|!(?=\d)|\bGH-(?=\d)|\[(?=\[))|(?<=\w)(://)|(?<![^\W_])(www)(\.)", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*|~]|\](?=[(\[:]))")
# Where a line may begin with it: a heading, a list, a rule; a number only before its dot or bracket.
_BLOCK = re.compile(r"^(?:(?=#+(?:\s|$)|[-+](?:[\s-]|$)|=)|(\d{1,9})(?=[.)](?:\s|$)))")
_DIRECTIVE = re.compile(r"\[([^\]]*\b(?:skip|no)\b[^\]]*)\]", re.IGNORECASE)
_ACTED_ON = re.compile(r"[@#!](?=\w)|\bGH(?=-\d)|://(?=\S)|\bwww(?=\.)", re.IGNORECASE)
_LOOSE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def plain(text: object) -> str:
    """Any value as one line without control, escape or direction characters: safe to print."""
    spaced = re.sub(r"\s+", " ", str(text)).strip()
    return "".join(one for one in spaced if unicodedata.category(one) not in _HIDDEN)


def markdown(text: object) -> str:
    """Text that came from data as Markdown that shows it literally, wherever on a line it stands.

    No markup, HTML, table cell, mention, reference or link comes of it, on GitHub or on Gitea.
    """
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    safe = _LOOSE_UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\1", safe))
    return _AUTOLINK.sub(_broken, _BLOCK.sub(lambda match: f"{match[1] or ''}\\", safe))


def _broken(match: re.Match[str]) -> str:
    """An empty comment inside what a forge would otherwise turn into a link or a mention."""
    mark, scheme, host, dot = match.groups()
    if mark:
        return f"{mark}<!-- -->"
    return ":<!-- -->//" if scheme else f"{host}<!-- -->{dot}"


def fenced(text: str, language: str = "") -> str:
    """Lines as a code block of Markdown which nothing in them can end."""
    lines = [plain_line(line) for line in text.splitlines()]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])


def plain_line(line: str) -> str:
    """A line with its spaces as they are, without control, escape or direction characters."""
    kept = line.expandtabs(4)
    return "".join(one for one in kept if unicodedata.category(one) not in _HIDDEN)


def said(text: object, most: int = 300) -> str:
    """Foreign text for a commit's message: one line in which a forge finds no directive, mention, reference or link.

    `[skip ci]` would keep the checks of the commit from running.
    """
    spaced = _ACTED_ON.sub(lambda match: f"{match[0]} ", plain(text))
    return clipped(_DIRECTIVE.sub(r"(\1)", spaced), most)


def clipped(text: str, most: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def number(value: float | None) -> str:
    """A figure in about four digits, as the gates write them: `12,345`, `.6123`, `3.1e-07`."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - floats are exact integers up to there
        return f"{value:,.0f}"
    return _fixed(value, decimals([value]))


def decimals(values: Sequence[float]) -> int | None:
    """Decimals that show the largest of the values in four digits; None where only an exponent can."""
    largest = max((abs(one) for one in values if math.isfinite(one)), default=0.0)
    if largest == 0:
        return 0
    if largest < 0.0005:  # noqa: PLR2004 - four decimals would show one digit or none
        return None
    return min(4, max(0, 3 - math.floor(math.log10(largest))))


def _fixed(value: float, places: int | None) -> str:
    shown = f"{value:.1e}" if places is None else f"{value:,.{places}f}"
    return re.sub(r"^(-?)0\.", r"\1.", shown)


def column(values: Sequence[Cell]) -> list[str]:
    """One table column as text, with as many decimals in every row so that figures line up; counts have none."""
    figures = [one for one in values if isinstance(one, float) and math.isfinite(one)]
    places = 0 if all(one.is_integer() for one in figures) else decimals(figures)
    return [_cell(one, places) for one in values]


def _cell(value: Cell, places: int | None) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, float) and math.isfinite(value):
        lost = places is not None and round(value, places) == 0 != value
        return number(value) if lost else _fixed(value, places)
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else plain(value)


def interval(bounds: tuple[float, float] | None) -> str:
    """`[-.0763, -.0288]`, both ends with the same decimals; empty where there is none."""
    if bounds is None:
        return ""
    low, high = column([float(one) for one in bounds])
    return f"[{low}, {high}]"


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings hold, by dotted name, in the order given."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def setting(value: object) -> str:
    """A threshold or input as it stands in a configuration: lists joined, numbers shown whole."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: MISSING}[value]
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(setting(one) for one in value)
    return plain(value)
