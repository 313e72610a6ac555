"""A fork made as docs/your-own-model.md says passes what a merge asks of it: its tests load, and it is linted."""

import re

import pytest

from tests.checkouts import Checkout, checkout
from tests.integration.test_forks import FORKS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The whole fork that the docs name, in place of the flights."""
    made = checkout(tmp_path_factory.mktemp("forked"))
    made.fork(FORKS / "grouped")
    return made


def test_every_module_of_tests_is_imported(forked: Checkout) -> None:
    found = forked.run("pytest", "--collect-only", "-q", "tests/unit", "tests/integration", check=False)
    assert found.returncode == 0, found.stdout[-5000:]


def test_tests_of_the_flights_are_skipped_and_say_why(forked: Checkout) -> None:
    found = forked.run("pytest", "-q", "tests/unit/pipeline/stages/test_train.py", "tests/integration/test_cli.py")
    assert re.search(r"^SKIPPED .*about the flights; the model here is purchases", found.stdout, flags=re.MULTILINE)
    assert re.search(r"^\d+ skipped in ", found.stdout, flags=re.MULTILINE)


def test_lint_and_types_ask_nothing_of_a_notebooks_code(forked: Checkout) -> None:
    """As `make lint` has it, its commands and this project's settings."""
    lint = forked.run("make", "--no-print-directory", "-n", "-o", ".venv/.dev", "lint").stdout.splitlines()
    assert [line.split()[0] for line in lint] == ["ruff", "ruff", "mypy"]
    for command in lint:
        forked.run(*command.split())
