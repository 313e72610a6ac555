"""From the bytes of a request to the model's matrix: a decoder and an encoder made once from the signature."""

import math
from typing import Annotated, Any, Literal, NoReturn, Union

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray

from serving.bundle import BundleError
from serving.faults import LONGEST_ID, LONGEST_TEXT, bounds, find, parse
from serving.problems import INVALID, TOO_MANY_ROWS, Fault, RefusedError
from serving.signature import Input, Signature, category_codes

_NAN = float("nan")


class Encoded(msgspec.Struct, gc=False):
    """Rows ready to be scored: float32 matrix (rows, inputs), and ids as given (or UNSET), None where none was."""

    matrix: NDArray[np.float32]
    ids: list[Any] | None


class _Codes(dict[Any, float]):
    """Category -> its number in the matrix; whatever is not a known one is the shared other."""

    def __init__(self, one: Input) -> None:
        super().__init__(category_codes(one) | {None: _NAN})
        self.other = float(len(one.categories))

    def __missing__(self, category: Any) -> float:
        return self.other


class Codec:
    """Decodes, validates and encodes requests for one signature. Every method may be called from any thread."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._signature, self._max_rows = signature, max_rows
        row: Any = row_type(signature)
        self._list: Any = list[row]
        self._decoder = msgspec.json.Decoder(Union[row, self._list])  # noqa: UP007 (a type made at run time)
        self._codes = {at: _Codes(one) for at, one in enumerate(signature.inputs) if one.type == "category"}
        self._width = len(signature.inputs)
        self._others = {at: codes.other for at, codes in self._codes.items() if signature.inputs[at].unseen == "other"}

    def decode(self, body: bytes) -> list[Any]:
        """Validated rows of a JSON object (one row) or array of objects (many). Raises RefusedError."""
        try:
            rows = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(parse(body), error)
        return self._counted(rows) if type(rows) is list else [rows]

    def convert(self, columns: dict[str, list[Any]]) -> list[Any]:
        """Validated rows of named columns of equal length. Raises RefusedError naming every fault."""
        names = self._signature.names
        rows = [
            dict(zip(names, values, strict=True)) for values in zip(*(columns[name] for name in names), strict=True)
        ]
        try:
            return self._counted(msgspec.convert(rows, self._list))
        except msgspec.ValidationError as error:
            self._refuse(rows, error)

    def encode(self, rows: list[Any]) -> Encoded:
        """What `signature.encode` does, on one flat list for all rows; takes the id out of each row."""
        flat, ids = self._flat(rows) if len(rows) > 1 else self._flat_one(rows[0])
        matrix = np.fromiter(flat, np.float32, len(flat)).reshape(len(rows), self._width)
        if ids.count(UNSET) == len(ids):
            return Encoded(matrix, None)
        for row in rows:
            row.id = UNSET
        return Encoded(matrix, ids)

    def _flat(self, rows: list[Any]) -> tuple[list[Any], list[Any]]:
        """The numbers of all rows, one after the other, and their ids."""
        width = self._width
        flat: list[Any] = []
        for row in rows:
            flat += msgspec.structs.astuple(row)
        ids = flat[width :: width + 1]
        del flat[width :: width + 1]
        for position, codes in self._codes.items():
            flat[position::width] = map(codes.__getitem__, flat[position::width])
        return flat, ids

    def _flat_one(self, row: Any) -> tuple[list[Any], list[Any]]:
        """As `_flat`, in half the time for one row."""
        *flat, given = msgspec.structs.astuple(row)
        for position, codes in self._codes.items():
            flat[position] = codes[flat[position]]
        return flat, [given]

    def missing(self, matrix: NDArray[np.float32]) -> list[int]:
        """Per input, how many values of a matrix were null: what NaN stands for, since a request cannot say NaN."""
        counts: list[int] = np.bincount(np.flatnonzero(np.isnan(matrix)) % self._width, minlength=self._width).tolist()
        return counts

    def unseen(self, matrix: NDArray[np.float32]) -> list[int]:
        """Per input, how many values of a matrix are a category outside the known ones."""
        counts = [0] * self._width
        for position, other in self._others.items():
            counts[position] = int(np.count_nonzero(matrix[:, position] == other))
        return counts

    def _counted(self, rows: list[Any]) -> list[Any]:
        if not rows:
            raise RefusedError(INVALID, "The list of rows is empty; send at least one row.")
        if len(rows) > self._max_rows:
            raise RefusedError(
                TOO_MANY_ROWS, f"The request has {len(rows)} rows; at most {self._max_rows} are allowed."
            )
        return rows

    def _refuse(self, parsed: Any, error: Exception) -> NoReturn:
        if isinstance(parsed, list):
            self._counted(parsed)
        faults = find(self._signature, parsed)
        raise RefusedError(
            INVALID, _summary(faults) or f"The request cannot be read: {error}.", tuple(faults)
        ) from error


def _summary(faults: list[Fault]) -> str:
    more = f" And {len(faults) - 1} more, see `errors`." if len(faults) > 1 else ""
    return faults[0].detail + more if faults else ""


def row_type(signature: Signature) -> Any:
    """A Struct with the signature's columns, in its order and under its names, each constrained, and an optional id."""
    if "id" in signature.names:
        raise BundleError("signature.json: an input may not be called 'id', the name of a row's own id; rename it")
    names = {f"c{position}": one.name for position, one in enumerate(signature.inputs)}
    fields = [(f"c{position}", _value_type(one)) for position, one in enumerate(signature.inputs)]
    identity = ("id", Annotated[str, Meta(max_length=LONGEST_ID)] | UnsetType, UNSET)
    return msgspec.defstruct("Row", [*fields, identity], rename=names, forbid_unknown_fields=True, gc=False)


def _value_type(one: Input) -> Any:
    kind = {"number": _number, "integer": _integer, "category": _category}[one.type](one)
    return Union[kind, None] if one.nullable else kind  # noqa: UP007


def _number(one: Input) -> Any:
    low, high = bounds(one)
    return Annotated[float, Meta(ge=low, le=high)]


def _integer(one: Input) -> Any:
    """Whole numbers, written as 149 or as 149.0: a data frame with a null in it writes the latter."""
    low, high = bounds(one)
    whole = Annotated[int, Meta(ge=math.ceil(low), le=math.floor(high))]
    return Union[whole, Annotated[float, Meta(ge=low, le=high, multiple_of=1)]]  # noqa: UP007


def _category(one: Input) -> Any:
    return Literal[one.categories] if one.unseen == "refuse" else Annotated[str, Meta(max_length=LONGEST_TEXT)]
