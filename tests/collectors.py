"""A real OpenTelemetry Collector on log files as containerd and the kubelet write them, and a sink that can go away.

`python -m tests.collectors PORT OUT` is the sink: what is handed over becomes a line of OUT before it is answered.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from pipeline.gates.load_server import free_port
from pipeline.monitoring.endpoint import Endpoint
from pipeline.monitoring.sink import LOGS, lines
from pipeline.tools import tool
from tests.observed import MODEL

PROJECT = Path(__file__).resolve().parents[1]
SHIPPING = PROJECT / "k8s/log-shipping"
VERSION = "3f2a9c81d0e4"
SAID = "a-token-of-tests"
# Of containerd: `max_container_log_line_size`.
LONGEST = 16 << 10
SECONDS = 120.0


@dataclass
class PodLog:
    """The log of a container on a node: CRI format, rotated and compressed as the kubelet does."""

    folder: Path
    _rotations: int = 0

    @classmethod
    def of(
        cls,
        root: Path,
        pod: str = "flightline-6c9f7d-x2x7k",
        namespace: str = "flightline-production",
        container: str = "server",
    ) -> "PodLog":
        made = cls(root / f"{namespace}_{pod}_9f0c1b7e-2d6a-4b8e-8f59-0c5d3a1e7b42" / container)
        made.folder.mkdir(parents=True)
        return made

    @property
    def file(self) -> Path:
        return self.folder / "0.log"

    def write(self, *texts: str, stream: str = "stdout") -> None:
        """Whole lines; what is too long for one comes in parts."""
        with self.file.open("a") as file:
            file.write("".join(_cri(text, stream) for text in texts))

    def begin(self, text: str) -> Callable[[], None]:
        """Write half of a line; the rest comes when what this returns is called."""
        whole = _cri(text, "stdout")
        half = len(whole) // 2
        with self.file.open("a") as file:
            file.write(whole[:half])

        def end() -> None:
            with self.file.open("a") as file:
                file.write(whole[half:])

        return end

    def rotate(self) -> None:
        """Put the file aside, compress those that were put aside before, begin a new one."""
        self._rotations += 1
        for plain in [one for one in self.folder.glob("0.log.*") if one.suffix != ".gz"]:
            scratch = plain.with_name(f"{plain.name}.tmp")
            scratch.write_bytes(gzip.compress(plain.read_bytes()))
            scratch.rename(plain.with_name(f"{plain.name}.gz"))
            plain.unlink()
        self.file.rename(self.folder / f"0.log.20130401-{self._rotations:06}")
        self.file.touch()


def _cri(text: str, stream: str) -> str:
    pieces = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
    marked = zip(pieces, ["P"] * (len(pieces) - 1) + ["F"], strict=True)
    return "".join(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z {stream} {mark} {piece}\n" for piece, mark in marked)


def prediction(name: str, **features: object) -> str:
    """A line as the server writes it."""
    return json.dumps(
        {
            "time": "2013-04-01T12:00:00Z",
            "id": name,
            "request": name,
            "model": MODEL,
            "version": VERSION,
            "features": features,
            "score": 0.25,
            "latency": 0.0004,
        },
        separators=(",", ":"),
    )


@dataclass
class Sink:
    """Takes what collectors hand over, in a process of its own."""

    out: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def come(self) -> None:
        command = [sys.executable, "-m", "tests.collectors", str(self.port), str(self.out)]
        self.process = subprocess.Popen(command, cwd=PROJECT)
        until(lambda: _answers(f"http://127.0.0.1:{self.port}/livez"))

    def go(self) -> None:
        """Away at once, whatever it was doing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was handed over, in order; a sink that was killed may have kept half of the last."""
        whole = self.out.read_bytes().split(b"\n")[:-1] if self.out.exists() else []
        return [json.loads(one) for one in whole]

    @property
    def lines(self) -> list[str]:
        return [line.decode() for one in self.requests for line in lines(json.dumps(one).encode())]

    @property
    def ids(self) -> Counter[str]:
        """How often each prediction came."""
        return Counter(json.loads(line)["id"] for line in self.lines)

    @property
    def resources(self) -> list[dict[str, str]]:
        """What is said of the pods, each once."""
        found = [
            {entry["key"]: entry["value"]["stringValue"] for entry in resource["resource"]["attributes"]}
            for one in self.requests
            for resource in one["resourceLogs"]
        ]
        return [one for place, one in enumerate(found) if one not in found[:place]]


@dataclass
class Collector:
    """The collector as k8s/log-shipping configures it, on the log files below `logs`."""

    logs: Path
    folder: Path
    sink: Sink
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "token").write_text(SAID)
        with (self.folder / "collector.log").open("ab") as log:
            self.process = subprocess.Popen(command(), env=self._environment(), stdout=log, stderr=log)
        until(self._runs)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def count(self, name: str) -> float:
        """A counter's value, over all its labels; 0 where it does not exist yet."""
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.partition("{")[0] == name]
        return sum(map(float, found))

    def _environment(self) -> dict[str, str]:
        told = {
            "LOGS": str(self.logs),
            "STATE": str(self.folder),
            "SINK": f"http://127.0.0.1:{self.sink.port}",
            "SINK_TOKEN_FILE": str(self.folder / "token"),
            "FLUSH": "200ms",
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": str(self.port),
        }
        return {**os.environ, **told, **self.settings}

    def _runs(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "collector.log").read_text()[-2000:]
        return _answers(f"http://127.0.0.1:{self.port}/metrics")


def command(verb: str = "") -> list[str]:
    """As the DaemonSet starts it."""
    configs = [f"--config={SHIPPING}/config/{name}.yaml" for name in ("collector", "sink")]
    return [
        str(tool("otel-collector")),
        *filter(None, [verb]),
        *configs,
        "--feature-gates=stanza.synchronousLogEmitter",
    ]


def until(done: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def _answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(url, timeout=5).ok
    return False


def main() -> None:
    """Keep, then answer."""
    out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_APPEND)
    # Half of a line, of one that was killed: nobody was told that it was kept.
    os.truncate(out, Path(sys.argv[2]).read_bytes().rfind(b"\n") + 1)

    def keep(body: bytes) -> dict[str, Any]:
        lines(body)
        os.write(out, body + b"\n")
        return {}

    with Endpoint("127.0.0.1", int(sys.argv[1]), {LOGS: keep}, SAID) as endpoint:
        endpoint.run()


if __name__ == "__main__":
    main()
