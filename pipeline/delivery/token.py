"""The token for git: told to the forge in a header that only git's environment carries.

It is in no argument, which every user of a machine may read, and in no file.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

USER = "x-access-token"
TOKENS = ("FLIGHTLINE_TOKEN", "GITHUB_TOKEN")
SERVER, PUBLIC = "GITHUB_SERVER_URL", "https://github.com"
_PORTS = {"http": 80, "https": 443}
_HIDDEN = "***"


@dataclass(frozen=True)
class Access:
    """Variables for git, and the words that no message may hold."""

    environment: Mapping[str, str]
    secrets: tuple[str, ...] = ()

    def hidden(self, text: str) -> str:
        """The text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def access(environ: Mapping[str, str], addresses: Callable[[], Iterable[str]]) -> Access:
    """What git needs to reach these addresses, which are asked for only where there is a token.

    FLIGHTLINE_TOKEN is for the remote, whatever it is; GITHUB_TOKEN for the forge that gave it out alone.
    """
    given = {name: environ[name] for name in TOKENS if environ.get(name)}
    if not given:
        return Access({})
    found = [urlsplit(address) for address in addresses()]
    told = {
        plain(one): _header(token)
        for one in found
        if one.scheme in _PORTS and (token := _token(given, one, environ.get(SERVER) or PUBLIC))
    }
    secrets = {*given.values(), *map(_encoded, given.values())}
    return Access(_settings(told, environ) if told else {}, tuple(sorted(secrets, key=len, reverse=True)))


def _token(given: Mapping[str, str], address: SplitResult, server: str) -> str | None:
    own, forge = (given.get(name) for name in TOKENS)
    return own or (forge if _place(address) == _place(urlsplit(server)) else None)


def _place(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or _PORTS.get(address.scheme)


def plain(address: SplitResult) -> str:
    """The address without a user or password in it."""
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _header(token: str) -> str:
    return f"Authorization: Basic {_encoded(token)}"


def _encoded(token: str) -> str:
    return base64.b64encode(f"{USER}:{token}".encode()).decode()


def _settings(told: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Git's settings as variables, after those that are there.

    An empty header first: one that a checkout wrote to .git/config would be sent beside ours, and GitHub refuses two.
    No helper and no prompt: a token that is refused must not be replaced by somebody's own password.
    """
    headers = [(f"http.{url}.extraHeader", value) for url, header in told.items() for value in ("", header)]
    pairs = [*headers, ("credential.helper", "")]
    first = int(environ.get("GIT_CONFIG_COUNT") or 0)
    numbered = {
        f"GIT_CONFIG_{what}_{first + at}": value
        for at, pair in enumerate(pairs)
        for what, value in zip(("KEY", "VALUE"), pair, strict=True)
    }
    return {**numbered, "GIT_CONFIG_COUNT": str(first + len(pairs)), "GIT_TERMINAL_PROMPT": "0"}
