"""The node's agent: watches pods, namespaces and NetworkPolicies, enforces these and tells Prometheus what to scrape.

It sees the API server as `flightline-agent`, whose role allows to list and watch these three and nothing else.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import requests

from infra.local.api import Api
from infra.local.components import PROJECT, ClusterError, State
from infra.local.discovery import targets
from infra.local.policies import rules
from infra.local.prometheus import targets as targets_file
from pipeline.config import read_settings

PATHS = {
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}
RETRY_SECONDS = 0.5
# A rollout changes several pods at once: one replacement of the rules serves them all.
SETTLE_SECONDS = 0.05


class Store:
    """All objects of one kind as they are now, kept by a thread of its own, which sets `changed`."""

    def __init__(self, state: State, path: str, changed: threading.Event) -> None:
        self._api, self._path, self._changed = Api(state, "agent"), path, changed
        self._objects: dict[str, dict[str, Any]] | None = None
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def known(self) -> bool:
        """Whether they were ever listed."""
        return self._objects is not None

    @property
    def objects(self) -> list[dict[str, Any]]:
        """A copy, in no order."""
        return list((self._objects or {}).values())

    def _run(self) -> None:
        """List, then watch; again whenever the API server ends it, and for as long as it is away."""
        while True:
            try:
                self._follow()
            except (ClusterError, requests.RequestException, ValueError) as error:
                _say(f"{self._path}: {error}")
            time.sleep(RETRY_SECONDS)

    def _follow(self) -> None:
        listed = self._api.get(self._path)
        self._objects = {one["metadata"]["uid"]: one for one in listed["items"]}
        self._changed.set()
        for event in self._api.watch(self._path, listed["metadata"]["resourceVersion"]):
            if event["type"] == "ERROR":
                return
            if event["type"] != "BOOKMARK":
                self._take(event["type"], event["object"])

    def _take(self, kind: str, thing: dict[str, Any]) -> None:
        """The dictionary is replaced, never changed: the main thread may be reading the old one."""
        key = thing["metadata"]["uid"]
        others = {name: one for name, one in (self._objects or {}).items() if name != key}
        self._objects = others if kind == "DELETED" else {**others, key: thing}
        self._changed.set()


def run(state: State) -> None:
    """Follow the API server for as long as the process lives."""
    changed = threading.Event()
    stores = {name: Store(state, path, changed) for name, path in PATHS.items()}
    name, enforced, scraped = read_settings(PROJECT).name, "", ""
    while changed.wait():
        time.sleep(SETTLE_SECONDS)
        changed.clear()
        if not all(store.known for store in stores.values()):
            continue
        pods = stores["pods"].objects
        table = rules(stores["policies"].objects, pods, stores["namespaces"].objects)
        if table != enforced and _enforce(table):
            enforced = table
        found = json.dumps(targets(pods, name), indent=1)
        if found != scraped:
            _replace(targets_file(state), found)
            scraped = found


def _enforce(table: str) -> bool:
    """Replace the rules in one transaction. What nft refuses leaves the old ones in force, and is logged."""
    done = subprocess.run(["nft", "-f", "-"], input=table, text=True, capture_output=True, check=False)
    if done.returncode:
        _say(f"nft: {done.stderr.strip()}\n{table}")
    return done.returncode == 0


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as scratch:
        scratch.write(text)
    Path(scratch.name).chmod(0o644)
    Path(scratch.name).replace(path)


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(State(Path(sys.argv[1])))
