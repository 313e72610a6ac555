"""bundle: graph, signature, figures, reference distributions, golden rows and card, sealed as one folder."""

import hashlib
import json
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
from pipeline.frames import HOLDOUT, PART, TRAIN, read_rows, sha256, write_json
from pipeline.graph import stamp
from pipeline.stages.train import matrix
from serving import bundle
from serving.signature import Signature, encode

GOLDEN_ROWS = 16
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
    """One hash over what trains the model; thresholds of gates do not change a model."""
    return _hash_of(json.dumps(params.model_dump(mode="json", exclude={"gates"}), sort_keys=True))


def reference(model: Model, rows: pd.DataFrame, target: Path) -> Mapping[str, Any]:
    """What later traffic is compared with: per feature and for the score, binned counts and quantiles. No rows."""
    train, holdout = rows[rows[PART] == TRAIN], rows[rows[PART] == HOLDOUT]
    scores = _score(target, matrix(model, holdout))
    return {
        "rows": {"train": len(train), "holdout": len(holdout)},
        "features": {column.name: _distribution(column, train[column.name]) for column in model.schema.columns},
        "score": _numbers(scores, np.histogram_bin_edges(scores, SCORE_BINS)),
        "relations": {one.name: float((~one.holds(train)).mean()) for one in model.schema.relations},
    }


def golden(agreed: Signature, target: Path) -> Mapping[str, Any]:
    """Synthetic rows drawn within the schema, every null and "other" that is allowed among them, and their scores."""
    random = np.random.default_rng(SEED)
    rows = {one.name: [_draw(one, random, at) for at in range(GOLDEN_ROWS)] for one in agreed.inputs}
    return {"rows": rows, "scores": [float(score) for score in _score(target, encode(agreed, rows))]}


def _draw(one: Any, random: np.random.Generator, at: int) -> Any:
    if one.nullable and at == 0:
        return None
    if one.type == "category":
        return str(random.choice(one.categories))
    low = one.minimum if one.minimum is not None else 0.0
    high = one.maximum if one.maximum is not None else low + 1.0
    return (
        int(random.integers(int(low), int(high) + 1)) if one.type == "integer" else round(random.uniform(low, high), 3)
    )


def _score(target: Path, encoded: Floats) -> Floats:
    session = bundle.open_session(target / "model.onnx")
    scores: Floats = session.run([bundle.GRAPH_OUTPUT], {bundle.GRAPH_INPUT: encoded})[0].reshape(-1)
    return scores


def _distribution(column: Column, values: "pd.Series[Any]") -> Mapping[str, Any]:
    if column.type == "category":
        counts = values.value_counts()
        return {"type": "category", "counts": {str(name): int(counts[name]) for name in sorted(counts.index)}}
    numbers = values.dropna().to_numpy(np.float64)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, QUANTILES + 1))) if len(numbers) else np.array([0.0, 1.0])
    return {"type": column.type, "nulls": int(values.isna().sum()), **_numbers(numbers, edges)}


def _numbers(values: Floats, edges: Floats) -> dict[str, Any]:
    """Counts between edges; a single edge (a constant) keeps one bin of its own."""
    edges = edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1.0])
    counts, _ = np.histogram(values, edges)
    return {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}


def _python_files(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("*.py"))


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
