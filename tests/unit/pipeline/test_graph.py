import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from pipeline.graph import convert, stamp
from serving.bundle import FORMAT, GRAPH_INPUT, GRAPH_OUTPUT, open_session

PROJECT = Path(__file__).resolve().parents[3]
ROWS = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
LABELS = (ROWS[:, 0] + 0.5 * ROWS[:, 1] ** 2 > 0.4).astype(int)


def scores(fitted: Any, rows: np.ndarray, tmp_path: Path) -> np.ndarray:
    path = tmp_path / "model.onnx"
    onnx.save(convert(fitted, rows.shape[1]), path)
    found: np.ndarray = open_session(path).run([GRAPH_OUTPUT], {GRAPH_INPUT: rows})[0]
    return found.reshape(-1)


@pytest.mark.parametrize("make", [LogisticRegression, lambda: HistGradientBoostingClassifier(max_iter=30)])
def test_graph_of_a_classifier_gives_its_probability(make: Callable[[], Any], tmp_path: Path) -> None:
    fitted = make().fit(ROWS, LABELS)
    assert np.abs(scores(fitted, ROWS, tmp_path) - fitted.predict_proba(ROWS)[:, 1]).max() < 1e-5


@pytest.mark.parametrize("make", [LinearRegression, lambda: HistGradientBoostingRegressor(max_iter=30)])
def test_graph_of_a_regressor_gives_its_prediction(make: Callable[[], Any], tmp_path: Path) -> None:
    fitted = make().fit(ROWS, ROWS[:, 0] * 3)
    assert np.abs(scores(fitted, ROWS, tmp_path) - fitted.predict(ROWS)).max() < 1e-4


def test_graph_has_one_input_and_one_output(tmp_path: Path) -> None:
    graph = convert(LogisticRegression().fit(ROWS, LABELS), 3).graph
    assert ([each.name for each in graph.input], [each.name for each in graph.output]) == (
        [GRAPH_INPUT],
        [GRAPH_OUTPUT],
    )


def test_stamp_says_format_and_signature() -> None:
    stamped = stamp(convert(LogisticRegression().fit(ROWS, LABELS), 3), "abc")
    assert {each.key: each.value for each in stamped.metadata_props} == {"format": str(FORMAT), "signature": "abc"}


CONVERT = """
import hashlib, numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from pipeline.graph import convert
rows = np.random.default_rng(0).integers(0, 4, size=(50, 3)).astype(np.float32)
columns = ColumnTransformer([("codes", OneHotEncoder(), [0]), ("scaled", StandardScaler(), [1, 2])])
fitted = make_pipeline(columns, LogisticRegression()).fit(rows, rows[:, 0] > 1)
print(hashlib.sha256(convert(fitted, 3).SerializeToString(deterministic=True)).hexdigest())
"""


def test_bytes_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    """Operator sets come out of a Python set: without sorting, seeds 0 and 1 give other bytes."""
    found = set()
    for seed in (0, 1):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(PROJECT)}
        run = [sys.executable, "-c", CONVERT]
        found.add(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1
