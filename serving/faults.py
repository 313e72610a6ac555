"""The slow path: everything that is wrong with a refused request, found without stopping at the first fault."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

import msgspec

from serving.problems import BAD_JSON, INVALID, Fault, RefusedError
from serving.signature import Input, Signature

LONGEST_ID = 128
LONGEST_TEXT = 256
LONGEST_VALUE = 80
MOST_CATEGORIES = 50
MOST_FOUND = 1000
_FLOAT32 = 3.4028234663852886e38
_WHOLE = 2.0**53
_INFINITY = float("inf")


def bounds(one: Input) -> tuple[float, float]:
    """The smallest and largest legal value; without limits of its own, what a float32 (or a whole double) holds."""
    limit = _WHOLE if one.type == "integer" else _FLOAT32
    low = -limit if one.minimum is None else max(one.minimum, -limit)
    high = limit if one.maximum is None else min(one.maximum, limit)
    return low, high


def parse(body: bytes) -> Any:
    """The body as plain JSON values; numbers beyond a double become infinite. Raises RefusedError."""
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError:
        return _parse_large(body)
    except RecursionError as error:
        raise RefusedError(BAD_JSON, "The body is nested too deeply; a row is one flat object.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefusedError(BAD_JSON, f"{error}. NaN and Infinity are not JSON; send UTF-8.") from error


def _parse_large(body: bytes) -> Any:
    """As `parse`, by a decoder that reads numbers too large for msgspec."""
    try:
        return json.loads(body, parse_constant=_no_constant, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise RefusedError(BAD_JSON, f"The body is not JSON: {error}.") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _whole(digits: str) -> float:
    return int(digits) if len(digits) < len(str(_WHOLE)) else float(digits)


def find(signature: Signature, parsed: Any) -> list[Fault]:
    """Every fault of every row, in order, up to a thousand. Raises RefusedError for what is no rows at all."""
    rows = parsed if isinstance(parsed, list) else [parsed]
    if not isinstance(parsed, list | dict):
        raise RefusedError(INVALID, f"The body is {_kind(parsed)}; send an object (one row) or an array of objects.")
    faults = (fault for index, row in enumerate(rows) for fault in _row_faults(signature, index, row))
    return list(islice(faults, MOST_FOUND))


def _row_faults(signature: Signature, index: int, row: Any) -> Iterator[Fault]:
    if not isinstance(row, dict):
        detail = f"Row {index} is {_kind(row)}; a row is an object of columns by name."
        yield Fault(index, "type", detail, value=_shown(row), allowed="object")
        return
    for one in signature.inputs:
        fault = _missing(index, one) if one.name not in row else _value_fault(index, one, row[one.name])
        if fault:
            yield fault
    if "id" in row and not (isinstance(row["id"], str) and len(row["id"]) <= LONGEST_ID):
        allowed = f"a string of at most {LONGEST_ID} characters"
        yield Fault(index, "type", f"Row {index}: id must be {allowed}.", "id", _shown(row["id"]), allowed)
    for name in row.keys() - {*signature.names, "id"}:
        detail = f"Row {index}: {_short(name)} is not an input of this model; leave it out."
        yield Fault(index, "unknown", detail, _short(name), allowed=signature.names)


def _missing(index: int, one: Input) -> Fault:
    null = " (null, where it is not known)" if one.nullable else ""
    return Fault(
        index, "missing", f"Row {index}: {one.name} is missing; give it{null}.", one.name, allowed=_allowed(one)
    )


def _value_fault(index: int, one: Input, value: Any) -> Fault | None:
    if value is None:
        return None if one.nullable else _fault(index, one, value, "null", "it may not be null")
    if not _is_typed(one, value):
        return _fault(index, one, value, "type", f"it must be {_NOUNS[one.type]}")
    if one.type == "category":
        return _category_fault(index, one, value)
    low, high = bounds(one)
    if not low <= value <= high:
        return _fault(index, one, value, "range", f"it must lie from {low:g} to {high:g}{_unit(one)}")
    return None


def _category_fault(index: int, one: Input, value: str) -> Fault | None:
    if one.unseen == "refuse" and value not in one.categories:
        return _fault(index, one, value, "category", f"it must be one of {', '.join(one.categories[:MOST_CATEGORIES])}")
    if len(value) > LONGEST_TEXT:
        return _fault(index, one, value, "length", f"it may have at most {LONGEST_TEXT} characters")
    return None


_NOUNS = {"number": "a number", "integer": "a whole number", "category": "a string"}


def _is_typed(one: Input, value: Any) -> bool:
    if one.type == "category":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return one.type == "number" or isinstance(value, int) or value.is_integer() or value in (_INFINITY, -_INFINITY)


def _fault(index: int, one: Input, value: Any, reason: str, rule: str) -> Fault:
    shown = _shown(value)
    text = msgspec.json.encode(shown).decode()
    return Fault(index, reason, f"Row {index}: {one.name} is {text}; {rule}.", one.name, shown, _allowed(one))


def _allowed(one: Input) -> Any:
    if one.type == "category":
        return one.categories[:MOST_CATEGORIES] if one.unseen == "refuse" else "any string"
    low, high = bounds(one)
    return {"minimum": low, "maximum": high, "unit": one.unit}


def _unit(one: Input) -> str:
    return f" {one.unit}" if one.unit else ""


def _shown(value: Any) -> Any:
    """The value for an answer: itself where it is a number or a short string."""
    if isinstance(value, str):
        return _short(value)
    if value in (_INFINITY, -_INFINITY):
        return "beyond the range of a double"
    if value is None or isinstance(value, bool | int | float):
        return value
    return _kind(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
