"""Where everything is, relative to the top of the repository."""

from pathlib import Path

PARAMS = Path("params.yaml")
BUILD = Path("build")

RAW = BUILD / "raw"
ROWS = BUILD / "rows" / "rows.csv"
SPLIT = BUILD / "rows" / "split.json"
MODEL = BUILD / "model" / "model.onnx"
ESTIMATOR_SCORES = BUILD / "model" / "estimator_scores.csv"
METRICS = BUILD / "evaluation" / "metrics.json"
PLOTS = BUILD / "evaluation" / "plots"
BUNDLE = BUILD / "bundle"

VERDICT = BUILD / "verdict.json"
PRODUCTION_BUNDLE = BUILD / "production"
LOCK = BUILD / "run.lock"

RELEASES = Path("k8s/releases")
TRAIN_REQUIREMENTS = Path("requirements/train.txt")
