"""Evidently's report is an option: without it nothing else is missed, and who asks for it is told how to get it."""

from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import UnavailableError
from pipeline.monitoring import evidently
from tests import monitored
from tests.observed import APRIL, line, store

without = pytest.mark.skipif(find_spec("evidently") is not None, reason="Evidently is installed here")


@without
def test_who_asks_for_it_is_told_how_to_get_it_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["observe", "--evidently"])
    assert isinstance(done.exception, UnavailableError)
    assert "pip install evidently" in str(done.exception)
    assert not (tmp_path / "build").exists()


def test_it_is_of_the_newest_28_days_before_the_day_that_is_looked_at(tmp_path: Path) -> None:
    kept = store(tmp_path)
    days = [APRIL + timedelta(days=back) for back in range(40)]
    kept.add_predictions([line(str(day), f"{day}T10:00:00Z", features={"temp": day.toordinal()}) for day in days])
    found = evidently.newest(kept, monitored.SCHEMA, days[35])
    assert found["temp"].tolist() == [day.toordinal() for day in days[7:35]]


def test_nothing_logged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nothing was logged in the 28 days before 2013-05-01"):
        evidently.newest(store(tmp_path), monitored.SCHEMA, date(2013, 5, 1))
