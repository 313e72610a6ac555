"""run: everything from rows to a served answer on this machine, skipping what has not changed."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline import gate, paths, report
from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.errors import UnavailableError, foreseen
from pipeline.lock import exclusive
from pipeline.slo import read_slo
from pipeline.verdict import Decision, Verdict
from serving import bundle
from serving.bundle import check_files
from serving.server import check_address

PREDICTIONS, PAGE = paths.BUILD / "predictions.jsonl", paths.BUILD / "report.html"
Progress = Callable[[str], None]


def run(context: Context, progress: Progress) -> Callable[[], None]:
    """Reproduce, gate, report; returns what serves the result, to be called when nothing else is shown any more.

    A candidate that does not pass is served all the same, and says so. One run at a time works in a checkout: a second
    one waits until the first serves. Raises PortTakenError at once rather than after minutes of work.
    """
    check_address(*address())
    with exclusive(context.root, progress):
        progress("dvc repro")
        reproduce(context.root)
        verdict = _judged(context, progress)
    return serving(context, verdict)


def address(usual: str = "8000") -> tuple[str, int]:
    """HOST and PORT as the person set them; without a PORT the usual one. Raises ConfigError."""
    port = os.environ.get("PORT", usual)
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"PORT is {port!r}; it must be a number from 1 to 65535")
    return os.environ.get("HOST", "127.0.0.1"), int(port)


def reproduce(root: Path) -> None:
    """`dvc repro`, with its own words on stderr. Raises UnavailableError where a stage fails."""
    # The stages are `flightline` verbs, which lie beside this Python even where PATH does not say so.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command, environment = [sys.executable, "-m", "dvc", "repro"], {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=root, env=environment, stdout=sys.stderr, check=False)
    if done.returncode:
        raise UnavailableError("`dvc repro` failed; its last lines say which stage and why")


def serving(context: Context, verdict: Verdict | None) -> Callable[[], None]:
    """What replaces this process by the server of build/bundle, with its predictions logged to a file."""
    check_files(context.root / paths.BUNDLE)
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
    served = served_by(context.root, paths.BUNDLE, version, address())
    return {**served, "FLIGHTLINE_NOTICE": notice(version, verdict)}


def served_by(root: Path, folder: Path, version: str, listen: tuple[str, int]) -> Mapping[str, str]:
    """What `python -m serving` is told by `make run`: the bundle, the version it must be, where to listen, the SLO."""
    slo = {f"FLIGHTLINE_SLO_{name.upper()}": str(value) for name, value in read_slo(root).model_dump().items()}
    return {
        **slo,
        "FLIGHTLINE_BUNDLE": str(folder),
        "FLIGHTLINE_BUNDLE_VERSION": version,
        "FLIGHTLINE_HOST": listen[0],
        "FLIGHTLINE_PORT": str(listen[1]),
    }


def notice(version: str, verdict: Verdict | None) -> str:
    """What must be known of a bundle that is not fit for production; empty where it is."""
    if verdict is None or verdict.candidate.version != version:
        return "Not fit for production: no gate has judged this bundle; run `make gate`."
    if verdict.decision is Decision.PASS:
        return ""
    return f"Not fit for production ({verdict.decision}): {verdict.reason}"


def standing(context: Context) -> Verdict | None:
    """The verdict on disk where it still speaks of what is here; None where there is none, or it cannot be told."""
    try:
        return gate.standing(context, "change")
    except foreseen():
        return None


def _reported(root: Path) -> bool:
    """Whether the page was rendered after the verdict, and not left over from an earlier one."""
    page, verdict = root / PAGE, root / paths.VERDICT
    return page.is_file() and page.stat().st_mtime_ns >= verdict.stat().st_mtime_ns


def _judged(context: Context, progress: Progress) -> Verdict | None:
    """The standing verdict where nothing changed, else a new one; None where the gates could not run at all."""
    found = standing(context)
    if found is not None and _reported(context.root):
        progress(f"gate: nothing changed since the verdict in {PAGE}")
    else:
        try:
            found = gate.run(context, "change", progress)
        except foreseen() as error:
            progress(f"gate: {error}")
            return None
        progress(f"report: {PAGE}")
        report.render(found, context.root / paths.BUILD)
    sys.stderr.write(f"{report.headline(found)}\n")
    return found
