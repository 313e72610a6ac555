"""One call of ONNX Runtime for all requests that arrived in one turn of the event loop.

A call costs the same handful of microseconds for one row as for ten, and lets go of the interpreter's lock each time.
Nobody waits for a batch to fill: what is there when the turn ends is scored.
"""

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


class Batches:
    """Collects matrices of one width and scores them together. Used from the event loop alone."""

    def __init__(self, score: Callable[[Matrix], Matrix]) -> None:
        self._score = score
        self._waiting: list[tuple[Matrix, asyncio.Future[Matrix]]] = []

    def score(self, matrix: Matrix) -> "asyncio.Future[Matrix]":
        """The scores (rows,) of a matrix (rows, inputs), at the end of this turn of the loop."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future: asyncio.Future[Matrix] = loop.create_future()
        self._waiting.append((matrix, future))
        return future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            scores = self._score(batch[0][0] if len(batch) == 1 else np.concatenate([matrix for matrix, _ in batch]))
        except Exception:  # noqa: BLE001 - whatever it was, only its own request may suffer
            self._one_by_one(batch)
            return
        at = 0
        for matrix, future in batch:
            if not future.done():
                future.set_result(scores[at : at + len(matrix)])
            at += len(matrix)

    def _one_by_one(self, batch: "list[tuple[Matrix, asyncio.Future[Matrix]]]") -> None:
        """After a failure: whoever's rows it was fails, and nobody else."""
        for matrix, future in batch:
            if future.done():
                continue
            try:
                future.set_result(self._score(matrix))
            except Exception as error:  # noqa: BLE001 - it reaches whoever awaits the future
                future.set_exception(error)
