"""From validated rows to scores, with the lines of the prediction log. Pure but for the clock: safe in a thread."""

import math
import random
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from serving.bundle import Bundle
from serving.problems import MODEL_ERROR, Fault, Refusal
from serving.requests import Codec
from serving.settings import Settings


class Call(msgspec.Struct, frozen=True):
    """One request: its id and when it began (seconds of `time.perf_counter`)."""

    id: str
    began: float


class Prediction(msgspec.Struct):
    """One row's answer; `decision` is score >= threshold, where the model has one."""

    id: str
    score: float
    decision: bool | UnsetType = UNSET


class Line(msgspec.Struct):
    """One row in the prediction log. `latency` is in seconds, from the request's head to the score."""

    time: datetime
    id: str
    request: str
    model: str
    version: str
    features: Any
    score: float
    latency: float


class Answer(msgspec.Struct):
    """A scored request: the body to send, and what log and metrics are to know of it."""

    body: bytes
    predictions: list[Prediction]
    lines: bytes
    missing: list[int]
    unseen: list[int]


class Scorer:
    """Scores requests with one bundle."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle, self.signature = bundle, bundle.signature
        self.codec = Codec(bundle.signature, settings.max_rows)
        self.encoder = msgspec.json.Encoder()
        self._threshold, self._share = bundle.signature.output.threshold, settings.log_share
        named = {"model": bundle.signature.model, "version": bundle.version}
        self._head = self.encoder.encode(named)[:-1] + b',"predictions":'

    def predict(self, body: bytes, call: Call) -> Answer:
        """Answer the body of a POST to /predict. Raises Refusal."""
        answer = self.score(self.codec.decode(body), call)
        answer.body = b"%b%b}" % (self._head, self.encoder.encode(answer.predictions))
        return answer

    def score(self, rows: list[Any], call: Call) -> Answer:
        """Score validated rows; the body is left to whoever asked. Raises Refusal for a score that is not finite."""
        encoded = self.codec.encode(rows)
        scores = self.bundle.score(encoded.matrix).tolist()
        if not math.isfinite(sum(scores)):
            raise _not_finite(scores)
        predictions = [
            Prediction(f"{call.id}-{index}" if given is UNSET else given, score, self._decide(score))
            for index, (given, score) in enumerate(zip(encoded.ids, scores, strict=True))
        ]
        lines = self._lines(rows, predictions, call) if self._is_logged() else b""
        return Answer(b"", predictions, lines, encoded.missing, encoded.unseen)

    def _decide(self, score: float) -> bool | UnsetType:
        return UNSET if self._threshold is None else score >= self._threshold

    def _is_logged(self) -> bool:
        return self._share >= 1 or random.random() < self._share  # noqa: S311 (a sample, not a secret)

    def _lines(self, rows: list[Any], predictions: list[Prediction], call: Call) -> bytes:
        now, latency = datetime.now(UTC), round(time.perf_counter() - call.began, 6)
        model, version = self.signature.model, self.bundle.version
        return self.encoder.encode_lines(
            [
                Line(now, one.id, call.id, model, version, row, one.score, latency)
                for row, one in zip(rows, predictions, strict=True)
            ]
        )


def _not_finite(scores: list[float]) -> Refusal:
    faults = tuple(
        Fault(index, "score", f"Row {index}: the model's score is {score}, not a finite number.")
        for index, score in enumerate(scores)
        if not math.isfinite(score)
    )
    return Refusal(MODEL_ERROR, faults[0].detail, faults)
