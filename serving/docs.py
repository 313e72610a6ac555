"""The page at /docs: what the model is, what it takes, and a form to try it. It loads nothing from elsewhere."""

from html import escape
from pathlib import Path
from string import Template

import msgspec

from serving.faults import bounds
from serving.openapi import example
from serving.problems import KINDS
from serving.scoring import Scorer
from serving.settings import Settings
from serving.signature import Input

HEADERS = (
    ("content-type", "text/html; charset=utf-8"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
MOST_SHOWN = 12
_TEMPLATE = Path(__file__).with_name("docs.html")


def page(scorer: Scorer, settings: Settings) -> bytes:
    """The page for one bundle, in UTF-8."""
    signature = scorer.signature
    sample = msgspec.json.format(msgspec.json.encode(example(signature))).decode()
    output = signature.output
    return (
        Template(_TEMPLATE.read_text(encoding="utf-8"))
        .substitute(
            title=escape(signature.title),
            description=escape(signature.description),
            notice=f'<p class="notice" role="alert">{escape(settings.notice)}</p>' if settings.notice else "",
            model=escape(signature.model),
            version=escape(scorer.bundle.version),
            short=escape(scorer.bundle.version[:12]),
            api=signature.api,
            output=escape(f"{output.description} ({output.unit})" if output.unit else output.description),
            decision=_decision(output.threshold),
            inputs="\n".join(map(_row, signature.inputs)),
            sample=escape(sample),
            lines=sample.count("\n") + 2,
            quoted=escape(sample.replace("'", "'\\''")),
            origin=_origin(settings),
            problems="\n".join(
                f'<tr id="{one.slug}"><td>{one.status}<td><code>{one.slug}</code><td>{one.title}' for one in KINDS
            ),
            max_rows=f"{settings.max_rows:,}",
            max_body=f"{settings.max_body_bytes:,}",
        )
        .encode()
    )


def _origin(settings: Settings) -> str:
    """Where a reader on this machine finds the server; the page itself puts the address it was asked at."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 (compared, not bound)
    return f"http://{host}:{settings.port}"


def _decision(threshold: float | None) -> str:
    return "" if threshold is None else f" <code>decision</code> is true where the score is at least {threshold:g}."


def _row(one: Input) -> str:
    cells = (
        f"<code>{escape(one.name)}</code>",
        escape(one.description) + (' <span class="tag">may be null</span>' if one.nullable else ""),
        escape(one.unit or ""),
        _legal(one),
        f"<code>{escape(msgspec.json.encode(one.example).decode())}</code>",
    )
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _legal(one: Input) -> str:
    if one.type != "category":
        low, high = bounds(one)
        limited = one.minimum is not None or one.maximum is not None
        noun = "whole number" if one.type == "integer" else "number"
        return f"{noun}, {low:,g} to {high:,g}" if limited else noun
    shown = " ".join(f"<code>{escape(name)}</code>" for name in one.categories[:MOST_SHOWN])
    more = f" and {len(one.categories) - MOST_SHOWN} more" if len(one.categories) > MOST_SHOWN else ""
    return f"{shown}{more}{'; any other is taken as the same “other”' if one.unseen == 'other' else ''}"
