"""The prediction log: JSON lines on standard output, one per scored row, written in batches by a thread of their own.

Lines wait in memory until there are enough of them or a moment has passed, and at a drain nothing is left behind. They
are not copied together: fresh pages for a megabyte cost more than encoding the lines in it did. When whoever reads the
output cannot keep up, lines are dropped and counted rather than answers held up.
"""

import asyncio
import os
from queue import SimpleQueue
from threading import Thread

# Waking the writer costs the loop as much as a few hundred lines do.
FULL = 1 << 20
MOMENT = 0.2
MOST_PENDING = 16 << 20
_MOST_AT_ONCE = 1024  # chunks in a call of writev; POSIX lets a system take as few as 16, Linux and macOS take these


class PredictionLog:
    """Appends lines from the event loop and writes them to a file descriptor. Closed once, at the end."""

    def __init__(self, descriptor: int) -> None:
        self.lines = 0
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._size = 0
        # Each is changed by one thread only: bytes, and lines that the loop and the writer dropped.
        self._handed = self._taken = 0
        self._refused = self._lost = 0
        self._queue: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that nobody will read."""
        return self._refused + self._lost

    def append(self, lines: bytes, count: int) -> None:
        """Take so many whole lines, or nothing; call from the event loop."""
        if not lines:
            return
        self.lines += count
        if not self._waiting:
            asyncio.get_running_loop().call_later(MOMENT, self.flush)
        self._waiting.append(lines)
        self._size += len(lines)
        if self._size >= FULL:
            self.flush()

    def flush(self) -> None:
        """Hand what waits to the writer, or drop it where the writer is too far behind."""
        chunks, size, self._waiting, self._size = self._waiting, self._size, [], 0
        if self._handed - self._taken > MOST_PENDING:
            self._refused += sum(lines.count(b"\n") for lines in chunks)
        elif chunks:
            self._handed += size
            self._queue.put(chunks)

    def close(self, seconds: float) -> None:
        """Write what is left, taking at most `seconds`."""
        self.flush()
        self._queue.put(None)
        self._thread.join(seconds)

    def _write_all(self) -> None:
        while (chunks := self._queue.get()) is not None:
            for first in range(0, len(chunks), _MOST_AT_ONCE):
                self._write(chunks[first : first + _MOST_AT_ONCE])

    def _write(self, chunks: list[bytes]) -> None:
        """Write until all is out or the reader is gone; what did not go out counts as dropped."""
        size, written = sum(map(len, chunks)), 0
        try:
            written = os.writev(self._descriptor, chunks)
            while written < size:
                written += os.write(self._descriptor, b"".join(chunks)[written:])
        except OSError:
            self._lost += b"".join(chunks).count(b"\n", written)
        self._taken += size
