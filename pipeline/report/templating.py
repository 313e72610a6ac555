"""The one way both reports are rendered: every value is escaped, a name that is not there is a fault."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def template(
    name: str,
    code: Callable[[str], Markup],
    finalize: Callable[[Any], Any] | None = None,
    **filters: Callable[[object], Markup],
) -> "Callable[..., str]":
    """What renders a template of this package; its filter `code` shows commands between backticks as code."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(code=code, **filters)
    return environment.get_template(name).render
