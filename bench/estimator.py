"""The estimator itself, for peers that serve scikit-learn the way their documentation shows: a joblib file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np

from bench import wrk
from bench.wrk import BenchError
from model.contract import Floats
from pipeline import paths
from pipeline.context import Context
from pipeline.frames import PART, TRAIN, read_rows
from pipeline.stages.train import fit
from serving import bundle
from serving.signature import encode

FILE = "model.joblib"
_TOLERANCE = 1e-4


@contextmanager
def dumped(path: Path) -> Iterator[Path]:
    """A folder with the estimator that the graph of the bundle at `path` was converted from, fitted anew.

    The file is a pickle: it is written and read by the bench alone, and gone after it. Raises BenchError where the
    estimator and the bundle score a row differently.
    """
    context = Context(Path.cwd())
    rows = read_rows(context.root / paths.ROWS, context.model.schema)
    fitted = fit(context.model, rows[rows[PART] == TRAIN])
    served, encoded = bundle.load(path), example(path)
    difference = float(np.abs(context.model.score(fitted, encoded) - served.score(encoded)).max())
    if difference > _TOLERANCE:
        raise BenchError(f"{path} is not what these rows and params.yaml make; `make bundle` makes it anew")
    with TemporaryDirectory(prefix="flightline-bench-") as folder:
        joblib.dump(fitted, Path(folder) / FILE)
        yield Path(folder)


def example(path: Path) -> Floats:
    """The row of `wrk.example` as the estimator takes it: float32 of shape (1, inputs)."""
    signature = bundle.load(path).signature
    return encode(signature, {name: [value] for name, value in wrk.example(path).items()})


def numbers(path: Path) -> list[float | None]:
    """The same row as JSON numbers; null stands for what is missing."""
    return [None if np.isnan(value) else float(value) for value in example(path)[0]]


def for_mlserver(folder: Path) -> None:
    """Add what MLServer wants beside the estimator: two lines that name its own scikit-learn runtime."""
    settings = {
        "name": "flights",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": f"./{FILE}", "version": "1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))


def inference(path: Path) -> dict[str, Any]:
    """The row as MLServer's documentation sends it: one tensor, and the probabilities asked for."""
    data = numbers(path)
    tensor = {"name": "predict", "shape": [1, len(data)], "datatype": "FP32", "data": data}
    return {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}
