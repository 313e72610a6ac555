"""The report as Markdown: its top fits a phone, the rest is folded away. Whatever is not the template's is escaped."""

import re
from typing import Any

from markupsafe import Markup

from pipeline.report.document import Document
from pipeline.report.templating import template
from pipeline.report.words import MARKS
from pipeline.text import markdown


def text(document: Document, pictures: str = "svg") -> str:
    """`report.md`; pictures are named relative to it, and `pictures` is how their names end."""
    return template("report.md.j2", with_code, escaped)(report=document, marks=MARKS, ending=pictures)


def escaped(value: Any) -> Markup:
    """Escaped for Markdown first, so that Jinja's own escaping finds nothing left to do; what a macro made stays."""
    return value if isinstance(value, Markup) else Markup(markdown(value))  # noqa: S704 - this is the escaping


def with_code(text: str) -> Markup:
    """Escaped, but for commands between backticks."""
    return Markup(re.sub(r"\\`([\w ./:=-]+)\\`", r"`\1`", markdown(text)))  # noqa: S704 - escaped first
