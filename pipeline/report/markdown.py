"""The report as Markdown: its top fits a phone, the rest is folded away. Whatever is not the template's is escaped."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.document import Document
from pipeline.report.words import MARKS
from pipeline.text import markdown


def text(document: Document) -> str:
    """`report.md`; pictures are named relative to it."""
    environment = _environment()
    environment.filters["code"] = _with_code
    return environment.get_template("report.md.j2").render(report=document, marks=MARKS)


def _environment() -> Environment:
    """An environment that escapes every value for Markdown, so that nothing can be forgotten."""
    return Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escaped(value: Any) -> Markup:
    """Escaped for Markdown first, so that Jinja's own escaping finds nothing left to do; what a macro made stays."""
    return value if isinstance(value, Markup) else Markup(markdown(value))  # noqa: S704 - this is the escaping


def _with_code(text: str) -> Markup:
    """Escaped, but for commands between backticks."""
    return Markup(re.sub(r"\\`([\w ./:=-]+)\\`", r"`\1`", markdown(text)))  # noqa: S704 - escaped first
