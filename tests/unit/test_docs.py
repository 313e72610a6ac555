import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.monitoring import metrics
from pipeline.monitoring.keeping import Keeping
from serving.bundle import load
from serving.metrics import Metrics
from tests import bundles

ROOT = Path(__file__).resolve().parents[2]
GATES = yaml.safe_load((ROOT / "params.yaml").read_text())["gates"]
OBJECTIVES = yaml.safe_load((ROOT / "k8s/base/slo.yaml").read_text())["data"]
DOCUMENT = (ROOT / "docs/gates.md").read_text()


def keys(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{name}.")


@pytest.mark.parametrize("key", list(keys(GATES, "gates.")))
def test_every_threshold_of_a_gate_is_explained(key: str) -> None:
    """A section or list by its full name, a threshold within the text of its own gate."""
    _, gate, *threshold = key.split(".")
    text = next((part for part in DOCUMENT.split("\n## ") if f"`gates.{gate}`" in part), "")
    assert (f"`{threshold[0]}`" if threshold else f"`gates.{gate}`") in text


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_the_load_gate_judges_by_is_named(objective: str) -> None:
    assert f"`{objective}`" in DOCUMENT


def test_every_series_of_server_and_monitoring_is_in_the_docs(tmp_path: Path) -> None:
    bundles.write(tmp_path / "bundle")
    exposed = Metrics(load(tmp_path / "bundle"), dict.fromkeys(OBJECTIVES, 1.0)).render().decode()
    names = set(re.findall(r"^# TYPE (\w+)", exposed, flags=re.MULTILINE)) | set(metrics._HELP)
    text = (ROOT / "docs/metrics.md").read_text()
    assert len(names) > 20
    assert {name for name in names if f"`{name}" not in text} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_every_page_that_a_page_links_is_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+\.md)", path.read_text()):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("field", Keeping.model_fields)
def test_every_setting_of_the_store_is_explained_and_shown(field: str) -> None:
    assert f"`{field}`" in (ROOT / "docs/labels.md").read_text()
    assert field in yaml.safe_load((ROOT / "params.yaml").read_text())["monitoring"]
