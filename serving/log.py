"""The prediction log: JSON lines on standard output, one per scored row, written in batches by a thread of their own.

Lines wait in memory until there are enough of them or a moment has passed, and at a drain nothing is left behind. When
whoever reads the output cannot keep up, lines are dropped and counted rather than answers held up.
"""

import asyncio
import os
from queue import SimpleQueue
from threading import Thread

# Waking the writer costs the loop as much as a few hundred lines do.
FULL = 1 << 20
MOMENT = 0.2
MOST_PENDING = 16 << 20


class PredictionLog:
    """Appends lines from the event loop and writes them to a file descriptor. Closed once, at the end."""

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._handed = self._taken = 0  # bytes; each is changed by one thread only
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, lines: bytes) -> None:
        """Take whole lines; call from the event loop."""
        if not self._buffer and lines:
            asyncio.get_running_loop().call_later(MOMENT, self.flush)
        self._buffer += lines
        if len(self._buffer) >= FULL:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the writer, or drop it where the writer is too far behind."""
        lines = bytes(self._buffer)
        self._buffer.clear()
        if self._handed - self._taken > MOST_PENDING:
            self.dropped += lines.count(b"\n")
        elif lines:
            self._handed += len(lines)
            self._queue.put(lines)

    def close(self, seconds: float) -> None:
        """Write what is left, taking at most `seconds`."""
        self.flush()
        self._queue.put(None)
        self._thread.join(seconds)

    def _write_all(self) -> None:
        while (lines := self._queue.get()) is not None:
            written = self._write(lines)
            self._taken += len(lines)
            self.dropped += lines.count(b"\n", written)

    def _write(self, lines: bytes) -> int:
        """Write until all is out or the reader is gone; returns how many bytes went out."""
        written = 0
        while written < len(lines):
            try:
                written += os.write(self._descriptor, memoryview(lines)[written:])
            except OSError:
                break
        return written
