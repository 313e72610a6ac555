import pytest
import yaml

from infra.local import forge, gitea, protection
from infra.local.components import PROJECT
from infra.local.members import BOT, CLUSTER, PEOPLE, Credentials, KeyPair
from infra.local.protection import Mode
from pipeline.config import read_yaml

SETTINGS = read_yaml(PROJECT / protection.SETTINGS)


@pytest.fixture
def credentials() -> Credentials:
    pair = KeyPair(public="public", private="private", password="secret")  # noqa: S106 - of nothing
    tokens = {name: f"token of {name}" for name in PEOPLE}
    return Credentials(server={}, passwords={}, store="secret of the store", signing=pair, tokens=tokens)


def test_secrets_are_among_those_that_the_settings_list(credentials: Credentials) -> None:
    given = forge.secrets(credentials, "a kubeconfig")
    assert given.keys() <= SETTINGS["environments"]["main"]["secrets"].keys()
    assert given["FLIGHTLINE_APP_KEY"] == f"token of {BOT}"
    assert "secret of the store" in given["FLIGHTLINE_DVC_CONFIG"]


@pytest.mark.parametrize(("mode", "bot"), [("bypass", True), ("pull-request", False)])
def test_variables_are_among_those_that_the_settings_list(mode: Mode, bot: bool) -> None:
    given = forge.variables(mode)
    assert given.keys() <= SETTINGS["variables"].keys()
    assert bool(given[forge.APP]) is bot


def test_tests_that_the_forge_runs_are_there() -> None:
    assert all((PROJECT / path).exists() for path in forge.TESTS.split())


def test_cluster_notifies_the_repository_with_the_token_that_can_do_least(credentials: Credentials) -> None:
    secret = yaml.safe_load(forge.notifications(credentials))["stringData"]
    assert secret == {"flightline-url": gitea.REPOSITORY_API, "flightline-token": f"token of {CLUSTER}"}
