import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.contract import Column, Schema
from pipeline import frames

SCHEMA = Schema(
    columns=(
        Column(name="country", type="category", description="", categories=("NA", "SE")),
        Column(name="size", type="number", description=""),
    ),
    key=("id",),
    label="bought",
    block="day",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables = {"flights": pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}), "planes": pd.DataFrame({"n": [1.5]})}
    frames.write_tables(tables, tmp_path)
    return tmp_path


def test_tables_come_back_as_they_were(folder: Path) -> None:
    assert frames.read_tables(folder)["flights"]["b"].tolist() == ["x", "y", "z"]


def test_truncated_csv_is_refused_with_its_row_counts(folder: Path) -> None:
    path = folder / "flights.csv"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(frames.TableError, match=r"flights.csv is not what was fetched: it has 2 rows, .* says 3"):
        frames.read_tables(folder)


def test_missing_table_is_named(folder: Path) -> None:
    (folder / "planes.csv").unlink()
    with pytest.raises(frames.TableError, match=r"planes.csv is not there"):
        frames.read_tables(folder)


def test_fetch_that_died_before_its_inventory_is_refused(folder: Path) -> None:
    (folder / frames.INVENTORY).unlink()
    with pytest.raises(frames.TableError, match="flightline fetch"):
        frames.read_tables(folder)


def test_category_called_na_is_not_null(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "id": [1, 2],
            "day": "2013-01-01",
            "country": ["NA", None],
            "size": [0.1, np.nan],
            "bought": 1,
            "part": "train",
        }
    )
    frames.write_rows(rows, tmp_path / "rows.csv")
    found = frames.read_rows(tmp_path / "rows.csv", SCHEMA)
    assert found["country"][0] == "NA"
    assert found["country"].isna().tolist() == [False, True]


def test_floats_survive_the_disk_exactly(tmp_path: Path) -> None:
    sizes = np.random.default_rng(0).normal(size=1000)
    rows = pd.DataFrame({"id": 0, "day": "d", "country": "SE", "size": sizes, "bought": 1, "part": ""})
    frames.write_rows(rows, tmp_path / "rows.csv")
    assert (frames.read_rows(tmp_path / "rows.csv", SCHEMA)["size"].to_numpy() == sizes).all()


def test_types_are_those_of_the_schema_whatever_the_values_look_like(tmp_path: Path) -> None:
    """Key 007 is not key 7; numbers and labels are float64 without a null among them too; a flag is 1 or 0."""
    path = tmp_path / "rows.csv"
    rows = {"id": ["007", "7"], "day": [20130101, 20130102], "country": "SE", "size": [1, 2], "bought": [True, False]}
    frames.write_rows(pd.DataFrame({**rows, "part": ""}), path)
    found = frames.read_rows(path, SCHEMA)
    assert found["id"].tolist() == ["007", "7"]
    assert found["day"].tolist() == ["20130101", "20130102"]
    assert found["bought"].tolist() == [1.0, 0.0]
    assert [str(found[name].dtype) for name in ("size", "bought")] == ["float64", "float64"]


def test_label_that_is_no_number_is_refused_with_what_stands_there(tmp_path: Path) -> None:
    rows = {"id": 1, "day": "d", "country": "SE", "size": [1.0], "bought": ["often"], "part": ""}
    frames.write_rows(pd.DataFrame(rows), tmp_path / "rows.csv")
    with pytest.raises(frames.TableError, match=r"rows.csv has a number or label that is none: .*'often'"):
        frames.read_rows(tmp_path / "rows.csv", SCHEMA)


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    frames.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        frames.write_json(path, {"a": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        frames.write_text(path, "\udc80")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["verdict.json"]
