"""wrk, the load client: cheap enough that on two cores the server is what is measured."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")


class BenchError(Exception):
    """Something that keeps a figure from being measured. The message says what to do."""


@dataclass(frozen=True)
class Target:
    """One endpoint under load: its URL and the JSON body that is posted to it."""

    url: str
    body: Any


def check() -> None:
    """Raise BenchError unless wrk is installed."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed; it makes the load: `apt-get install wrk` or `brew install wrk`")


def rate(target: Target, seconds: float, connections: int = 16) -> float:
    """Good answers per second from one wrk thread. Raises BenchError on any other answer."""
    with NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(json.dumps(target.body)))
        script.flush()
        said = _wrk(["-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", script.name, target.url])
    found, bad = _RATE.search(said), _BAD.search(said)
    if found is None or bad is not None:
        raise BenchError(f"{target.url} did not answer well under load: {bad[0] if bad else said.strip()}")
    return float(found[1])


def _wrk(arguments: list[str]) -> str:
    done = subprocess.run(["wrk", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _script(body: str) -> str:
    """A Lua long string, so that nothing in the body needs escaping."""
    return f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'


def example(bundle: Path) -> dict[str, Any]:
    """The first golden row of a bundle, as a caller would send it."""
    columns = json.loads((bundle / "golden.json").read_bytes())["rows"]
    return {name: values[0] for name, values in columns.items()}
