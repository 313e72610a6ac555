"""Tests of the example are skipped where the model is another's."""

from functools import cache

import pytest

from pipeline.context import Context
from tests.checkouts import PROJECT


@cache
def name_of_the_model() -> str:
    """The name on this checkout's model card; what learns is imported only where a test of the example asks."""
    return Context(PROJECT).model.card.name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip before any fixture is made: some train."""
    if item.get_closest_marker("flights") and name_of_the_model() != "flight-delays":
        pytest.skip(f"about the flights; the model here is {name_of_the_model()}")
