"""Where attempts are kept: on the branch `reports`, or in a folder where the checkout has no remote.

Both change an attempt by compare-and-swap: whoever writes is asked anew about what is there, so that of two schedules
at once one wins and the other sees it.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline import reports
from pipeline.delivery.git import REMOTE, Checkout, Repository
from pipeline.frames import write_bytes
from pipeline.monitoring.retrain.attempts import FILE, Attempt, in_order, read, written

KIND = "retrain"
FOLDER = Path(".observed") / KIND
_LOCK = ".lock"

Files = Mapping[str, bytes]
Change = Callable[[Attempt | None], Attempt | None]


class Ledger(Protocol):
    """Attempts and their files. Every method raises UnavailableError where the place is away."""

    def attempts(self) -> tuple[Attempt, ...]:
        """All of them, oldest first. Raises TableError for one that cannot be read."""

    def files(self, key: str) -> dict[str, bytes]:
        """What is kept of an attempt, by path below its folder."""

    def amend(self, key: str, change: Change, files: Files) -> bool:
        """Write what `change` makes of the attempt, and these files beside it; whether it wrote. None: nothing."""


def of(checkout: Checkout) -> Ledger:
    """The branch where there is a remote, else the folder. Raises GitError."""
    listed = Repository(checkout.root, "", "").text("remote").split()
    return Branch(Repository.of(checkout)) if REMOTE in listed else Folder(checkout.root / FOLDER)


def place(key: str) -> str:
    """The folder of an attempt on the branch."""
    return f"{KIND}/{key}"


@dataclass(frozen=True)
class Branch:
    """Attempts on the branch `reports`."""

    repository: Repository

    def attempts(self) -> tuple[Attempt, ...]:
        """All of them, oldest first."""
        found = reports.read_all(self.repository, KIND, FILE)
        return in_order(tuple(read(text, f"{reports.BRANCH}: {where}/{FILE}") for where, text in found.items()))

    def files(self, key: str) -> dict[str, bytes]:
        """What is kept of an attempt."""
        return reports.files(self.repository, place(key))

    def amend(self, key: str, change: Change, files: Files) -> bool:
        """One commit on the branch."""

        def changed(there: Files) -> Files | None:
            after = change(_attempt(there, f"{reports.BRANCH}: {place(key)}/{FILE}"))
            return None if after is None else {**there, **files, FILE: written(after)}

        return reports.amend(self.repository, place(key), changed)


@dataclass(frozen=True)
class Folder:
    """Attempts in a folder of this machine; one writes at a time."""

    root: Path

    def attempts(self) -> tuple[Attempt, ...]:
        """All of them, oldest first."""
        return in_order(tuple(read(path.read_bytes(), str(path)) for path in self.root.glob(f"*/{FILE}")))

    def files(self, key: str) -> dict[str, bytes]:
        """What is kept of an attempt."""
        below = self.root / key
        found = sorted(path for path in below.rglob("*") if path.is_file())
        return {path.relative_to(below).as_posix(): path.read_bytes() for path in found}

    def amend(self, key: str, change: Change, files: Files) -> bool:
        """The attempt's own document last, so that what it says is there."""
        with self._alone():
            after = change(_attempt(self.files(key), str(self.root / key / FILE)))
            if after is None:
                return False
            for name, data in {**files, FILE: written(after)}.items():
                write_bytes(self.root / key / name, data)
            return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _attempt(files: Files, where: str) -> Attempt | None:
    return read(files[FILE], where) if FILE in files else None
