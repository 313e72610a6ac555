"""From validated rows to scores, and to the lines of the prediction log. Safe in a thread."""

import math
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from serving.bundle import Bundle
from serving.problems import MODEL_ERROR, Fault, RefusedError
from serving.requests import Codec
from serving.settings import Settings
from serving.weaving import Texts, texts, weave

_UNDECIDED, _BELOW, _REACHED = b"},", b',"decision":false},', b',"decision":true},'
_Decision = TypeVar("_Decision")


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request: its id, when it began (seconds of `time.perf_counter`), and the moment its rows are about, in UTC.

    Without such a moment they are about now.
    """

    id: str
    began: float
    event_time: datetime | None = None


class Scored(msgspec.Struct, gc=False):
    """The scores of a request's rows; and as JSON, for answer and log, the request's id and each row's id and score.

    `ids` are parts of a text: a row's id is all of them, one after the other.
    """

    scores: list[float]
    request: bytes
    ids: tuple[bytes | Texts, ...]
    numbers: Texts


class Question(msgspec.Struct):
    """A request read and encoded: `matrix` (rows, inputs) waits for its scores, `write` makes the body of an answer.

    `body` has the rows as they came, where the log may quote them. `ids` are those given, or None without any.
    """

    call: Call
    body: bytes
    rows: list[Any]
    ids: list[Any] | None
    matrix: NDArray[np.float32]
    write: Callable[[Scored], bytes]


class Answer(msgspec.Struct):
    """A scored request: the body to send, and what log and metrics are to know of it.

    `lines` are the rows of the prediction log, encoded; None until somebody has done that.
    """

    body: bytes
    question: Question
    scored: Scored
    scores: NDArray[np.float32]
    lines: bytes | None = None


class Scorer:
    """Scores requests with one bundle."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle, self.signature = bundle, bundle.signature
        self.codec = Codec(bundle.signature, settings.max_rows)
        self.encoder = msgspec.json.Encoder()
        self._threshold, self._share = bundle.signature.output.threshold, settings.log_share
        self._served = self.encoder.encode({"model": bundle.signature.model, "version": bundle.version})[1:-1]
        self._places: Texts = []

    def predict(self, body: bytes, call: Call) -> Question:
        """Read the body of a POST to /predict. Raises RefusedError."""
        return self.question(self.codec.decode(body), call, self._written, body)

    def question(self, rows: list[Any], call: Call, write: Callable[[Scored], bytes], body: bytes = b"") -> Question:
        """Validated rows, encoded. The log quotes them from `body`, where they came in one and fit into a line."""
        encoded = self.codec.encode(rows)
        quotable = body if encoded.ids is None else b""
        return Question(call, quotable, rows, encoded.ids, encoded.matrix, write)

    def answer(self, question: Question, scores: NDArray[np.float32]) -> Answer:
        """The answer to a question whose scores (rows,) are there. Raises RefusedError where one is not finite."""
        found = scores.tolist()
        if not math.isfinite(sum(found)):
            raise _not_finite(found)
        request = self.encoder.encode(question.call.id)
        scored = Scored(found, request, self._ids(question, request), texts(found))
        return Answer(question.write(scored), question, scored, scores)

    def answer_now(self, question: Question) -> Answer:
        """Score and answer at once, for whoever is not in the event loop. Raises RefusedError."""
        return self.answer(question, self.bundle.score(question.matrix))

    def decided(self, scores: list[float], below: _Decision, reached: _Decision) -> list[_Decision]:
        """One of two values for each score, by whether it is at least the threshold; nothing where there is none."""
        threshold = self._threshold
        return [] if threshold is None else [reached if score >= threshold else below for score in scores]

    def _ids(self, question: Question, request: bytes) -> tuple[bytes | Texts, ...]:
        """The caller's own ids, or the request's and the place in it."""
        if question.ids is None:
            return request[:-1], self._endings(len(question.matrix))
        prefix = f"{question.call.id}-"
        return (texts(f"{prefix}{place}" if name is UNSET else name for place, name in enumerate(question.ids)),)

    def _endings(self, rows: int) -> Texts:
        """What sets the ids of a request's rows apart. Kept: to write them takes longer than to score the rows."""
        places = self._places
        if len(places) < rows:
            places = self._places = [b'-%d"' % place for place in range(rows)]
        return places[:rows]

    def _written(self, scored: Scored) -> bytes:
        endings = self.decided(scored.scores, _BELOW, _REACHED) or _UNDECIDED
        rows = weave(len(scored.scores), b'{"id":', *scored.ids, b',"score":', scored.numbers, endings)
        return b'{%b,"predictions":[%b]}' % (self._served, rows[:-1])

    def lines(self, answer: Answer, now: datetime, seconds: float) -> bytes:
        """The rows of an answer for the prediction log, or nothing where the request is not in the sample."""
        if self._share < 1 and random.random() >= self._share:  # noqa: S311 (a sample, not a secret)
            return b""
        question, scored, encode = answer.question, answer.scored, self.encoder.encode
        event_time = question.call.event_time
        moment = b"" if event_time is None else b'"event_time":%b,' % encode(event_time)
        return weave(
            len(scored.scores),
            b'{"time":%b,%b"id":' % (encode(now), moment),
            *scored.ids,
            b',"request":%b,%b,"features":{' % (scored.request, self._served),
            self.codec.quoted(question.rows, question.body),
            b'"score":',
            scored.numbers,
            b',"latency":%b}\n' % encode(int(seconds * 1e6 + 0.5) / 1e6),
        )


def _not_finite(scores: list[float]) -> RefusedError:
    faults = tuple(
        Fault(index, "score", f"Row {index}: the model's score is {score}, not a finite number.")
        for index, score in enumerate(scores)
        if not math.isfinite(score)
    )
    return RefusedError(MODEL_ERROR, faults[0].detail, faults)
