from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import BenchmarkGate, read_params
from pipeline.monitoring.play.after import against
from pipeline.monitoring.shadow import Logged
from tests import monitored
from tests.checkouts import PROJECT

LIMITS: BenchmarkGate = read_params(PROJECT).gates.benchmark


def logged(path: Path, days: int, shift: float) -> Logged:
    """Days of rows from 20 May; the model that answered gives as the old one does, and `shift` more."""
    first = date(2013, 5, 20)
    rows = [
        monitored.rows_of(day, at, path).assign(day=day)
        for at, day in enumerate(first + timedelta(days=each) for each in range(days))
    ]
    frame = pd.concat(rows, ignore_index=True)
    return Logged(frame.assign(score=np.clip(frame["score"] + shift, 0.01, 0.99)), "new")


def test_a_new_model_that_gives_what_the_old_one_gave_is_as_good(tmp_path: Path) -> None:
    old = monitored.write_bundle(tmp_path / "old")
    total, months = against(monitored.Toy(), logged(old.path, 40, 0.0), old, LIMITS)  # type: ignore[arg-type]
    assert total is not None
    assert abs(total.difference) < 1e-6
    assert (total.days, total.rows) == (40, 40 * monitored.ROWS_A_DAY)
    assert [(one.first.month, one.days) for one in months] == [(5, 12), (6, 28)]
    assert months[0].interval is None, "twelve days are too few"


def test_the_difference_is_new_less_old_with_the_interval_of_days(tmp_path: Path) -> None:
    old = monitored.write_bundle(tmp_path / "old")
    total, _ = against(monitored.Toy(), logged(old.path, 40, 0.4), old, LIMITS)  # type: ignore[arg-type]
    assert total is not None
    assert total.interval is not None
    assert 0 < total.interval[0] < total.difference < total.interval[1]
    assert total.new - total.old == np.float64(total.difference) or abs(total.new - total.old - total.difference) < 1e-9


def test_without_a_row_that_carries_a_loss_nothing_is_said(tmp_path: Path) -> None:
    old = monitored.write_bundle(tmp_path / "old")
    rows = logged(old.path, 2, 0.0)
    nothing = replace(rows, frame=rows.frame.assign(late=np.nan))
    assert against(monitored.Toy(), nothing, old, LIMITS) == (None, ())  # type: ignore[arg-type]
