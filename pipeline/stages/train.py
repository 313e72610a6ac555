"""train: fit on the training rows, convert to ONNX in the same process, and keep the estimator's own scores.

No estimator is ever written to disk: what later stages need of it, for the parity gate, is what it says of the holdout.
"""

from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from model.contract import Model
from pipeline import paths, signature
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, columns_of, read_rows
from pipeline.graph import convert
from serving.signature import encode


def run(context: Context) -> None:
    """build/rows -> build/model."""
    model = context.model
    rows = read_rows(context.root / paths.ROWS, model.schema)
    fitted = fit(model, rows[rows[PART] == TRAIN])
    target = context.root / paths.MODEL
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(convert(fitted, len(model.schema.columns)).SerializeToString(deterministic=True))
    scores = model.score(fitted, matrix(model, rows[rows[PART] == HOLDOUT]))
    pd.DataFrame({"score": scores}).to_csv(context.root / paths.ESTIMATOR_SCORES, index=False)


def fit(model: Model, train: pd.DataFrame) -> Any:
    """The fitted estimator. One thread: faster here than several, and the same bytes whatever the machine has."""
    labels = train[model.schema.label].to_numpy()
    with threadpool_limits(limits=1):
        return model.estimator().fit(
            matrix(model, train), labels.astype(int) if model.card.task == "classification" else labels
        )


def matrix(model: Model, rows: pd.DataFrame) -> Any:
    """Rows as the estimator sees them: float32 of shape (rows, columns), encoded exactly as the server does."""
    agreed = signature.of_model(model.card, model.schema)
    return encode(agreed, columns_of(rows, agreed.names))
