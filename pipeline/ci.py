"""What a workflow's job asks of the machine it runs on: whose repository this is, and the logins of its steps.

Secrets come in variables and go to files that only their owner reads; none is printed. Every function may run again.
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import requests

from pipeline import paths
from pipeline.config import ConfigError, Settings
from pipeline.errors import UnavailableError

DVC_CONFIG, REGISTRY_USER, REGISTRY_TOKEN, CLUSTER = (
    "FLIGHTLINE_DVC_CONFIG",
    "FLIGHTLINE_REGISTRY_USER",
    "FLIGHTLINE_REGISTRY_TOKEN",
    "FLIGHTLINE_KUBECONFIG",
)
LOCAL = Path(".dvc/config.local")
TOKEN = paths.BUILD / "identity-token"
GITHUB, PACKAGES = "github.com", "ghcr.io"
_OURS = "# Written by `flightline ci remote`.\n"
_ASK = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
_TIMEOUT = (5.0, 30.0)


def here(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """Whether pyproject.toml speaks of the repository whose workflow this is, and a sentence. Raises ConfigError."""
    server, name = (_variable(environ, one) for one in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    runs_in = f"{server.rstrip('/')}/{name}"
    if _address(runs_in) == _address(settings.repository):
        return True, f"this is {settings.repository}"
    why = f"pyproject.toml speaks of {settings.repository}, and this is {runs_in}: nothing is delivered from here; "
    return False, why + "set repository and registry in [tool.flightline], and run `flightline settings apply`"


def remote(root: Path, settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Have DVC use the trusted remote alone in this checkout, with the secret lines of its job. Raises ConfigError.

    People push to the other remote, so nothing on the way to a release may be restored from there.
    """
    path, name = root / LOCAL, settings.trusted_remote
    if path.is_file() and not path.read_text().startswith(_OURS):
        raise ConfigError(f"{LOCAL} is yours; `flightline ci remote` is for the checkout of a workflow's job")
    secret = environ.get(DVC_CONFIG, "").strip()
    lines = f"['remote \"{name}\"']\n{secret}\n" if secret else ""
    _write_secret(path, f"{_OURS}[core]\n    remote = {name}\n{lines}")
    return f"DVC restores from {name!r} alone" + (f", and may write there ({DVC_CONFIG})" if secret else "")


def login(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Leave the registry's login where Docker, cosign and `flightline image` look for it; a sentence."""
    host = settings.registry.partition("/")[0]
    found = credentials(host, environ)
    path = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    if found is None:
        if environ.get("DOCKER_CONFIG"):
            # buildah takes a folder that is named and has no such file for a mistake
            _write_secret(path, json.dumps(config, indent=2))
        return f"{host}: no login was given; what Docker knows already is used"
    auth = base64.b64encode(":".join(found).encode()).decode()
    config["auths"] = {**config.get("auths", {}), host: {"auth": auth}}
    _write_secret(path, json.dumps(config, indent=2))
    return f"{host}: logged in as {found[0]}"


def credentials(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password for a registry: those given for it; the built-in token for the forge's own registry only."""
    user, token = (environ.get(name, "") for name in (REGISTRY_USER, REGISTRY_TOKEN))
    if bool(user) != bool(token):
        raise ConfigError(f"give both {REGISTRY_USER} and {REGISTRY_TOKEN}, or neither")
    if token:
        return user, token
    forge = urlsplit(environ.get("GITHUB_SERVER_URL", "")).netloc
    own = PACKAGES if forge == GITHUB else forge
    actor, built_in = (environ.get(name, "") for name in ("GITHUB_ACTOR", "GITHUB_TOKEN"))
    return (actor, built_in) if host == own and actor and built_in else None


def identity(root: Path, audience: str, environ: Mapping[str, str] = os.environ) -> str:
    """Write the job's OIDC token for `audience` to build/identity-token, by which a cloud lends a login; a sentence.

    Raises ConfigError where the job has no `id-token: write`, UnavailableError where the forge gives none.
    """
    if not audience:
        return "no cloud's login is asked for"
    address, token = (environ.get(name, "") for name in _ASK)
    if not address or not token:
        raise ConfigError(
            f"{_ASK[0]} is not set: the job needs `permissions: id-token: write`, and a forge that has OIDC"
        )
    given = _token(address, token, audience)
    _write_secret(root / TOKEN, given)
    return f"{TOKEN} is the token for {audience}, for some minutes"


def cluster(environ: Mapping[str, str] = os.environ) -> str:
    """Write the read-only kubeconfig that the job was given to $KUBECONFIG; a sentence. Raises ConfigError."""
    given = environ.get(CLUSTER, "")
    if not given.strip():
        return f"{CLUSTER} is empty: what the cluster says cannot be confirmed"
    path = Path(_variable(environ, "KUBECONFIG"))
    _write_secret(path, given)
    return f"{path.name} lets this job ask the cluster"


def _token(address: str, token: str, audience: str) -> str:
    try:
        answer = requests.get(
            address, params={"audience": audience}, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT
        )
        answer.raise_for_status()
        return str(answer.json()["value"])
    except (requests.RequestException, KeyError, ValueError) as error:
        raise UnavailableError(
            f"the forge gives no OIDC token for {audience} ({type(error).__name__}); try again"
        ) from error


def _address(url: str) -> tuple[str, str]:
    """Host and path, as forges compare them."""
    found = urlsplit(url.strip().rstrip("/").removesuffix(".git"))
    return found.netloc.lower(), found.path.strip("/").lower()


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set; a workflow's job has it")
    return value


def _write_secret(path: Path, text: str) -> None:
    """Whole, and readable by its owner alone from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    scratch.replace(path)
