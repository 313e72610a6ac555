import configparser
from pathlib import Path

from infra.local import cluster, control, forge, forward, gitea, store
from infra.local.components import State
from infra.local.gitea import Folders

SECRETS = {"secret": "one", "internal": "two", "jwt": "three"}


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("[DEFAULT]\n" + gitea.configuration(SECRETS))
    return parser


def test_server_listens_on_loopback_and_calls_nobody_else() -> None:
    found = settings()
    assert found["server"]["HTTP_ADDR"] == "127.0.0.1"
    assert found["webhook"]["ALLOWED_HOST_LIST"] == "loopback"
    assert found["actions"]["DEFAULT_ACTIONS_URL"] == "self"
    assert found["server"]["OFFLINE_MODE"] == "true"


def test_nobody_registers_by_himself() -> None:
    assert settings()["service"]["DISABLE_REGISTRATION"] == "true"


def test_secrets_are_given_so_that_the_server_makes_none() -> None:
    found = settings()
    given = (found["security"]["SECRET_KEY"], found["security"]["INTERNAL_TOKEN"], found["oauth2"]["JWT_SECRET"])
    assert given == tuple(SECRETS.values())


def test_address_is_the_same_inside_and_outside() -> None:
    ways = {way.port: (way.host, way.target or way.port) for way in forward.WAYS}
    assert ways[gitea.PORT] == ("127.0.0.1", gitea.PORT)
    assert ways[store.PORT] == ("127.0.0.1", store.PORT)
    assert settings()["server"]["ROOT_URL"] == f"http://127.0.0.1:{gitea.PORT}/"


def test_cluster_knows_its_components_and_installs_none(tmp_path: Path) -> None:
    known = {one.name for one in cluster.components(State(tmp_path / "cluster"))}
    assert set(forge.COMPONENTS) <= known
    started = {one.name for module in cluster.extensions() for one in module.components(State(tmp_path / "cluster"))}
    assert not started & set(forge.COMPONENTS)


def test_forge_is_beside_its_cluster(tmp_path: Path) -> None:
    assert Folders.of(State(tmp_path / "cluster")).root == tmp_path / "forge"


def test_forge_that_was_never_up_is_down(tmp_path: Path) -> None:
    state = State(tmp_path / "cluster")
    assert not control.running(state)
    assert not forge.status(state)["running"]
    forge.down(state, lambda _: None)
    forge.end(state, keep_state=False)
    assert not list(tmp_path.iterdir())
