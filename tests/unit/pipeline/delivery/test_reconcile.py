"""What makes an event worth a look, from main alone."""

import pytest

from pipeline.config import read_settings
from pipeline.delivery.reconcile import Hint, environment, unfounded
from tests.checkouts import PROJECT
from tests.unit.pipeline.delivery.releases import name


@pytest.mark.parametrize(
    ("said", "meant"),
    [("staging", "staging"), ("flightline-production", "production"), ("flightline", ""), ("", ""), ("../x", "")],
)
def test_environment_is_known_by_its_name_or_its_namespace(said: str, meant: str) -> None:
    assert environment(read_settings(PROJECT), said) == meant


@pytest.mark.parametrize(
    ("event", "identity", "released", "why"),
    [
        ("aborted", name("A"), name("A"), None),
        ("aborted", name("A"), name("B"), f"{name('B')[:12]} is"),
        ("aborted", name("A"), "", "nothing is"),
        ("aborted", name("A")[:12], name("A"), "is no identity"),
        ("", name("A"), name("A"), "is no event"),
        ("Aborted", name("A"), name("A"), "aborted, paused, completed"),
    ],
)
def test_only_what_main_releases_is_acted_on(event: str, identity: str, released: str, why: str | None) -> None:
    found = unfounded(Hint(event=event, environment="staging", identity=identity), "staging", released)
    assert found is None if why is None else why in (found or "")
