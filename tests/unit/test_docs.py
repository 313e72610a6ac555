from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

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
