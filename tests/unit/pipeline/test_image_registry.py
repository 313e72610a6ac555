import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from pipeline import image, oci, registry
from pipeline.gates.load_server import free_port
from pipeline.oci import ImageError, Layout
from tests import bundles, images

USER, PASSWORD = "ci", "for-tests-only"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with images.registry(tmp_path / "server") as address:
        yield address


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundles.write(tmp_path / "bundle")
    return tmp_path / "bundle"


def pushed(host: str, tmp_path: Path, repository: str = "code") -> str:
    """A code image in a registry, named by digest."""
    images.write_code(tmp_path / "code")
    origin, target = Layout(tmp_path / "code"), registry.Registry(host, repository)
    found = oci.read(origin, "")
    oci.copy(found, origin, target)
    return f"{host}/{repository}@{found.manifest.descriptor.digest}"


def test_bundle_is_appended_within_a_registry(host: str, bundle: Path, tmp_path: Path) -> None:
    code = pushed(host, tmp_path)
    made = image.append(code, bundle, f"{host}/served")
    assert image.inspect(f"{host}/served:{made.bundle[:12]}") == image.inspect(made.reference) == made


def test_registry_and_layout_give_the_same_digest(host: str, bundle: Path, tmp_path: Path) -> None:
    there = image.append(pushed(host, tmp_path), bundle, f"{host}/code")
    here = image.append(f"oci:{tmp_path / 'code'}", bundle, f"oci:{tmp_path / 'out'}")
    assert there.digest == here.digest


def test_image_comes_back_from_a_registry_whole(host: str, bundle: Path, tmp_path: Path) -> None:
    made = image.append(pushed(host, tmp_path), bundle, f"oci:{tmp_path / 'out'}")
    assert image.inspect(f"oci:{tmp_path / 'out'}@{made.digest}").size == made.size


def test_manifest_that_is_not_there_is_named(host: str, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"no manifest sha256:{'0' * 64}"):
        image.append(f"{host}/code@sha256:{'0' * 64}", bundle, f"oci:{tmp_path / 'out'}")


def test_registry_that_is_not_there_is_named(bundle: Path, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(ImageError, match=f"{nowhere}: the registry cannot be reached"):
        image.append(f"{nowhere}/code@sha256:{'0' * 64}", bundle, f"oci:{tmp_path / 'out'}")


def test_blob_changed_in_the_registrys_storage_is_refused(host: str, bundle: Path, tmp_path: Path) -> None:
    code = pushed(host, tmp_path)
    (layer,) = oci.read(Layout(tmp_path / "code"), "").layers
    (stored,) = (tmp_path / "server" / "registry").rglob(f"{layer.digest[7:]}/data")
    stored.write_bytes(b"\0" * layer.size)
    with pytest.raises(ImageError, match=f"{layer.digest}: the bytes found are"):
        image.append(code, bundle, f"oci:{tmp_path / 'out'}")


class Guarded(BaseHTTPRequestHandler):
    """A registry's front door, busy at first: a token for whoever knows the password, nothing behind it."""

    busy = 2

    def do_GET(self) -> None:
        if Guarded.busy:
            Guarded.busy -= 1
            self._answer(503, {})
            return
        login = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            self._answer(200 if given == login else 401, {"token": "good"})
        elif given != "Bearer good":
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="test",scope="repository:code:pull"'
            self._answer(401, {}, ("WWW-Authenticate", realm))
        else:
            self._answer(404, {})

    def _answer(self, status: int, body: object, *headers: tuple[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing to say."""


@pytest.fixture
def guarded() -> Iterator[str]:
    Guarded.busy = 2
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def log_in(folder: Path, host: str, password: str) -> None:
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))


def test_busy_registry_is_asked_again_and_a_token_got_with_the_login_docker_kept(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(tmp_path / "docker", guarded, PASSWORD)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with pytest.raises(ImageError, match="no manifest latest"):
        image.inspect(f"{guarded}/code:latest")


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_a_good_login_the_fix_is_named(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    if password:
        log_in(tmp_path / "docker", guarded, password)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with pytest.raises(ImageError, match=f"log in with `docker login {guarded}`"):
        image.inspect(f"{guarded}/code:latest")


def test_plain_http_is_for_loopback_alone() -> None:
    assert not registry.LOOPBACK.fullmatch("registry.example.com:5000")
    assert not registry.LOOPBACK.fullmatch("127.0.0.1.example.com")
    assert registry.LOOPBACK.fullmatch("127.0.0.1:5000")


def test_pushing_twice_sends_no_blob_twice(
    host: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, sent = pushed(host, tmp_path), []
    image.append(code, bundle, f"{host}/code")
    real = requests.Session.request

    def noted(session: requests.Session, method: str, address: str, **details: object) -> requests.Response:
        sent.append((method, address))
        return real(session, method, address, **details)  # type: ignore[arg-type]

    monkeypatch.setattr(requests.Session, "request", noted)
    image.append(code, bundle, f"{host}/code")
    assert not [one for one in sent if one[0] == "POST"]
