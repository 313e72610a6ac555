"""Every prediction that production answered is in the store: also over killed pods and a minute without a sink.

One story: each part starts where the last one ended. Needs the local cluster (`make cluster-up`).
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from threading import Event, Thread
from typing import Any

import pytest
import requests

from infra.local import shipping, users
from infra.local.watch import healthy, namespace
from pipeline.context import Context
from pipeline.monitoring.store import VARIABLE, Store, open_store
from tests.checkouts import PROJECT
from tests.e2e.world import World, process_of

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]

STAGING, PRODUCTION = "http://127.0.0.1:8001/predict", "http://127.0.0.1:8002/predict"
OUTAGE = 60.0
# A server writes its log every 0.2 s: what it had not written goes with a kill.
UNWRITTEN = 1.0
PER_SECOND = 20


@dataclass
class Callers:
    """Ask for a row at a time, each with an id of its own. Times are Unix seconds, by id."""

    rows: list[dict[str, Any]]
    asked: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)

    def ask(self, address: str = PRODUCTION) -> None:
        """One request on a connection of its own; some reach a server that is going."""
        number = len(self.asked)
        name = f"shipped-{number:06}"
        self.asked[name] = time.time()
        try:
            row = {**self.rows[number % len(self.rows)], "id": name}
            answer = requests.post(address, json=row, timeout=10, headers={"connection": "close"})
        except requests.RequestException:
            return
        if answer.ok:
            self.answered[name] = time.time()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Keep asking meanwhile."""
        over = Event()

        def work() -> None:
            while not over.wait(1 / PER_SECOND):
                self.ask()

        thread = Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module")
def production(world: World) -> World:
    """With a model in production."""
    with world.timeline.chapter("a first release"):
        world.images["a"] = world.append("code")
        released = world.release("a")
        world.until("staging is healthy", lambda: healthy(world.rollout("staging"), released), 150)
        released = world.promote()
        world.until("production is healthy", lambda: healthy(world.rollout("production"), released), 150)
        world.until("production has its three pods", lambda: world.ready("production") == 3)
    return world


@pytest.fixture(scope="module")
def store(production: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Into which the log is shipped."""
    folder = tmp_path_factory.mktemp("observed")
    with production.timeline.chapter("the log is shipped"):
        shipping.up(production.state, production.fork.root, str(folder), production.timeline.say)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        made = open_store(Context(PROJECT))
    try:
        yield made
    finally:
        shipping.down(production.state)


@pytest.fixture(scope="module")
def callers(production: World) -> Callers:
    return Callers(users.newest_rows(production.fork.root))


def kept(store: Store) -> list[str]:
    """The ids of the store's rows."""
    return list(store.joined(date.min, date.max).select("id").collect()["id"])


def collectors(world: World) -> list[dict[str, Any]]:
    """The collector's pod on the only node; none while one takes another's place."""
    where = ("--namespace", "monitoring", "get", "pods", "--selector=app.kubernetes.io/component=log-shipping")
    found = json.loads(world.kubectl(*where, "--output=json"))["items"]
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def reads(world: World) -> bool:
    """Whether the collector is ready."""
    conditions = [one for pod in collectors(world) for one in pod["status"].get("conditions", ())]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def counted(name: str) -> float:
    """What Prometheus has of the collector; 0 where a counter never moved."""
    asked = {"query": f'sum({name}{{namespace="monitoring"}})'}
    found = requests.get("http://127.0.0.1:9090/api/v1/query", params=asked, timeout=5).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def arrived(world: World, store: Store, callers: Callers) -> None:
    """Wait until every answered row is there; nothing else is, and none is there twice."""
    answered = set(callers.answered)
    world.until("all that was answered is in the store", lambda: answered <= set(kept(store)), 120)
    rows = kept(store)
    assert len(rows) == len(set(rows))
    assert set(rows) <= set(callers.asked)


def test_01_what_production_answers_is_in_the_store_and_staging_is_not(
    production: World, store: Store, callers: Callers
) -> None:
    with production.timeline.chapter("1 a hundred rows"):
        requests.post(STAGING, json={**callers.rows[0], "id": "made-up"}, timeout=10).raise_for_status()
        for _ in range(100):
            callers.ask()
        assert len(callers.answered) == 100
        last = max(callers.answered.values())
        arrived(production, store, callers)
        production.timeline.figure("answered to in the store", time.time() - last, 30)


def test_02_a_minute_without_the_sink_and_killed_pods_lose_nothing(
    production: World, store: Store, callers: Callers
) -> None:
    with production.timeline.chapter("2 no sink for a minute; pods and the collector are killed"), callers.calling():
        with production.without(shipping.COMPONENT):
            began, before = time.monotonic(), len(kept(store))
            time.sleep(OUTAGE / 6)
            (pod,) = [one["metadata"] for one in collectors(production)]
            os.kill(process_of(pod["uid"], shipping.TOOL), signal.SIGKILL)
            time.sleep(OUTAGE / 6)
            production.kubectl("--namespace", "monitoring", "delete", "pod", pod["name"])
            production.until("another collector reads", lambda: reads(production), 30)
            server = production.pods("production")[0]
            production.kubectl("--namespace", namespace("production"), "delete", "pod", server, "--wait=false")
            time.sleep(max(0.0, began + OUTAGE - time.monotonic()))
            assert len(kept(store)) == before
        time.sleep(5)
    assert len(callers.answered) > OUTAGE
    arrived(production, store, callers)
    dropped = counted("otelcol_exporter_enqueue_failed_log_records_total")
    assert dropped == counted("otelcol_exporter_send_failed_log_records_total") == 0
    assert counted("otelcol_exporter_sent_log_records_total") > 0


def test_03_of_a_server_that_is_killed_only_what_it_had_not_written_is_missing(
    production: World, store: Store, callers: Callers
) -> None:
    with production.timeline.chapter("3 a server is killed"):
        pod = production.pods("production")[0]
        with callers.calling():
            time.sleep(5)
            production.crash(pod)
            killed = time.time()
            time.sleep(5)
        written = {name for name, at in callers.answered.items() if not killed - UNWRITTEN < at < killed + UNWRITTEN}
        production.until("the rest is in the store", lambda: written <= set(kept(store)), 120)
        lost = set(callers.answered) - set(kept(store))
        production.timeline.figure("rows lost with a killed server", len(lost), PER_SECOND * UNWRITTEN, "rows")
    assert not production.timeline.missed(), production.timeline.missed()
