from pathlib import Path

import numpy as np
import pytest

from model.estimator import Boosted, EstimatorSettings, Logistic, build
from model.schema import SCHEMA
from tests.unit.pipeline.test_graph import scores


@pytest.mark.parametrize("name", ["logistic", "boosted"])
def test_both_estimators_convert_with_nulls_and_unseen_codes(name: str, tmp_path: Path) -> None:
    logistic = Logistic(C=1, max_iter=200)
    boosted = Boosted(learning_rate=0.1, max_iter=20, max_leaf_nodes=15, min_samples_leaf=5, l2_regularization=1)
    random, width = np.random.default_rng(1), len(SCHEMA.columns)
    rows = random.integers(0, 8, size=(600, width)).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 7] > 7).astype(int)
    numeric = [at for at, column in enumerate(SCHEMA.columns) if column.nullable]
    rows[::7, numeric] = np.nan
    fitted = build(EstimatorSettings(name=name, logistic=logistic, boosted=boosted), SCHEMA).fit(rows, labels)
    asked = rows.copy()
    asked[::5, 2] = len(SCHEMA.columns[2].categories)
    assert np.abs(scores(fitted, asked, tmp_path) - fitted.predict_proba(asked)[:, 1]).max() < 1e-5
