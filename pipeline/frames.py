"""Tables on disk: CSV that a person can read, with types from the schema and a check that nothing was cut off."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from model.contract import Schema, Tables

INVENTORY = "tables.json"
PART = "part"
TRAIN, HOLDOUT = "train", "holdout"


class TableError(Exception):
    """A table on disk that is not what was written. The message names the file, the fault and the fix."""


def write_tables(tables: "Tables", folder: Path) -> None:
    """Each table as `<name>.csv`, with an inventory of rows and hashes written last."""
    folder.mkdir(parents=True, exist_ok=True)
    inventory: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        table.to_csv(path, index=False)
        inventory[name] = {"rows": len(table), "sha256": sha256(path)}
    write_json(folder / INVENTORY, inventory)


def read_tables(folder: Path) -> "Tables":
    """What `write_tables` wrote. Raises TableError where a table is missing, cut short or changed."""
    path = folder / INVENTORY
    if not path.is_file():
        raise TableError(f"{path} is not there; run `flightline fetch`")
    inventory = json.loads(path.read_text())
    return {name: _read_table(folder / f"{name}.csv", entry) for name, entry in inventory.items()}


def _read_table(path: Path, entry: Mapping[str, Any]) -> pd.DataFrame:
    if not path.is_file():
        raise TableError(f"{path} is not there, though {INVENTORY} lists it; run `flightline fetch`")
    if sha256(path) != entry["sha256"]:
        lines = path.read_bytes().count(b"\n") - 1
        raise TableError(
            f"{path} is not what was fetched: it has {lines:,} rows, {INVENTORY} says {entry['rows']:,}; "
            "it was cut short or changed; run `flightline fetch`"
        )
    return pd.read_csv(path, low_memory=False, float_precision="round_trip")


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """The prepared rows, with the column `part` that says which of them train and which are held out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)


def read_rows(path: Path, schema: "Schema") -> pd.DataFrame:
    """The prepared rows, typed by the schema: numbers and the label as float64; categories, key, block, event time and
    `part` as text, so that key 007 is not key 7. A column that the schema does not name is typed by its values.

    Raises TableError where the file is not there, or a number is none.
    """
    if not path.is_file():
        raise TableError(f"{path} is not there; run `dvc repro`, or `make gate`, which does")
    try:
        frame = pd.read_csv(
            path,
            dtype=_types(schema),
            keep_default_na=False,  # "NA" is a category like any other
            na_values=[""],
            float_precision="round_trip",
            low_memory=False,
        )
    except ValueError as error:
        raise TableError(f"{path} has a number or label that is none: {error}; mend prepare in model/") from error
    return frame.assign(**{PART: frame[PART].fillna("")})


def _types(schema: "Schema") -> dict[str, str]:
    """A type for each column that the schema names; a number that is also a key or block stays a number."""
    numbers = {column.name for column in schema.columns if column.type != "category"} | {schema.label}
    named = {*schema.names, *schema.key, schema.block, schema.event_time or schema.block, schema.label, PART}
    return {name: "float64" if name in numbers else "str" for name in named}


def columns_of(frame: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Named columns as the encoder takes them."""
    return {name: frame[name].to_numpy() for name in names}


def write_json(path: Path, document: Any) -> None:
    """Write JSON whole or not at all: to a neighbour first, then renamed over."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a kill or a full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        neighbour.write_bytes(data)
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex, without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
