from pathlib import Path

import pytest
import yaml

from pipeline.config import ConfigError
from pipeline.monitoring.config import Monitoring, read_monitoring
from tests.checkouts import PROJECT


def written(root: Path, monitoring: dict) -> Path:
    document = yaml.safe_load((PROJECT / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**document, "monitoring": monitoring}))
    return root


def test_the_shipped_section_says_what_the_defaults_are() -> None:
    shipped = yaml.safe_load((PROJECT / "params.yaml").read_text())["monitoring"]
    for part in ("feed", "decay", "play"):
        assert shipped[part] == Monitoring().model_dump(mode="json")[part]


def test_without_a_section_the_defaults_hold(tmp_path: Path) -> None:
    assert read_monitoring(written(tmp_path, {})) == Monitoring()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"feed": {"max_psy": 1}}, "params.yaml: monitoring.feed.max_psy: "),
        ({"decay": {"alarms_per_stream": 2}}, "monitoring.decay.alarms_per_stream"),
        ({"decay": {"days": 90}}, "days at most stream_days"),
        ({"decay": {"min_blocks": 29}}, "min_blocks must be at most days"),
    ],
)
def test_a_fault_names_file_and_field(tmp_path: Path, section: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml") as caught:
        read_monitoring(written(tmp_path, section))
    assert said in str(caught.value)
