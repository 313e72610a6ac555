"""Alerts of the local cluster that somebody is told of."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.local import alertmanager, control, prometheus, users
from pipeline.frames import write_text
from pipeline.monitoring import metrics
from pipeline.monitoring.observation import PATH
from tests.e2e.world import FLIGHTLINE, World
from tests.observations import observation
from tests.unit.k8s.rendering import composed, of_kind

PROMETHEUS = f"http://127.0.0.1:{prometheus.PORT}"


@contextmanager
def decayed(world: World) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Production is said to have decayed, and its alerts are sent. Gives what Alertmanager posted to a receiver."""
    said, out = world.folder / "said", world.folder / "alerts.jsonl"
    write_text(said / PATH, observation(as_of=datetime.now(UTC).date()).model_dump_json())
    write_text(said / metrics.TRIED, metrics.of_attempts((), 0))
    port = str(urlsplit(alertmanager.RECEIVER).port)
    beside = [
        users.inside(sys.executable, "-m", "tests.e2e.receiver", port, str(out)),
        users.inside("env", f"--chdir={said}", FLIGHTLINE, "exporter"),
    ]
    (rules,) = of_kind(composed(("replicas", "prometheus-operator"), "production"), "PrometheusRule")

    def told(receiver: str) -> list[dict[str, Any]]:
        posted = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        return [one["body"] for one in posted if one["path"] == f"/{receiver}"]

    loaded: tuple[Path, ...] = ()
    try:
        alertmanager.start(world.state)
        loaded = prometheus.load(world.state, [rules])
        yield told
    finally:
        for path in loaded:
            path.unlink()
        prometheus.load(world.state, ())
        control.ask(world.state, "stop", [alertmanager.NAME])
        for one in beside:
            users.end(one)
