"""The two estimators the example can be trained with, both over the encoded float32 matrix.

scikit-learn takes seconds to import, so only what trains does: most steps ask the model for its columns alone.
"""

from typing import Any, Literal

from pydantic import Field

from model.contract import Frozen, Schema

SEED = 0
# Integers whose effect is not monotone: a coefficient per value.
_ONE_HOT_INTEGERS = ("hour", "weekday")


class Logistic(Frozen):
    """Settings of the logistic regression; `C` is the inverse of the penalty."""

    C: float = Field(gt=0)
    max_iter: int = Field(ge=1)


class Boosted(Frozen):
    """Settings of the gradient-boosted trees."""

    learning_rate: float = Field(gt=0, le=1)
    max_iter: int = Field(ge=1)
    max_leaf_nodes: int = Field(ge=2)
    min_samples_leaf: int = Field(ge=1)
    l2_regularization: float = Field(ge=0)


class EstimatorSettings(Frozen):
    """Section `estimator` of params.yaml: which one, and the settings of each."""

    name: Literal["logistic", "boosted"]
    logistic: Logistic
    boosted: Boosted


def build(settings: EstimatorSettings, schema: Schema) -> Any:
    """The unfitted estimator that `settings.name` selects."""
    if settings.name == "boosted":
        return _boosted(settings.boosted)
    return _logistic(settings.logistic, schema)


def _boosted(settings: Boosted) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Categories stay ordinal codes: `categorical_features` converts to a silently wrong ONNX graph.
    return HistGradientBoostingClassifier(random_state=SEED, early_stopping=False, **settings.model_dump())


def _logistic(settings: Logistic, schema: Schema) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = [
        at for at, column in enumerate(schema.columns) if column.type == "category" or column.name in _ONE_HOT_INTEGERS
    ]
    numeric = [at for at in range(len(schema.columns)) if at not in one_hot]
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = ColumnTransformer(
        [("one_hot", OneHotEncoder(handle_unknown="ignore"), one_hot), ("scaled", scaled, numeric)]
    )
    return Pipeline([("columns", columns), ("logistic", LogisticRegression(C=settings.C, max_iter=settings.max_iter))])
