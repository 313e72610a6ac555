"""An object store on loopback: a real S3 API over a folder, which can be stopped and started again."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.gates.load_server import free_port
from pipeline.tools import tool

KEY, SECRET, REGION = "tests", "no-secret-of-anyone", "us-east-1"
START_SECONDS = 30.0


@dataclass
class Buckets:
    """`folder` has a folder for each bucket."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client is told."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self) -> None:
        """Answers when this returns."""
        command = [tool("versitygw"), "--port", f"127.0.0.1:{self.port}", "--health", "/health", "--quiet"]
        sidecar = self.folder.with_name("about")  # a longer name that begins like the folder's is refused
        sidecar.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [*command, "posix", "--sidecar", str(sidecar), str(self.folder)],
            env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, "the object store ended"
            assert time.monotonic() < deadline, "the object store does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Away, with all that is in it kept."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def bucket(self, name: str) -> str:
        """A new bucket, as a place."""
        (self.folder / name).mkdir()
        return f"s3://{name}"

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def buckets(folder: Path) -> Iterator[Buckets]:
    """An object store that runs as long as the block."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Buckets(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
