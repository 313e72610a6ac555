"""`signature.json`: what pipeline and server agree on, as data, and the encoding of named values it stands for.

The pipeline writes it from the model's schema and encodes training rows with it; the server validates and encodes
requests with it. Nothing is coded twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request column: name, type, unit, legal values. The order of inputs is the order of the model's matrix."""

    name: str
    type: Literal["number", "integer", "category"]
    description: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    nullable: bool = False
    unseen: Literal["refuse", "other"] = "refuse"
    stability: Literal["stable", "seasonal"] = "stable"
    example: float | int | str | None = None


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The score: what it means, its unit and range, and the threshold that turns it into a decision (or None)."""

    description: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    threshold: float | None = None


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole agreement. `api` is the major version of the request and response this model speaks."""

    model: str
    title: str
    task: Literal["classification", "regression", "ranking"]
    inputs: tuple[Input, ...]
    output: Output
    api: int = 1
    description: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Input names in matrix order."""
        return tuple(one.name for one in self.inputs)


def encode(signature: Signature, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float32]:
    """Named columns of equal length -> the model's matrix, float32 of shape (rows, inputs).

    Null (None or NaN) becomes NaN; a category becomes its index in `categories`; one outside them becomes
    `len(categories)`, the shared "other". Legality is not checked here. Raises KeyError for a missing column.
    """
    encoded = [_encode_column(one, columns[one.name]) for one in signature.inputs]
    return np.ascontiguousarray(np.stack(encoded, axis=1))


def category_codes(one: Input) -> dict[str, float]:
    """Category -> its number in the matrix; whatever is not in it is `len(categories)`."""
    return {category: float(code) for code, category in enumerate(one.categories)}


def _encode_column(one: Input, values: Sequence[Any]) -> NDArray[np.float32]:
    if one.type != "category":
        return np.asarray(values, dtype=np.float32)
    codes, other = category_codes(one), float(len(one.categories))
    return np.array([_code(value, codes, other) for value in values], dtype=np.float32)


def _code(value: Any, codes: Mapping[str, float], other: float) -> float:
    if value is None or isinstance(value, float):  # the only float among categories is pandas' null
        return float("nan")
    return codes.get(value, other)
