"""From validated rows to scores, and to the lines of the prediction log. Safe in a thread."""

import math
import random
from collections.abc import Callable
from datetime import datetime
from operator import add
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from serving.bundle import Bundle
from serving.problems import MODEL_ERROR, Fault, RefusedError
from serving.requests import Codec
from serving.settings import Settings
from serving.weaving import Texts, texts, thread, weave

_FEATURES = b',"features":'
_LINE_FEED, _RETURN = b"\n\r"  # as numbers: to look for bytes, CPython first raises an error and forgets it
_BELOW, _REACHED = b',"decision":false', b',"decision":true'
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

    `opening` and the row's text in `named` are together its members `id` and `score`.
    """

    scores: list[float]
    request: bytes
    opening: bytes
    named: Texts


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
        opening, names = self._names(question, request)
        scored = Scored(found, request, opening, list(map(add, names, texts(found))))
        return Answer(question.write(scored), question, scored, scores)

    def answer_now(self, question: Question) -> Answer:
        """Score and answer at once, for whoever is not in the event loop. Raises RefusedError."""
        return self.answer(question, self.bundle.score(question.matrix))

    def decided(self, scores: list[float], below: _Decision, reached: _Decision) -> list[_Decision]:
        """One of two values for each score, by whether it is at least the threshold; nothing where there is none."""
        threshold = self._threshold
        return [] if threshold is None else [reached if score >= threshold else below for score in scores]

    def _names(self, question: Question, request: bytes) -> tuple[bytes, Texts]:
        """How all members `id` begin, and what follows in each row until its score.

        A row's id is the caller's own, or the request's and the place in it.
        """
        if question.ids is None:
            return b'"id":' + request[:-1], self._endings(len(question.matrix))
        prefix = f"{question.call.id}-"
        own = texts(f"{prefix}{place}" if name is UNSET else name for place, name in enumerate(question.ids))
        return b'"id":', [name + b',"score":' for name in own]

    def _endings(self, rows: int) -> Texts:
        """What sets the ids of a request's rows apart. Kept: to write them takes longer than to score the rows."""
        places = self._places
        if len(places) < rows:
            places = self._places = [b'-%d","score":' % place for place in range(rows)]
        return places[:rows]

    def _written(self, scored: Scored) -> bytes:
        decisions = self.decided(scored.scores, _BELOW, _REACHED)
        parts = (scored.named, decisions) if decisions else (scored.named,)
        before = b'{%b,"predictions":[{%b' % (self._served, scored.opening)
        return weave(len(scored.scores), before, parts, b"},{" + scored.opening, b"}]}")

    def lines(self, answer: Answer, now: datetime, seconds: float) -> bytes:
        """The rows of an answer for the prediction log, or nothing where the request is not in the sample."""
        if self._share < 1 and random.random() >= self._share:  # noqa: S311 (a sample, not a secret)
            return b""
        call, scored, encode = answer.question.call, answer.scored, self.encoder.encode
        moment = b"" if call.event_time is None else b'"event_time":%b,' % encode(call.event_time)
        before = b'{"time":%b,%b"request":%b,%b,%b' % (
            *(encode(now), moment, scored.request, self._served, scored.opening),
        )
        return _logged(answer.question, before, scored.named, b'"latency":%.6f}\n' % seconds)


def _logged(question: Question, before: bytes, named: Texts, after: bytes) -> bytes:
    """The lines of a request's rows, the features as they came in its body where that fits: without line breaks."""
    body, rows = question.body, question.rows
    quotable = body and _LINE_FEED not in body and _RETURN not in body
    if len(rows) == 1:
        return b'%b%b,"features":%b,%b' % (
            before,
            named[0],
            body.strip(b" \t[]") if quotable else texts(rows)[0],
            after,
        )
    lines = thread(body, before, named, _FEATURES, after) if quotable else None
    return lines or weave(len(rows), before, (named, _FEATURES, texts(rows)), b"," + after + before, b"," + after)


def _not_finite(scores: list[float]) -> RefusedError:
    faults = tuple(
        Fault(index, "score", f"Row {index}: the model's score is {score}, not a finite number.")
        for index, score in enumerate(scores)
        if not math.isfinite(score)
    )
    return RefusedError(MODEL_ERROR, faults[0].detail, faults)
