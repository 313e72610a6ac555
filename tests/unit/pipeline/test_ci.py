import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline import ci
from pipeline.config import ConfigError, Settings, read_settings
from pipeline.errors import UnavailableError
from pipeline.registry import credentials

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def settings() -> Settings:
    return read_settings(PROJECT).model_copy(
        update={"repository": "https://github.com/Acme/ml.git", "registry": "ghcr.io/acme/ml"}
    )


@pytest.mark.parametrize(
    ("server", "name", "ours"),
    [
        ("https://github.com", "acme/ml", True),
        ("https://github.com/", "Acme/ML", True),
        ("https://github.com", "someone/ml", False),
        ("https://forge.example.com", "acme/ml", False),
    ],
)
def test_a_copy_of_the_repository_is_not_ours(settings: Settings, server: str, name: str, ours: bool) -> None:
    said, why = ci.here(settings, {"GITHUB_SERVER_URL": server, "GITHUB_REPOSITORY": name})
    assert said is ours
    assert ours or "set repository and registry" in why


def test_outside_of_a_workflow_nobody_can_say_whose_it_is(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="GITHUB_SERVER_URL is not set"):
        ci.here(settings, {})


def test_dvc_restores_from_the_trusted_remote_alone(settings: Settings, tmp_path: Path) -> None:
    ci.remote(tmp_path, settings, {})
    assert (tmp_path / ci.LOCAL).read_text().splitlines()[1:] == ["[core]", "    remote = trusted"]


def test_secret_lines_of_the_remote_are_its_owners_alone(settings: Settings, tmp_path: Path) -> None:
    said = ci.remote(tmp_path, settings, {ci.DVC_CONFIG: "password = hunter2\n"})
    path = tmp_path / ci.LOCAL
    assert path.read_text().endswith("['remote \"trusted\"']\npassword = hunter2\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hunter2" not in said


def test_a_job_that_has_no_secret_any_more_leaves_none(settings: Settings, tmp_path: Path) -> None:
    ci.remote(tmp_path, settings, {ci.DVC_CONFIG: "password = hunter2"})
    ci.remote(tmp_path, settings, {})
    assert "hunter2" not in (tmp_path / ci.LOCAL).read_text()


def test_a_persons_own_configuration_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / ci.LOCAL
    path.parent.mkdir()
    path.write_text("[core]\n    remote = mine\n")
    with pytest.raises(ConfigError, match="is yours"):
        ci.remote(tmp_path, settings, {})
    assert "mine" in path.read_text()


def test_a_login_is_where_docker_keeps_it(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"other": {"auth": "eDp5"}}}))
    said = ci.login(settings, {"DOCKER_CONFIG": str(tmp_path), ci.REGISTRY_USER: "ci", ci.REGISTRY_TOKEN: "s3:cret"})
    assert credentials("ghcr.io") == ("ci", "s3:cret")
    assert credentials("other") == ("x", "y")
    assert "s3:cret" not in said


def test_without_a_login_a_named_folder_has_an_empty_configuration(settings: Settings, tmp_path: Path) -> None:
    said = ci.login(settings, {"DOCKER_CONFIG": str(tmp_path / "docker")})
    assert "no login was given" in said
    assert json.loads((tmp_path / "docker/config.json").read_text()) == {}


@pytest.mark.parametrize(
    ("server", "host", "given"),
    [
        ("https://github.com", "ghcr.io", True),
        ("https://github.com", "registry.example.com", False),
        ("https://forge.example.com:3000", "forge.example.com:3000", True),
        ("https://forge.example.com:3000", "ghcr.io", False),
    ],
)
def test_the_built_in_token_goes_to_the_forges_own_registry_alone(server: str, host: str, given: bool) -> None:
    environ = {"GITHUB_SERVER_URL": server, "GITHUB_ACTOR": "bot", "GITHUB_TOKEN": "t"}
    assert ci.credentials(host, environ) == (("bot", "t") if given else None)


def test_half_a_login_is_refused() -> None:
    with pytest.raises(ConfigError, match="both FLIGHTLINE_REGISTRY_USER and FLIGHTLINE_REGISTRY_TOKEN"):
        ci.credentials("r.example.com", {ci.REGISTRY_TOKEN: "t"})


@pytest.fixture
def issuer() -> Iterator[str]:
    """A forge's OIDC endpoint: it gives a token that says for whom, to who has the request's token."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "Bearer request"
            audience = parse_qs(urlsplit(self.path).query)["audience"][0]
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"value": f"for {audience}"}).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/token?api-version=2"
    server.shutdown()


def test_the_jobs_identity_is_a_token_for_one_audience(issuer: str, tmp_path: Path) -> None:
    said = ci.identity(tmp_path, "sts.amazonaws.com", dict(zip(ci._ASK, (issuer, "request"), strict=True)))
    assert (tmp_path / ci.TOKEN).read_text() == "for sts.amazonaws.com"
    assert "for sts.amazonaws.com, for some minutes" in said


def test_an_identity_that_the_forge_refuses_is_no_identity(issuer: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="gives no OIDC token for a"):
        ci.identity(tmp_path, "a", dict(zip(ci._ASK, (issuer, "wrong"), strict=True)))
    assert not (tmp_path / ci.TOKEN).exists()


def test_a_job_without_the_permission_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="id-token: write"):
        ci.identity(tmp_path, "sts.amazonaws.com", {})


def test_no_audience_asks_for_nothing(tmp_path: Path) -> None:
    assert "no cloud" in ci.identity(tmp_path, "", {})


def test_a_cluster_that_was_not_given_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "there" / "kubeconfig"
    assert "cannot be confirmed" in ci.cluster({"KUBECONFIG": str(path), ci.CLUSTER: ""})
    assert not path.exists()
    ci.cluster({"KUBECONFIG": str(path), ci.CLUSTER: "apiVersion: v1\n"})
    assert path.read_text() == "apiVersion: v1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
