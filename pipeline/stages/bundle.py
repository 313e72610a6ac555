"""bundle: graph, signature, figures, reference distributions, golden rows and card, sealed as one folder."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd

from model.contract import Column, Floats, Model
from pipeline import paths, signature
from pipeline.card import model_card
from pipeline.config import Params
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, read_rows, sha256, write_json
from pipeline.graph import stamp
from pipeline.stages import blocks
from pipeline.stages.train import matrix
from serving import bundle
from serving.signature import Input, Signature, encode

# Golden rows of each kind; where more columns can be null, or "other", they share rows.
NULL_ROWS, OTHER_ROWS, RANDOM_ROWS = 16, 8, 8
SCORE_BINS = 20
QUANTILES = 10
SEED = 0
# Where a change may change the model; also the dependencies of the stages in dvc.yaml (a test holds them together).
CODE = (
    "model",
    "pipeline/card.py",
    "pipeline/config.py",
    "pipeline/context.py",
    "pipeline/frames.py",
    "pipeline/graph.py",
    "pipeline/signature.py",
    "pipeline/stages",
    "pipeline/text.py",
    "serving/bundle.py",
    "serving/signature.py",
)


def run(context: Context) -> None:
    """build/rows, build/model, build/evaluation -> build/bundle."""
    model, root = context.model, context.root
    target = root / paths.BUNDLE
    target.mkdir(parents=True, exist_ok=True)
    agreed = signature.of_model(model.card, model.schema)
    (target / "signature.json").write_bytes(msgspec.json.format(msgspec.json.encode(agreed)) + b"\n")
    graph = stamp(onnx.load(root / paths.MODEL), bundle.sha256(target / "signature.json"))
    (target / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    rows = read_rows(root / paths.ROWS, model.schema)
    figures = {**json.loads((root / paths.METRICS).read_text()), "split": json.loads((root / paths.SPLIT).read_text())}
    estimator = str(context.params.estimator.get("name", "estimator"))
    write_json(target / "metrics.json", {**figures, "estimator": estimator})
    write_json(target / "inputs.json", inputs(context))
    write_json(target / "reference.json", reference(model, rows, target))
    write_json(target / "golden.json", golden(agreed, target))
    (target / "MODEL_CARD.md").write_text(model_card(model.card, model.schema, figures, context.params.estimator))
    bundle.seal(target)


def inputs(context: Context) -> Mapping[str, Any]:
    """Hashes of all that made this bundle: data, code, parameters, locked packages. Not when, where or by whom."""
    root = context.root
    return {
        "data": sha256(root / paths.ROWS),
        "code": code_hash(root),
        "parameters": hash_of_parameters(context.params),
        "requirements": sha256(root / paths.TRAIN_REQUIREMENTS),
    }


def code_hash(root: Path) -> str:
    """One hash over every Python file in CODE, by name and content."""
    files = [file for place in CODE for file in _python_files(root / place)]
    return hash_of_files({file.relative_to(root).as_posix(): file.read_bytes() for file in files})


def hash_of_files(files: Mapping[str, bytes]) -> str:
    """One hash over files by name and content, whatever order they come in."""
    return _hash_of("".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)))


def hash_of_parameters(params: Params) -> str:
    """One hash over what trains the model; thresholds of gates and of monitoring do not change a model."""
    return _hash_of(json.dumps(params.model_dump(mode="json", include={"data", "split", "estimator"}), sort_keys=True))


def reference(model: Model, rows: pd.DataFrame, target: Path) -> Mapping[str, Any]:
    """What later traffic is compared with: binned counts per feature and of the score, sums per held-out block."""
    train, holdout = rows[rows[PART] == TRAIN], rows[rows[PART] == HOLDOUT]
    scores = _score(target, matrix(model, holdout))
    baseline = model.baseline(train[model.schema.label].to_numpy())
    days = _event_days(train[model.schema.event_time]) if model.schema.event_time else None
    return {
        "blocks": blocks.described(model, holdout, scores, baseline),
        "rows": {"train": len(train), "holdout": len(holdout)},
        "features": {one.name: _distribution(one, train[one.name], days) for one in model.schema.columns},
        "score": _numbers(scores, np.histogram_bin_edges(scores, SCORE_BINS)),
        "relations": {one.name: float((~one.holds(train)).mean()) for one in model.schema.relations},
    }


def golden(agreed: Signature, target: Path) -> Mapping[str, Any]:
    """Synthetic rows drawn within the schema, every null and "other" that is allowed among them, and their scores.

    Raises TableError where a score is no number: the schema allows what the estimator cannot take.
    """
    rows = golden_rows(agreed)
    scores = [float(score) for score in _score(target, encode(agreed, rows))]
    for at, score in enumerate(scores):
        if not math.isfinite(score):
            row = {name: values[at] for name, values in rows.items()}
            raise TableError(
                f"the model scores {score} for a row that model/'s schema allows: {json.dumps(row)}. Let the estimator "
                "take such rows (an imputer, where a value is null), or take nullable or the limits from the column"
            )
    return {"rows": rows, "scores": scores}


def golden_rows(agreed: Signature) -> dict[str, list[Any]]:
    """Legal values by column: a row per column that can be null, a row per one that can be "other", then random ones.

    At most 32 rows, the same every time.
    """
    nulls = [one for one in agreed.inputs if one.nullable]
    others = [one for one in agreed.inputs if one.type == "category" and one.unseen == "other"]
    null_rows, other_rows = min(len(nulls), NULL_ROWS), min(len(others), OTHER_ROWS)
    random = np.random.default_rng(SEED)
    count = null_rows + other_rows + RANDOM_ROWS
    rows = {one.name: [_draw(one, random) for _ in range(count)] for one in agreed.inputs}
    for at, one in enumerate(nulls):
        rows[one.name][at % null_rows] = None
    for at, one in enumerate(others):
        rows[one.name][null_rows + at % other_rows] = _unseen(one)
    return rows


def _draw(one: Input, random: np.random.Generator) -> Any:
    if one.type == "category":
        return str(random.choice(one.categories))
    low, high = _bounds(one)
    if one.type == "integer":
        return int(random.integers(math.ceil(low), math.floor(high), endpoint=True))
    return min(max(round(random.uniform(low, high), 3), low), high)


def _bounds(one: Input) -> tuple[float, float]:
    """Its limits; where one is open, zero or a step away from the other."""
    low = one.minimum if one.minimum is not None else min(0.0, (1.0 if one.maximum is None else one.maximum) - 1)
    return low, one.maximum if one.maximum is not None else low + 1


def _unseen(one: Input) -> str:
    """A text that is none of its categories."""
    text = "other?"
    while text in one.categories:
        text += "?"
    return text


def _score(target: Path, encoded: Floats) -> Floats:
    return bundle.run(bundle.open_session(target / "model.onnx"), encoded)


def _event_days(times: "pd.Series[Any]") -> "pd.Series[Any]":
    """Days in UTC, as monitoring counts them; NaT where a time cannot be read, which the data gate refuses."""
    return pd.to_datetime(times, utc=True, errors="coerce", format="ISO8601").dt.normalize()


def _distribution(column: Column, values: "pd.Series[Any]", days: "pd.Series[Any] | None" = None) -> Mapping[str, Any]:
    nulls = int(values.isna().sum())
    if column.type == "category":
        counts = values.value_counts()
        counted = {str(name): int(counts[name]) for name in sorted(counts.index)}
        came = {} if days is None else {"on_days": _on_days(values, days)}
        return {"type": "category", "nulls": nulls, "counts": counted, **came}
    numbers = values.dropna().to_numpy(np.float64)
    edges = _edges(numbers) if len(numbers) else np.array([0.0, 1.0])
    return {"type": column.type, "nulls": nulls, **_numbers(numbers, edges)}


def _on_days(values: "pd.Series[Any]", days: "pd.Series[Any]") -> Mapping[str, float]:
    """By category the share of rows that lie on days on which it came: 1 where it comes every day.

    Of rows rather than days, as a window begins and ends with part of a day.
    """
    came = pd.DataFrame({"day": days, "name": values}).dropna()
    rows = came["day"].value_counts()
    once = came.drop_duplicates()
    shares = once["day"].map(rows).groupby(once["name"]).sum() / len(came)
    return {str(name): round(float(shares[name]), 4) for name in sorted(shares.index)}


def _edges(numbers: Floats) -> Floats:
    """A bin for each value where there are few, else by quantiles; a value as common as a bin has one of its own.

    By quantiles alone, zeros and ones would be one bin, and so would a column of zeros with a few other values.
    """
    distinct, times = np.unique(numbers, return_counts=True)
    if 1 < len(distinct) <= QUANTILES:
        return _halfway(distinct)
    common = distinct[times * QUANTILES >= len(numbers)]
    rest = numbers[~np.isin(numbers, common)]
    bins = max(round(QUANTILES * len(rest) / len(numbers)), 1)
    inner = np.quantile(rest, np.linspace(0, 1, bins + 1)[1:-1]) if len(rest) else rest
    edges: Floats = np.unique([distinct[0], *inner, *common, *np.nextafter(common, np.inf), distinct[-1]])
    return edges


def _halfway(distinct: Floats) -> Floats:
    between = (distinct[:-1] + distinct[1:]) / 2
    return np.concatenate([[2 * distinct[0] - between[0]], between, [2 * distinct[-1] - between[-1]]])


def _numbers(values: Floats, edges: Floats) -> dict[str, Any]:
    """Counts between edges."""
    counts, _ = np.histogram(values, edges)
    return {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}


def _python_files(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("*.py"))


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
