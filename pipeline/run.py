"""run: everything from rows to a served answer on this machine, skipping what has not changed."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline import gate, paths, report
from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.frames import TableError
from pipeline.slo import read_slo
from pipeline.verdict import Decision, Verdict
from serving import bundle

PREDICTIONS, PAGE = paths.BUILD / "predictions.jsonl", paths.BUILD / "report.html"
Progress = Callable[[str], None]


def run(context: Context, progress: Progress) -> Callable[[], None]:
    """Reproduce, gate, report; returns what serves the result, to be called when nothing else is shown any more.

    A candidate that does not pass is served all the same, and says so. One run at a time works in a checkout: a second
    one waits until the first serves.
    """
    with exclusive(context.root, progress):
        progress("dvc repro")
        reproduce(context.root)
        verdict = _judged(context, progress)
    return serving(context, verdict)


def reproduce(root: Path) -> None:
    """`dvc repro`, with its own words on stderr. Raises UnavailableError where a stage fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=root, stdout=sys.stderr, check=False)
    if done.returncode:
        raise UnavailableError("`dvc repro` failed; its last lines say which stage and why")


def serving(context: Context, verdict: Verdict | None = None) -> Callable[[], None]:
    """What replaces this process by the server of build/bundle, with its predictions logged to a file."""
    if verdict is None:
        with suppress(TableError):
            verdict = gate.read_verdict(context.root)
    environment = {**os.environ, **server_environment(context, verdict)}

    def start() -> None:
        with (context.root / PREDICTIONS).open("ab") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
        os.chdir(context.root)
        os.execve(sys.executable, [sys.executable, "-m", "serving"], environment)  # noqa: S606 - signals must reach it

    return start


def server_environment(context: Context, verdict: Verdict | None) -> Mapping[str, str]:
    """HOST and PORT as the person set them, the version to serve, the SLO to show, and the notice."""
    version = bundle.version(context.root / paths.BUNDLE)
    slo = {f"FLIGHTLINE_SLO_{name.upper()}": str(value) for name, value in read_slo(context.root).model_dump().items()}
    return {
        **slo,
        "FLIGHTLINE_BUNDLE": str(paths.BUNDLE),
        "FLIGHTLINE_BUNDLE_VERSION": version,
        "FLIGHTLINE_HOST": os.environ.get("HOST", "127.0.0.1"),
        "FLIGHTLINE_PORT": os.environ.get("PORT", "8000"),
        "FLIGHTLINE_NOTICE": notice(version, verdict),
    }


def notice(version: str, verdict: Verdict | None) -> str:
    """What must be known of a bundle that is not fit for production; empty where it is."""
    if verdict is None or verdict.candidate.version != version:
        return "Not fit for production: no gate has judged this bundle; run `make gate`."
    if verdict.decision is Decision.PASS:
        return ""
    return f"Not fit for production ({verdict.decision}): {verdict.reason}"


@contextmanager
def exclusive(root: Path, progress: Progress) -> Iterator[None]:
    """One run at a time in a checkout; the lock goes with the process, however it ends."""
    path = root / paths.LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another run in this checkout to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _judged(context: Context, progress: Progress) -> Verdict | None:
    """The standing verdict where nothing changed, else a new one; None where the gates could not run at all."""
    found = gate.standing(context, "change")
    if found is not None and (context.root / PAGE).is_file():
        progress(f"gate: nothing changed since the verdict in {PAGE}")
    else:
        try:
            found = gate.run(context, "change", progress)
        except (UnavailableError, ConfigError) as error:
            progress(f"gate: {error}")
            return None
        progress(f"report: {PAGE}")
        report.render(found, context.root / paths.BUILD)
    sys.stderr.write(f"{report.headline(found)}\n")
    return found
