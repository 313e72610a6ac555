"""`MODEL_CARD.md` of a bundle: what the model is, is for, was made of and cannot do, after Mitchell et al. (2019).

Written from the contract and the metrics alone. No date, host, commit or path: the card is part of the bundle's hash.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.contract import Card, Column, Schema
from pipeline.text import leaves, markdown, number, setting

_TO_FILL = "_To be filled in by whoever deploys this model:_"
_ABOUT_ROWS = ("rows", "split", "holdout")
_TASKS = {
    "classification": "a probability per row",
    "regression": "a value per row",
    "ranking": "a score per row; the order within a query is what counts",
}


def model_card(card: Card, schema: Schema, metrics: Mapping[str, Any], estimator: Mapping[str, Any]) -> str:
    """The card as Markdown, the same text for the same arguments.

    `metrics` is the bundle's `metrics.json`, nested mappings allowed; `rows` and `split` in it say which rows they are
    from. `estimator` is the section of that name of `params.yaml`.
    """
    parts = (
        _head(card),
        _section("Intended use", _intended_use(card)),
        _section("How it was made", _table(("Setting", "Value"), _flat(estimator))),
        _section("Data", _data(schema)),
        _section("Features", _features(schema.columns)),
        _section("Metrics", _metrics(metrics)),
        _section("Limits and known faults", _limits(schema)),
        _section("Ethical considerations", _ethics()),
    )
    return "\n\n".join(parts) + "\n"


def _head(card: Card) -> str:
    lines = [f"# {markdown(card.title)}", markdown(card.description)]
    return "\n\n".join([*lines, _table(("", ""), _facts(card))])


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    yield "Name", card.name
    yield "Task", f"{card.task}: {_TASKS[card.task]}"
    yield "Output", card.output + (f", in {card.unit}" if card.unit else "") + _bounds(card.minimum, card.maximum)
    yield "API major version", str(card.api)
    if card.threshold is not None:
        yield "Decision", f"a score of {card.threshold:g} or more"


def _intended_use(card: Card) -> str:
    return (
        f"{markdown(card.output[:1].upper() + card.output[1:])}, for requests whose columns are in the ranges below. "
        "Rows outside them are refused, not guessed.\n\n"
        f"{_TO_FILL} who uses the score, for which decision, and for what it must not be used."
    )


def _data(schema: Schema) -> str:
    sources = list(dict.fromkeys(one.source for one in schema.columns if one.source))
    lines = [
        f"- One row per {markdown(', '.join(schema.key))}; label `{schema.label}`, known after about "
        f"{schema.label_delay_days} day(s).",
        f"- Rows that share `{schema.block}` are not independent; intervals resample them together.",
        f"- Event time: {f'`{schema.event_time}`' if schema.event_time else 'none; rows are split by group'}.",
        *(f"- Source: {markdown(source)}" for source in sources),
        *(f"- Holds in sound rows: {markdown(one.description)}" for one in schema.relations),
    ]
    return "\n".join(lines)


def _features(columns: Sequence[Column]) -> str:
    header = ("Feature", "Meaning", "Unit", "Legal values", "Null", "Over the year")
    rows = [
        (one.name, one.description, one.unit or one.type, _legal(one), "yes" if one.nullable else "no", one.stability)
        for one in columns
    ]
    return _table(header, rows)


def _legal(one: Column) -> str:
    if one.type != "category":
        return _bounds(one.minimum, one.maximum).removeprefix(", ") or "any"
    shown = ", ".join(one.categories[:8])
    more = f" and {len(one.categories) - 8} more" if len(one.categories) > 8 else ""  # noqa: PLR2004 - fits a line
    return f"{shown}{more}" + ("; others share one code" if one.unseen == "other" else "")


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    if low is not None:
        return f", from {low:g}"
    return f", up to {high:g}" if high is not None else ""


def _metrics(metrics: Mapping[str, Any]) -> str:
    rows = {name: value for name, value in metrics.items() if name in _ABOUT_ROWS}
    rest = {name: value for name, value in metrics.items() if name not in _ABOUT_ROWS}
    figures = _table(("Metric", "Value"), _flat(rest)) if rest else "No metric was recorded."
    if not rows:
        return figures
    return f"Measured on rows held out from training:\n\n{_table(('Rows', ''), _flat(rows))}\n\n{figures}"


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Nested mappings as rows of dotted name and value."""
    for name, value in leaves(values):
        yield name, number(value) if isinstance(value, float) else setting(value)


def _limits(schema: Schema) -> str:
    faults = [f"- `{one.name}`: {markdown(one.faults)}" for one in schema.columns if one.faults]
    seasonal = [f"`{one.name}`" for one in schema.columns if one.stability == "seasonal"]
    nullable = [f"`{one.name}`" for one in schema.columns if one.nullable]
    lines = [
        *(faults or ["- No fault of a column is on record."]),
        *([f"- May be missing: {', '.join(nullable)}."] if nullable else []),
        *([f"- Moves with the calendar, so a shift is no alarm: {', '.join(seasonal)}."] if seasonal else []),
        "- The metrics hold for the rows named above. Later rows may differ; monitoring says when they do.",
    ]
    return "\n".join(lines)


def _ethics() -> str:
    return (
        f"{_TO_FILL} who is affected by a wrong score, which groups were looked at (the slices of the gate report are "
        "a start), and who answers for it."
    )


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(header: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    lines = [header, ["---"] * len(header), *([markdown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
