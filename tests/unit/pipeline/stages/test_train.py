import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.flights

PROJECT = Path(__file__).resolve().parents[4]
FIT = """
import hashlib, sys
import numpy as np, pandas as pd, yaml
import model
from pipeline.graph import convert
from pipeline.stages.train import fit

params = yaml.safe_load(open("params.yaml"))
settings = {name: params[name] for name in ("data", "split", "estimator")}
settings["estimator"]["name"] = sys.argv[1]
flights = model.load(settings)
random, rows, columns = np.random.default_rng(0), 5000, {}
for one in flights.schema.columns:
    drawn = random.uniform(one.minimum or 0, one.maximum or 1, rows)
    columns[one.name] = random.choice(one.categories, rows) if one.type == "category" else drawn.round()
columns["temp"][::7] = np.nan
chance = 0.1 + 0.5 * (columns["hour"] > 12) + 0.3 * (columns["carrier"] == "UA")
frame = pd.DataFrame(columns).assign(late=(random.random(rows) < chance).astype(float))
fitted = fit(flights, frame)
print(hashlib.sha256(convert(fitted, len(columns)).SerializeToString(deterministic=True)).hexdigest())
"""


def fitted(name: str, threads: int, seed: int) -> str:
    """The hash of the graph that a process of its own makes."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(seed)}
    run = [sys.executable, "-c", FIT, name]
    return subprocess.run(run, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["logistic", "boosted"])
def test_graph_has_the_same_bytes_whatever_the_threads_and_the_hash_seed(name: str) -> None:
    assert fitted(name, threads=1, seed=0) == fitted(name, threads=4, seed=1)
