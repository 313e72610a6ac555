"""`python -m bench [PART]`: measure, print the table, write it as JSON; 1 if a goal is missed.

Without a part, serving and gates, to build/bench.json. `pipeline` runs `make run` in a fresh clone, `monitoring` looks
at a million logged rows, `labels` keeps, labels and joins ten million; each takes minutes and writes a file of its own,
build/bench-pipeline.json say.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench import figures, gates, labels, monitoring, pipeline, serving
from bench.figures import Figure
from bench.serving import Peers
from bench.wrk import BenchError
from pipeline.gates.load_server import ServerError


class Part(StrEnum):
    """What can be measured by itself."""

    DEFAULT = "default"
    SERVING = "serving"
    GATES = "gates"
    PIPELINE = "pipeline"
    MONITORING = "monitoring"
    LABELS = "labels"


_BY_THEMSELVES = (Part.PIPELINE, Part.MONITORING, Part.LABELS)


def main(
    part: Annotated[Part, typer.Argument(help="what to measure")] = Part.DEFAULT,
    bundle: Annotated[Path, typer.Option(help="the bundle to serve")] = Path("build/bundle"),
    peers: Annotated[Path, typer.Option(help="the peers' Python")] = serving.PYTHON,
    mlserver: Annotated[Path, typer.Option(help="MLServer's Python")] = serving.MLSERVER,
    rounds: Annotated[int, typer.Option(help="rounds of every server in turn", min=3)] = 21,
    seconds: Annotated[int, typer.Option(help="seconds of load per server and round", min=1)] = 1,
    rows: Annotated[int, typer.Option(help="rows that are labelled and joined", min=1)] = labels.ROWS,
) -> None:
    """Measure the figures of docs/benchmarks.md on this machine."""
    try:
        if part is Part.LABELS:
            found = labels.measure(rows, _say)
        else:
            found = list(_measure(part, bundle, Peers(peers, mlserver), rounds, seconds))
    except (BenchError, ServerError) as error:
        _say(str(error))
        raise typer.Exit(2) from error
    figures.save(found, Path(f"build/bench-{part}.json" if part in _BY_THEMSELVES else "build/bench.json"))
    figures.show(found)
    raise typer.Exit(0 if all(one.met for one in found) else 1)


def _measure(part: Part, bundle: Path, peers: Peers, rounds: int, seconds: float) -> list[Figure]:
    if part is Part.PIPELINE:
        return pipeline.measure(_say)
    _check(bundle, "`make bundle` writes one")
    if part is Part.MONITORING:
        return monitoring.measure(bundle, _say)
    found: list[Figure] = []
    if part in (Part.DEFAULT, Part.SERVING):
        _check(peers.python, "`make bench` installs it from requirements/bench.txt")
        _check(peers.mlserver, "`make bench` installs it from requirements/bench-mlserver.txt")
        found += serving.measure(bundle, peers, rounds, seconds, _say)
    if part in (Part.DEFAULT, Part.GATES):
        found += gates.measure(bundle, _say)
    return found


def _check(path: Path, fix: str) -> None:
    if not path.exists():
        raise BenchError(f"{path} is not there; {fix}")


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    typer.run(main)
