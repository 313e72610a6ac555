"""The comment as Markdown: the answer first, the rest folded. Whatever is not the template's is escaped."""

import html
import re
from collections.abc import Callable, Iterator, Mapping

from markupsafe import Markup

from pipeline.report.markdown import escaped, with_code
from pipeline.report.templating import template
from pipeline.review.parts import Part
from pipeline.review.report import Report
from pipeline.text import markdown, plain

MARKER = "<!-- flightline: report -->"
MOST = 60_000  # forges take 65,536 characters
_SHORTENED = "Tables are left out: the comment would be too long."


def text(report: Report, pictures: Mapping[str, str], run_url: str) -> str:
    """The comment. `pictures` holds the address of each picture there is, by its name."""
    top = _template("comment.md.j2")
    room = MOST - len(top(report=report, parts=(), run_url=run_url))
    parts = tuple(_fitting(report, pictures, room))
    return f"{MARKER}\n{top(report=report, parts=parts, run_url=run_url)}"


def _fitting(report: Report, pictures: Mapping[str, str], room: int) -> Iterator[Markup]:
    """The parts in order; one that would be too long comes without its tables, or not at all."""
    render = _template("part.md.j2")
    for part in report.parts:
        without = Part(part.title, part.answer, (*part.lines, ("Note", _SHORTENED)), part.pictures)
        for one in (part, without):
            written = render(part=one, pictures=pictures)
            if len(written) < room:
                room -= len(written) + 1
                yield Markup(written)  # noqa: S704 - rendered by a template that escapes
                break


def _template(name: str) -> Callable[..., str]:
    return template(name, with_code, escaped, html=_html, attribute=_attribute, words=_words)


def _html(value: object) -> Markup:
    """Text inside an HTML block, where Markdown's own escapes would show; mentions stay broken."""
    return Markup(re.sub(r"\\(.)", r"\1", markdown(value)))  # noqa: S704 - escaped by `markdown`


def _words(value: object) -> Markup:
    """A picture's title without any sign that HTML or a forge could act on."""
    return Markup(re.sub(r"[^\w ',.:;?%-]", " ", plain(value)))  # noqa: S704 - nothing is left to escape


def _attribute(value: object) -> Markup:
    return Markup(html.escape(plain(value), quote=True))  # noqa: S704 - this is the escaping
