"""Progress of long work, on stderr: a spinner with the step and its time, or a plain line a step without a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yields `say(step)`; the last step stays on the line until the next one or the end."""
    if not sys.stderr.isatty():
        yield _plain(time.monotonic())
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("starting", total=None)
        yield lambda step: shown.update(task, description=step)


def _plain(started: float) -> Callable[[str], None]:
    def say(step: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - started:5.1f} s] {step}\n")
        sys.stderr.flush()

    return say
