import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pipeline.config import ConfigError, Gates, read_params, read_settings
from pipeline.slo import PATH, read_slo

PROJECT = Path(__file__).resolve().parents[3]


def broken(tmp_path: Path, change: dict[str, Any]) -> Path:
    document = yaml.safe_load((PROJECT / "params.yaml").read_text())
    document["gates"].update(change)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


@pytest.mark.flights
def test_shipped_params_are_read() -> None:
    assert datetime.date.fromisoformat(read_params(PROJECT).data["end"])


def test_shipped_params_state_every_threshold() -> None:
    stated = read_params(PROJECT).gates
    assert stated.model_fields_set == set(Gates.model_fields)
    for gate in (value for _, value in stated if isinstance(value, BaseModel)):
        assert gate.model_fields_set == set(type(gate).model_fields)


def test_misspelt_threshold_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gates.benchmark.margins: .*\(got 0.1\)"):
        read_params(broken(tmp_path, {"benchmark": {"margins": 0.1}}))


def test_threshold_out_of_range_is_named_with_its_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gates.benchmark.margin: .*greater than 0.*\(got -1\)"):
        read_params(broken(tmp_path, {"benchmark": {"margin": -1}}))


def test_day_that_there_is_not_is_named_with_its_field_and_the_fix(tmp_path: Path) -> None:
    """PyYAML says only that the month must be in 1..12."""
    (tmp_path / "params.yaml").write_text("data:\n  end: 2013-13-31\n")
    with pytest.raises(ConfigError, match=r"params\.yaml: data\.end: month .*\(got '2013-13-31'\); write a day"):
        read_params(tmp_path)


def test_override_without_an_expiry_date_is_refused(tmp_path: Path) -> None:
    override = {"gate": "load", "candidate": "0123456789ab", "reason": "a slow runner today"}
    with pytest.raises(ConfigError, match=r"gates.overrides.0.expires"):
        read_params(broken(tmp_path, {"overrides": [override]}))


def test_params_that_are_not_yaml_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: [")
    with pytest.raises(ConfigError, match=r"params\.yaml: not YAML"):
        read_params(tmp_path)


def test_outside_a_repository_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="top of the repository"):
        read_params(tmp_path)


def test_shipped_settings_are_read() -> None:
    assert read_settings(PROJECT).environments == ("staging", "production")


def test_shipped_slo_is_read_as_numbers() -> None:
    assert 0 < read_slo(PROJECT).p95_seconds < 1


def test_slo_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    (tmp_path / PATH).parent.mkdir(parents=True)
    shipped = (PROJECT / PATH).read_text()
    (tmp_path / PATH).write_text(re.sub(r"p95_seconds: .*", "p95_seconds: fast", shipped))
    with pytest.raises(ConfigError, match=r"p95_seconds: .*\(got 'fast'\)"):
        read_slo(tmp_path)
