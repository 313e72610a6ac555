"""Asking a server, and keeping what it logs of that: as callers and `flightline log add` do."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UnavailableError
from pipeline.gates.load_server import HOST, Server
from pipeline.monitoring.play.traffic import Caller, Request, Sent
from pipeline.monitoring.store import Store

LOG_SECONDS = 30.0
_MOMENT = 0.02


@dataclass
class Exchange:
    """A server, the file that it logs to, and the store that its log is kept in."""

    server: Server
    log: Path
    store: Store

    def __post_init__(self) -> None:
        self._caller = Caller(HOST, self.server.port)
        self._read = 0

    def play(self, given: Iterator[Request]) -> Sent:
        """Ask; what the server logged of it is in the store afterwards. Raises UnavailableError, ServerError."""
        sent = self._caller.send(given)
        self.server.check()
        kept = self.store.add_predictions(self._lines(sent.answered))
        if kept.skipped:
            raise UnavailableError(f"{self.log}: {kept.skipped} lines cannot be read, {'; '.join(kept.examples)}")
        return sent

    def _lines(self, wanted: int) -> list[bytes]:
        """So many new lines of the log, waiting for them: the server writes them a moment after its answers."""
        found, until = b"", time.monotonic() + LOG_SECONDS
        while found.count(b"\n") < wanted:
            if time.monotonic() > until:
                raise UnavailableError(f"{self.log} has {found.count(10)} of {wanted} lines after {LOG_SECONDS:.0f} s")
            time.sleep(_MOMENT)
            with self.log.open("rb") as file:
                file.seek(self._read)
                found = file.read()
        self._read += len(found)
        return found.splitlines(keepends=True)
