"""One run at a time works in a checkout's build folder."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import paths


@contextmanager
def exclusive(root: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the checkout, waiting for whoever does; the lock goes with the process, however it ends."""
    path = root / paths.LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another run in this checkout to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
