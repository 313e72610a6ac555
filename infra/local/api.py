"""The API server, asked directly where starting kubectl for each question would take longer than the answer."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from infra.local.components import API, ClusterError, State

_TIMEOUT = (5.0, 30.0)
_GONE = 410


class Api:
    """Requests with the certificate of one identity."""

    def __init__(self, state: State, identity: str) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(state.certificates / "ca.crt")
        pair = state.certificates / identity
        self._session.cert = (f"{pair}.crt", f"{pair}.key")

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """An object or a list. Raises ClusterError."""
        try:
            answer = self._session.get(f"{API}{path}", params=parameters, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise ClusterError(
                f"the API server does not answer ({type(error).__name__}); is the cluster up?"
            ) from error
        if not answer.ok:
            raise ClusterError(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        document: dict[str, Any] = answer.json()
        return document

    def find(self, path: str) -> dict[str, Any] | None:
        """An object, or None where it cannot be had now."""
        try:
            return self.get(path)
        except ClusterError:
            return None

    def watch(self, path: str, version: str) -> Iterator[Mapping[str, Any]]:
        """Changes since a list's resourceVersion, `{"type": ..., "object": ...}`. Ends when the server closes it."""
        parameters = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        with self._session.get(f"{API}{path}", params=parameters, timeout=(5.0, None), stream=True) as answer:
            if answer.status_code == _GONE:
                return
            for line in answer.iter_lines(chunk_size=None):
                if line:
                    yield json.loads(line)
