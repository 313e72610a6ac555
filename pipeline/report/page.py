"""The report as one page that needs nothing else: style and pictures are in it, and it loads nothing."""

import re
from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

from pipeline.report.document import Document
from pipeline.report.figures import Chart, Forest
from pipeline.report.plots import themed
from pipeline.report.templating import template


def text(document: Document, drawn: Mapping[str, str]) -> str:
    """`report.html`; `drawn` holds each picture's SVG document by its name."""
    return template("page.html.j2", with_code)(report=document, drawn=inline(document.pictures, drawn))


def inline(pictures: Iterable[Chart | Forest], drawn: Mapping[str, str]) -> dict[str, Markup]:
    """Each picture as an element of a page, by its name."""
    labels = {one.name: f"{one.title}. {one.reading}" for one in pictures}
    return {
        name: Markup(themed(svg, name, labels[name]))  # noqa: S704 - written by matplotlib, which escapes text
        for name, svg in drawn.items()
    }


def with_code(text: str) -> Markup:
    """Escaped, with commands between backticks as code."""
    return Markup(re.sub(r"`([\w ./:=-]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first
