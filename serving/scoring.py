"""From validated rows to scores, and to the lines of the prediction log. Safe in a thread."""

import math
import random
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from serving.bundle import Bundle
from serving.problems import MODEL_ERROR, Fault, RefusedError
from serving.requests import Codec
from serving.settings import Settings


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request: its id and when it began (seconds of `time.perf_counter`)."""

    id: str
    began: float


class Prediction(msgspec.Struct, gc=False):
    """One row's answer; `decision` is score >= threshold, where the model has one."""

    id: str
    score: float
    decision: bool | UnsetType = UNSET


class Line(msgspec.Struct, gc=False):
    """One row in the prediction log. `latency` is in seconds, from the request's head to its answer."""

    time: datetime
    id: str
    request: str
    model: str
    version: str
    features: Any
    score: float
    latency: float


class Question(msgspec.Struct):
    """A request read and encoded: `matrix` (rows, inputs) waits for its scores, `write` makes the body of an answer.

    `features` gives the rows as the log is to have them.
    """

    call: Call
    features: Callable[[], Iterable[Any]]
    ids: list[Any]
    matrix: NDArray[np.float32]
    write: Callable[[list[Prediction]], bytes]


class Answer(msgspec.Struct):
    """A scored request: the body to send, and what log and metrics are to know of it.

    `lines` are the rows of the prediction log, encoded; None until somebody has done that.
    """

    body: bytes
    call: Call
    features: Callable[[], Iterable[Any]]
    ids: list[str]
    scores: NDArray[np.float32]
    matrix: NDArray[np.float32]
    lines: bytes | None = None


class Scorer:
    """Scores requests with one bundle."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle, self.signature = bundle, bundle.signature
        self.codec = Codec(bundle.signature, settings.max_rows)
        self.encoder = msgspec.json.Encoder()
        self._threshold, self._share = bundle.signature.output.threshold, settings.log_share
        named = {"model": bundle.signature.model, "version": bundle.version}
        self._head = self.encoder.encode(named)[:-1] + b',"predictions":'

    def predict(self, body: bytes, call: Call) -> Question:
        """Read the body of a POST to /predict. Raises RefusedError."""
        return self.question(self.codec.decode(body), call, self._written, body)

    def question(
        self, rows: list[Any], call: Call, write: Callable[[list[Prediction]], bytes], body: bytes = b""
    ) -> Question:
        """Validated rows, encoded. The log quotes them from `body`, where they came in one and fit into a line."""
        encoded = self.codec.encode(rows)
        quotable = body and not encoded.named and b"\n" not in body and b"\r" not in body
        features = partial(self.codec.quote, body) if quotable else lambda: rows
        return Question(call, features, encoded.ids, encoded.matrix, write)

    def answer(self, question: Question, scores: NDArray[np.float32]) -> Answer:
        """The answer to a question whose scores (rows,) are there. Raises RefusedError where one is not finite."""
        found = scores.tolist()
        if not math.isfinite(sum(found)):
            raise _not_finite(found)
        prefix = f"{question.call.id}-"
        ids = [f"{prefix}{index}" if given is UNSET else given for index, given in enumerate(question.ids)]
        predictions = list(map(Prediction, ids, found, self._decisions(found)))
        return Answer(question.write(predictions), question.call, question.features, ids, scores, question.matrix)

    def answer_now(self, question: Question) -> Answer:
        """Score and answer at once, for whoever is not in the event loop. Raises RefusedError."""
        return self.answer(question, self.bundle.score(question.matrix))

    def _written(self, predictions: list[Prediction]) -> bytes:
        return b"%b%b}" % (self._head, self.encoder.encode(predictions))

    def _decisions(self, scores: list[float]) -> list[Any]:
        threshold = self._threshold
        return [UNSET] * len(scores) if threshold is None else [score >= threshold for score in scores]

    def lines(self, answer: Answer, now: datetime, seconds: float) -> bytes:
        """The rows of an answer for the prediction log, or nothing where the request is not in the sample."""
        if self._share < 1 and random.random() >= self._share:  # noqa: S311 (a sample, not a secret)
            return b""
        model, version, latency = self.signature.model, self.bundle.version, round(seconds, 6)
        lines = [
            Line(now, name, answer.call.id, model, version, row, score, latency)
            for name, row, score in zip(answer.ids, answer.features(), answer.scores.tolist(), strict=True)
        ]
        return self.encoder.encode_lines(lines)


def _not_finite(scores: list[float]) -> RefusedError:
    faults = tuple(
        Fault(index, "score", f"Row {index}: the model's score is {score}, not a finite number.")
        for index, score in enumerate(scores)
        if not math.isfinite(score)
    )
    return RefusedError(MODEL_ERROR, faults[0].detail, faults)
