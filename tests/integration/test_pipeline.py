"""dvc.yaml as a DVC user meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.stages.bundle import CODE
from serving import bundle
from tests.checkouts import PROJECT, Checkout, checkout

pytestmark = pytest.mark.flights


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def version(made: Checkout) -> str:
    return bundle.version(made.root / "build/bundle")


def test_same_commit_gives_the_same_bundle_in_another_process_with_other_threads(
    reproduced: Checkout, tmp_path: Path
) -> None:
    again = checkout(tmp_path)
    again.run("dvc", "repro", OMP_NUM_THREADS="4", PYTHONHASHSEED="1")
    assert version(again) == version(reproduced)


def test_repro_with_nothing_changed_runs_nothing(reproduced: Checkout) -> None:
    assert stages_run(reproduced.run("dvc", "repro").stdout) == []


def test_changed_parameter_runs_only_what_depends_on_it(copy: Checkout) -> None:
    before = version(copy)
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.2))
    assert stages_run(copy.run("dvc", "repro").stdout) == ["train", "evaluate", "bundle"]
    assert version(copy) != before


def test_changed_threshold_of_a_gate_runs_nothing(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["gates"]["benchmark"].update(margin=0.05))
    assert stages_run(copy.run("dvc", "repro").stdout) == []


def test_dvc_shows_what_changed(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.001))
    copy.run("dvc", "repro")
    changed = json.loads(copy.run("dvc", "metrics", "diff", "--json").stdout)
    assert "loss" in changed["build/evaluation/metrics.json"]
    parameters = json.loads(copy.run("dvc", "params", "diff", "--json").stdout)
    assert parameters["params.yaml"]["estimator.logistic.C"]["new"] == 0.001
    page = copy.run("dvc", "plots", "diff", "HEAD").stdout.strip()
    assert all(name in Path(page.removeprefix("file://")).read_text() for name in ("Calibration", "ROC"))


def test_experiment_runs_and_is_listed(copy: Checkout) -> None:
    copy.run("dvc", "exp", "run", "--name", "weaker", "-S", "estimator.logistic.C=0.01")
    assert "weaker" in copy.run("dvc", "exp", "show", "--no-pager", "--csv").stdout


def test_pushed_outputs_come_back_in_a_fresh_clone(copies: Callable[[str], Checkout], tmp_path: Path) -> None:
    first = copies("first")
    first.run("dvc", "push", "-q")
    assert any((first.root / ".remotes/work").iterdir())
    first.run("git", "clone", "-q", str(first.root), str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone")
    clone.run("dvc", "remote", "add", "-f", "--local", "work", str(first.root / ".remotes/work"))
    clone.run("dvc", "pull", "-q")
    assert version(clone) == version(first)
    assert stages_run(clone.run("dvc", "repro").stdout) == []


def test_clone_cannot_read_what_was_pushed_to_work_as_trusted(copies: Callable[[str], Checkout]) -> None:
    made = copies("made")
    made.run("dvc", "push", "-q")
    assert made.run("dvc", "status", "--cloud", "--remote", "trusted").stdout.count("new:") > 0


def test_code_in_the_bundles_hash_is_what_the_bundle_stage_depends_on() -> None:
    stage = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["bundle"]
    assert set(CODE) <= set(stage["deps"])


def test_renamed_column_at_the_source_stops_prepare_by_name(copy: Checkout) -> None:
    code = copy.root / "model/source.py"
    code.write_text(code.read_text().replace("return pd.read_csv(Path(", "return _renamed(Path(", 1) + RENAME)
    failed = copy.run("dvc", "repro", check=False)
    assert failed.returncode != 0
    assert "table 'flights' has no column 'arr_delay'" in failed.stderr + failed.stdout
    assert "Traceback" not in failed.stderr + failed.stdout


RENAME = """

def _renamed(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).rename(columns={"arr_delay": "arrival_delay"})
"""


def test_truncated_table_on_disk_is_refused_and_the_next_run_mends_it(copy: Checkout) -> None:
    table = copy.root / "build/raw/flights.csv"
    table.chmod(0o644)
    table.write_bytes(table.read_bytes()[:1_000_000])
    failed = copy.run("flightline", "prepare", check=False)
    assert failed.returncode == 65
    assert "cut short or changed" in failed.stderr
    before = version(copy)
    copy.run("dvc", "repro")
    assert version(copy) == before


def test_celsius_is_stopped_by_the_data_gate(copy: Checkout) -> None:
    def celsius(code: str) -> str:
        return code.replace(
            'weather = weather[["origin", "time_hour", *_WEATHER_COLUMNS]]',
            'weather = weather.assign(temp=(weather["temp"] - 32) / 1.8)[["origin", "time_hour", *_WEATHER_COLUMNS]]',
        )

    path = copy.root / "model/source.py"
    assert celsius(path.read_text()) != path.read_text()
    path.write_text(celsius(path.read_text()))
    copy.run("dvc", "repro")
    judged = copy.run("flightline", "gate", "data", check=False)
    assert judged.returncode == 1
    assert "dew point" in judged.stdout
    assert "changed unit" in judged.stdout
