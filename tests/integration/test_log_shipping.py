"""No prediction is lost between a pod's log file and the store: the real collector, killed, cut off and overrun."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread

import pytest

from pipeline.context import Context
from pipeline.monitoring.endpoint import Endpoint, RefusedError
from pipeline.monitoring.sink import LOGS
from pipeline.monitoring.store import open_store
from tests.collectors import PROJECT, SAID, VERSION, Collector, PodLog, Sink, command, prediction, until

# A minute, where there is time for it.
OUTAGE = 60.0 if os.environ.get("FULL") else 4.0
MIB = 1 << 20
KILLS = 5
ACCEPTED, OVERFLOWED = (
    "otelcol_receiver_accepted_log_records_total",
    "otelcol_exporter_enqueue_failed_log_records_total",
)
REFUSED = "otelcol_exporter_send_failed_log_records_total"
SIZE, CAPACITY = "otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"
FLIGHTLINE = Path(sys.executable).with_name("flightline")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "pods"
    folder.mkdir()
    return folder


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path / "handed-over.jsonl")
    try:
        made.come()
        yield made
    finally:
        made.go()


@pytest.fixture
def collecting(logs: Path, sink: Sink, tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """A collector that is not started yet; settings are its variables."""
    made: list[Collector] = []

    def make(**settings: str) -> Collector:
        made.append(Collector(logs, tmp_path / f"state-{len(made)}", sink, settings))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.kill()


@pytest.fixture
def collector(collecting: Callable[..., Collector]) -> Collector:
    return collecting()


def named(count: int, first: int = 0) -> list[str]:
    return [f"p-{number:06}" for number in range(first, first + count)]


def arrived(sink: Sink, names: list[str]) -> None:
    """Wait until all have come, and hold that nothing else did."""
    until(lambda: set(names) <= set(sink.ids))
    assert set(sink.ids) == set(names)


def test_the_collector_finds_its_configuration_valid(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SAID)
    variables = {"STATE": str(tmp_path), "SINK": "http://127.0.0.1:4318", "SINK_TOKEN_FILE": str(tmp_path / "token")}
    done = subprocess.run(
        command("validate"), env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_lines_arrive_as_they_were_written_and_say_where_they_come_from(
    logs: Path, sink: Sink, collector: Collector
) -> None:
    before, long = prediction("before"), prediction("long", note="\u00e9\\n" + "x" * 40_000)
    server = PodLog.of(logs)
    server.write(before)
    server.write("flightline: serving on port 8000", stream="stderr")
    PodLog.of(logs, namespace="flightline-staging").write(prediction("made-up"))
    PodLog.of(logs, "flightline-6c9f7d-aaaaa", container="injected").write(prediction("injected"))
    PodLog.of(logs, namespace="elsewhere").write(prediction("elsewhere"))
    collector.start()
    server.write(long, "neither JSON nor a secret")
    finish = server.begin(prediction("torn"))
    until(lambda: len(sink.lines) == 3)
    # Longer than anything waits for the end of a line.
    time.sleep(2)
    assert sink.lines == [before, long, "neither JSON nor a secret"]
    finish()
    until(lambda: len(sink.lines) == 4)
    assert sink.lines[-1] == prediction("torn")
    said = {
        "service.name": "flightline",
        "deployment.environment.name": "production",
        "k8s.namespace.name": "flightline-production",
        "k8s.pod.name": "flightline-6c9f7d-x2x7k",
    }
    assert sorted(sink.resources, key=len) == [said, {**said, "service.version": VERSION}]


def test_a_file_that_grows_and_is_rotated_and_compressed_meanwhile_arrives_once(
    logs: Path, sink: Sink, collector: Collector
) -> None:
    server, names = PodLog.of(logs), named(3000)
    collector.start()
    for start in range(0, len(names), 100):
        server.write(*map(prediction, names[start : start + 100]))
        if start % 500 == 400:
            server.rotate()
        time.sleep(0.05)
    arrived(sink, names)
    assert set(sink.ids.values()) == {1}


def test_what_was_written_rotated_and_compressed_while_it_was_away_arrives_once(
    logs: Path, sink: Sink, collector: Collector
) -> None:
    server, names = PodLog.of(logs), named(1000)
    server.write(*map(prediction, names[:150]))
    collector.start()
    arrived(sink, names[:150])
    collector.stop()
    for start in range(150, 900, 150):
        server.write(*map(prediction, names[start : start + 150]))
        server.rotate()
    collector.start()
    server.write(*map(prediction, names[900:]))
    arrived(sink, names)
    assert set(sink.ids.values()) == {1}


def test_the_last_lines_of_a_pod_that_is_removed_arrive(logs: Path, sink: Sink, collector: Collector) -> None:
    """The kubelet removes the folder of a pod with the pod; the collector has the file open."""
    server, names = PodLog.of(logs), named(300)
    server.write(*map(prediction, names[:100]))
    collector.start()
    arrived(sink, names[:100])
    server.write(*map(prediction, names[100:]))
    shutil.rmtree(server.folder.parent)
    arrived(sink, names)


@pytest.mark.timeout(900)
def test_an_outage_of_the_sink_loses_nothing_and_repeats_nothing(logs: Path, sink: Sink, collector: Collector) -> None:
    server, names = PodLog.of(logs), named(2000)
    collector.start()
    server.write(*map(prediction, names[:500]))
    arrived(sink, names[:500])
    sink.go()
    began, at = time.monotonic(), 500
    while time.monotonic() < began + OUTAGE and at < 1500:
        server.write(*map(prediction, names[at : at + 20]))
        at += 20
        time.sleep(OUTAGE / 50)
    assert len(sink.ids) == 500
    sink.come()
    server.write(*map(prediction, names[at:]))
    arrived(sink, names)
    assert set(sink.ids.values()) == {1}
    assert collector.count(OVERFLOWED) == 0


def test_an_outage_with_restarts_in_it_loses_nothing(logs: Path, sink: Sink, collector: Collector) -> None:
    server, names = PodLog.of(logs), named(900)
    sink.go()
    collector.start()
    server.write(*map(prediction, names[:300]))
    until(lambda: collector.count(SIZE) > 0)
    assert collector.stop() == 0
    server.write(*map(prediction, names[300:600]))
    collector.start()
    until(lambda: collector.count(ACCEPTED) == 300)
    collector.kill()
    server.write(*map(prediction, names[600:]))
    collector.start()
    sink.come()
    arrived(sink, names)


def test_kills_of_the_collector_and_of_the_sink_lose_nothing(logs: Path, sink: Sink, collector: Collector) -> None:
    """What was read twice comes twice; the store keeps it once, by its id."""
    server, over = PodLog.of(logs), Event()
    names: list[str] = []

    def write() -> None:
        while not over.wait(0.02):
            server.write(*map(prediction, named(20, len(names))))
            names.extend(named(20, len(names)))
            if len(names) % 1000 == 0:
                server.rotate()

    writer = Thread(target=write)
    collector.start()
    writer.start()
    for kill in range(KILLS):
        time.sleep(0.7)
        collector.kill()
        if kill % 2:
            sink.go()
            sink.come()
        collector.start()
    over.set()
    writer.join()
    arrived(sink, names)
    repeated = sum(sink.ids.values()) - len(names)
    sys.stdout.write(f"{KILLS} kills: {len(names)} predictions, none lost, {repeated} came again\n")


def test_beyond_its_bound_the_queue_drops_and_counts(
    logs: Path, sink: Sink, collecting: Callable[..., Collector]
) -> None:
    collector = collecting(QUEUE_BYTES=str(3 * MIB))
    server, names = PodLog.of(logs), named(12_000)
    collector.start()
    sink.go()
    for start in range(0, len(names), 1000):
        server.write(*(prediction(name, note="x" * 300) for name in names[start : start + 1000]))

    def dropped() -> int:
        return int(collector.count(OVERFLOWED))

    def taken() -> int:
        return int(collector.count(ACCEPTED))

    until(lambda: taken() + dropped() == len(names))
    assert 0 < dropped() < len(names)
    assert collector.count(SIZE) <= collector.count(CAPACITY) == 3 * MIB
    sink.come()
    until(lambda: len(sink.ids) == taken())
    assert len(sink.ids) + dropped() == len(names)
    assert collector.count(REFUSED) == 0


def test_what_the_sink_refuses_for_good_is_dropped_and_counted(
    logs: Path, sink: Sink, collecting: Callable[..., Collector]
) -> None:
    sink.go()

    def refuse(_: bytes) -> dict[str, str]:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "never")

    with Endpoint("127.0.0.1", sink.port, {LOGS: refuse}, SAID) as endpoint:
        Thread(target=endpoint.serve_forever, daemon=True).start()
        collector = collecting()
        collector.start()
        PodLog.of(logs).write(*map(prediction, named(50)))
        until(lambda: collector.count(REFUSED) == 50)
        endpoint.shutdown()
    assert collector.count(SIZE) == 0


def test_the_alerts_ask_for_what_the_collector_counts() -> None:
    """The names that were read from a real collector above."""
    rules = (PROJECT / "k8s/log-shipping/prometheus-operator/rules.yaml").read_text()
    assert set(re.findall(r"otelcol_\w+", rules)) == {OVERFLOWED, REFUSED, SIZE, CAPACITY}


@pytest.mark.flights
def test_what_arrives_is_a_dataset_by_day(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`flightline log serve` itself, killed with the collector on the way; every row is kept once."""
    store, serving = tmp_path / "store", Sink(tmp_path / "unused")
    monkeypatch.setenv("FLIGHTLINE_STORE", str(store))
    monkeypatch.setenv("FLIGHTLINE_LOG_TOKEN", SAID)
    served = [FLIGHTLINE, "log", "serve", "--port", str(serving.port)]
    collector = Collector(logs, tmp_path / "state", serving)
    server, names = PodLog.of(logs), named(400)
    process = subprocess.Popen(served, cwd=PROJECT)
    try:
        collector.start()
        server.write(*map(prediction, names[:200]), "flightline: no prediction")
        until(lambda: list(store.rglob("*.parquet")))
        process.kill()
        process.wait()
        collector.kill()
        server.write(*map(prediction, names[200:]))
        collector.start()
        process = subprocess.Popen(served, cwd=PROJECT)
        kept = open_store(Context(PROJECT))
        until(lambda: kept.days()["predictions"].sum() == len(names))
    finally:
        process.terminate()
        assert process.wait(60) == 0
        collector.kill()
    assert [*kept.days().iter_rows()] == [(date(2013, 4, 1), VERSION, len(names), 0)]
