"""Other shapes of model: swapped into a checkout as a user would, and run from rows to verdict."""

import json
from pathlib import Path

from tests.checkouts import Checkout, checkout

FORKS = Path(__file__).resolve().parents[1] / "forks"


def fork(name: str, root: Path) -> Checkout:
    made = checkout(root)
    made.fork(FORKS / name)
    made.run("dvc", "repro")
    return made


def test_regression_fork_runs_from_rows_to_a_passing_benchmark(tmp_path: Path) -> None:
    made = fork("regression", tmp_path)
    metrics = json.loads((tmp_path / "build/evaluation/metrics.json").read_text())
    assert metrics["mean_absolute_error"] < metrics["baseline"]["loss"]
    assert "roc_auc" not in metrics
    signature = json.loads((tmp_path / "build/bundle/signature.json").read_text())
    assert (signature["task"], signature["output"]["unit"]) == ("regression", "min")
    judged = made.run("flightline", "gate", "data", "benchmark", "differential", check=False)
    assert "PASS  data" in judged.stdout
    assert "PASS  benchmark" in judged.stdout
    assert "PASS  differential" in judged.stdout


def test_fork_without_event_time_is_held_out_by_group_and_passes(tmp_path: Path) -> None:
    made = fork("grouped", tmp_path)
    assert json.loads((tmp_path / "build/rows/split.json").read_text())["kind"] == "group"
    judged = made.run("flightline", "gate", "data", "benchmark", "differential")
    assert judged.stdout.count("PASS") == 3


def test_300_rows_are_inconclusive_and_say_what_is_needed(tmp_path: Path) -> None:
    judged = fork("tiny", tmp_path).run("flightline", "gate", "benchmark", check=False)
    assert judged.returncode == 2
    assert "INCONCLUSIVE" in judged.stdout
    assert "20" in judged.stdout
