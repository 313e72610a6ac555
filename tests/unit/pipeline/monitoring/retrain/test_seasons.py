"""Why nothing was proposed, as far as the columns tell."""

import pytest

from pipeline.monitoring.observation import Reading, Section
from pipeline.monitoring.retrain.seasons import unlearnt
from tests.observations import observation


def said(**psi: tuple[float | None, str]) -> str:
    readings = tuple(Reading(name=name, value=value, reason=kind) for name, (value, kind) in psi.items())
    drift = Section(alarm=False, decision="quiet", reason="", readings=readings)
    return unlearnt(observation(drift=drift), 0.2)


def test_columns_that_seasons_move_are_named_and_the_history_is_too_short() -> None:
    found = said(temp=(2.3, "seasonal"), dewp=(1.4, "seasonal"), visib=(0.1, "seasonal"), origin=(0.01, "stable"))
    assert found == "the change looks seasonal (only temp, dewp moved far), and is not learnable from this history"


def test_stable_column_that_moved_is_no_season() -> None:
    assert said(temp=(2.3, "seasonal"), dest=(0.3, "stable")).startswith("dest moved, which no season moves")


@pytest.mark.parametrize("value", [None, 0.2])
def test_nothing_moved(value: float | None) -> None:
    assert said(temp=(value, "seasonal"), score=(9.0, "against the held-out rows")).startswith("no column moved far")
