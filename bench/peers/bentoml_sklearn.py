"""BentoML + scikit-learn, as its documentation starts: an array in, an array out, its defaults, one worker."""

import os
from pathlib import Path
from typing import Annotated

import bentoml
import joblib
import numpy as np
from bentoml.validators import DType


@bentoml.service(workers=1)
class Predictor:
    """The estimator itself; nothing is validated but the type of the array."""

    def __init__(self) -> None:
        self._estimator = joblib.load(Path(os.environ["FLIGHTLINE_ESTIMATOR"]) / "model.joblib")

    @bentoml.api
    def predict(self, rows: Annotated[np.ndarray, DType("float32")]) -> np.ndarray:
        """Probabilities of rows (rows, inputs)."""
        probabilities: np.ndarray = self._estimator.predict_proba(rows)
        return probabilities
