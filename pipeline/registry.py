"""A repository of an OCI registry, over HTTP: what `append` needs of the distribution specification (v1.1) and no more.

Credentials come from where `docker login` leaves them. Plain HTTP is used on loopback alone.
"""

import base64
import json
import os
import re
import subprocess
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Blob,
    Descriptor,
    ImageError,
    Store,
    checked_manifest,
    copy_checked,
)

LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")
DOCKER_HUB = "docker.io"
ACCEPT = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
RETRIES = Retry(
    total=4,
    connect=1,
    backoff_factor=0.3,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
    raise_on_status=False,
)
_TIMEOUT = (5.0, 120.0)
_ABSENT = 404
_UNAUTHORIZED = 401


def _session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
    return session


@dataclass(frozen=True)
class Registry:
    """One repository: `host` with its port, `repository` by its path. The session keeps connections and the token."""

    host: str
    repository: str
    session: requests.Session = field(default_factory=_session, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.session.trust_env = not LOOPBACK.fullmatch(self.host)  # a proxy is never asked for this machine

    def manifest(self, reference: str) -> Blob:
        """The manifest or index of a digest or tag."""
        answer = self._ask("GET", f"manifests/{reference}", (200, _ABSENT), headers={"Accept": ACCEPT})
        if answer.status_code == _ABSENT:
            raise ImageError(f"{self._name}: no manifest {reference}; push that image first, or correct the reference")
        return checked_manifest(answer.content, answer.headers.get("Content-Type", MANIFEST), reference)

    def open(self, descriptor: Descriptor) -> closing[IO[bytes]]:
        """The bytes of a blob, as they arrive."""
        answer = self._ask("GET", f"blobs/{descriptor.digest}", (200,), stream=True)
        return closing(cast(IO[bytes], answer.raw))

    def take(self, descriptor: Descriptor, origin: Store) -> None:
        """Hold a blob of another store: it is here, or mounted from the same registry, or sent."""
        if self._holds(descriptor):
            return
        mount = {}
        if isinstance(origin, Registry) and origin.host == self.host:
            mount = {"mount": descriptor.digest, "from": origin.repository}
        started = self._ask("POST", "blobs/uploads/", (201, 202), params=mount)
        if started.status_code == requests.codes.created:
            return
        with origin.open(descriptor) as source, tempfile.TemporaryFile() as kept:
            copy_checked(source, kept, descriptor)
            kept.seek(0)
            self._finish(started, descriptor.digest, kept)

    def put(self, blob: Blob) -> None:
        """Send a blob, unless it is here."""
        if not self._holds(blob.descriptor):
            started = self._ask("POST", "blobs/uploads/", (202,))
            self._finish(started, blob.descriptor.digest, blob.data)

    def publish(self, manifest: Blob, tag: str) -> None:
        """Send the manifest by its digest, then by its tag."""
        for reference in filter(None, (manifest.descriptor.digest, tag)):
            kind = {"Content-Type": manifest.descriptor.media_type}
            self._ask("PUT", f"manifests/{reference}", (201,), data=manifest.data, headers=kind)

    @property
    def _name(self) -> str:
        return f"{self.host}/{self.repository}"

    @property
    def _address(self) -> str:
        scheme = "http" if LOOPBACK.fullmatch(self.host) else "https"
        host = "registry-1.docker.io" if self.host == DOCKER_HUB else self.host
        return f"{scheme}://{host}/v2/{self.repository}/"

    def _holds(self, descriptor: Descriptor) -> bool:
        return self._ask("HEAD", f"blobs/{descriptor.digest}", (200, _ABSENT)).ok

    def _finish(self, started: requests.Response, digest: str, data: Any) -> None:
        """Send a whole blob to the place that the registry gave."""
        place, kind = urljoin(started.url, started.headers["Location"]), {"Content-Type": "application/octet-stream"}
        self._ask("PUT", place, (201,), params={"digest": digest}, data=data, headers=kind)

    def _ask(self, method: str, path: str, expected: tuple[int, ...], **details: Any) -> requests.Response:
        """One request, with the registry's challenge answered once. Raises ImageError."""
        answer = self._send(method, path, **details)
        if answer.status_code == _UNAUTHORIZED and self._authorise(answer.headers.get("WWW-Authenticate", "")):
            answer = self._send(method, path, **details)
        if answer.status_code in expected:
            return answer
        hint = f"; log in with `docker login {self.host}`" if answer.status_code in (_UNAUTHORIZED, 403) else ""
        raise ImageError(
            f"{self._name}: {method} {path} answered {answer.status_code} {answer.text[:200].strip()}{hint}"
        )

    def _send(self, method: str, path: str, **details: Any) -> requests.Response:
        try:
            return self.session.request(method, urljoin(self._address, path), timeout=_TIMEOUT, **details)
        except requests.RequestException as error:
            raise ImageError(
                f"{self.host}: the registry cannot be reached ({type(error).__name__}); is it running?"
            ) from error

    def _authorise(self, challenge: str) -> bool:
        """Set the header that the challenge asks for; False where there is nothing to offer."""
        login, fields = credentials(self.host), dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if challenge.lower().startswith("basic") and login:
            self.session.headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
            return True
        if not challenge.lower().startswith("bearer") or "realm" not in fields:
            return False
        self.session.headers.pop("Authorization", None)
        answer = self._send(
            "GET", fields.pop("realm"), params={"scope": f"repository:{self.repository}:pull", **fields}, auth=login
        )
        token = answer.json() if answer.ok else {}
        self.session.headers["Authorization"] = f"Bearer {token.get('token') or token.get('access_token')}"
        return answer.ok


def credentials(host: str) -> tuple[str, str] | None:
    """User and password of a registry from Docker's config.json: a login, or a credential helper's answer."""
    key = "https://index.docker.io/v1/" if host == DOCKER_HUB else host
    path = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    config: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if login := config.get("auths", {}).get(key, {}).get("auth"):
        user, _, password = base64.b64decode(login).decode().partition(":")
        return user, password
    helper = config.get("credHelpers", {}).get(key) or config.get("credsStore")
    return _helped(helper, key) if helper else None


def _helped(helper: str, key: str) -> tuple[str, str] | None:
    try:
        found = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=key, text=True, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    answer = json.loads(found.stdout)
    return answer["Username"], answer["Secret"]
