from pathlib import Path

import pytest

from pipeline.frames import TableError
from pipeline.monitoring.observation import Reading, Section, read_observation, section
from tests.observations import QUIET, observation

LOUD = Section(alarm=True, decision="alarm", reason="broken")
UNKNOWN = Section(alarm=False, decision="too little", reason="no labels")


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "observation.json"
    path.write_text(observation().model_dump_json())
    assert read_observation(path) == observation()


def test_an_older_one_without_the_list_of_broken_days_is_read(tmp_path: Path) -> None:
    path = tmp_path / "observation.json"
    path.write_text(observation().model_dump_json(exclude={"broken"}))
    assert read_observation(path).broken == ()


@pytest.mark.parametrize(
    ("decay", "feed", "code"),
    [
        (QUIET, QUIET, 0),
        (LOUD, QUIET, 1),
        (QUIET, LOUD, 1),
        (UNKNOWN, QUIET, 2),
        (UNKNOWN, LOUD, 1),
        (QUIET, UNKNOWN, 0),
    ],
)
def test_the_exit_code_tells_quiet_alarm_and_too_little(decay: Section, feed: Section, code: int) -> None:
    assert observation(decay=decay, feed=feed).exit_code == code


def test_any_alarm_is_the_sections_and_comes_before_too_little() -> None:
    readings = (
        Reading(name="a", value=1.0, reason="fine"),
        Reading(name="b", value=2.0, alarm=True, reason="b is off"),
    )
    found = section(readings, "quiet", "too few rows")
    assert (found.alarm, found.decision, found.reason) == (True, "alarm", "b is off")


def test_a_missing_file_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="run `flightline observe`"):
        read_observation(tmp_path / "observation.json")


def test_a_file_of_another_kind_names_its_fault(tmp_path: Path) -> None:
    (tmp_path / "observation.json").write_text('{"format": 2}')
    with pytest.raises(TableError, match=r"is not an observation: .*format"):
        read_observation(tmp_path / "observation.json")
