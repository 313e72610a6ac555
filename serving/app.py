"""The RSGI application: from a request to its answer, with the limits, metrics and log around it."""

import asyncio
import itertools
import re
import secrets
import sys
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from serving.batches import Batches, Matrix
from serving.bodies import Bodies, check_media_type, explain
from serving.bundle import Bundle
from serving.connections import Connections
from serving.headers import EVENT_TIME, event_time
from serving.log import PredictionLog
from serving.metrics import Metrics
from serving.problems import INTERNAL, OVERLOADED, TOO_LARGE, Fault, RefusedError
from serving.routes import RETRY, Read, Reply, build, problem
from serving.scoring import Answer, Call, Scorer
from serving.settings import Settings

INLINE_BYTES = 32 << 10
FEW_ROWS = 16
FOLD_ROWS, FOLD_SECONDS = 1024, 0.1
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CLOSE = ("connection", "close")
_OPEN_HEADERS = [("content-type", "application/json")]
_LAST_HEADERS = [*_OPEN_HEADERS, _CLOSE]


class App:
    """Serves one bundle. A body above 32 KiB is scored in a thread, so that /livez goes on answering.

    Requests of a few rows are scored together; larger ones are worth a call of the model each.

    The metrics are brought up to date for several answers at a time, which costs a fraction of doing it for each.
    """

    def __init__(self, bundle: Bundle, settings: Settings, log: PredictionLog) -> None:
        self.metrics = Metrics(bundle, settings.slo)
        self._log, self._scorer = log, Scorer(bundle, settings)
        self._routes = build(self._scorer, settings, self._scrape)
        self._names = bundle.signature.names
        self._bodies = Bodies(settings.max_body_bytes, settings.request_timeout)
        self._connections = Connections(settings.max_requests_per_connection)
        self._limit = settings.max_concurrency
        self._batches = Batches(bundle.score)
        self._thread = ThreadPoolExecutor(1, "batch")
        self._prefix, self._numbers = secrets.token_hex(8), itertools.count()
        self._unfolded: list[tuple[str, float, Matrix, Matrix]] = []
        self._unfolded_rows = 0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(self._bodies.sweep)

    def __rsgi__(self, scope: Any, protocol: Any) -> Coroutine[Any, Any, None]:
        route = self._routes.scoring.get(scope.path) if scope.method == "POST" else None
        return self._paged(scope, protocol) if route is None else self._scored(scope, protocol, *route)

    async def _paged(self, scope: Any, protocol: Any) -> None:
        page = self._routes.pages.get(scope.path) if scope.method in ("GET", "HEAD") else None
        reply = page() if page else problem(self._routes.refuse(scope.method, scope.path))
        self._send(scope, protocol, reply)

    async def _scored(self, scope: Any, protocol: Any, route: str, read: Read) -> None:
        headers = scope.headers
        call = Call(self._request_id(headers), perf_counter())
        self.metrics.in_flight += 1
        try:
            answer = await self._answer(headers, protocol, read, call)
            is_last = self._connections.is_last(scope.client) or not self.metrics.ready
            protocol.response_bytes(200, _LAST_HEADERS if is_last else _OPEN_HEADERS, answer.body)
            self._record(answer, route)
        except RefusedError as refusal:
            await self._refuse(explain(refusal, headers), route, call, scope, protocol)
        finally:
            self.metrics.in_flight -= 1

    async def _answer(self, headers: Any, protocol: Any, read: Read, call: Call) -> Answer:
        """Read and score one request. Raises RefusedError, whatever goes wrong."""
        if self.metrics.in_flight > self._limit:
            detail = f"{self._limit} requests are in flight already; try again in a moment."
            raise RefusedError(OVERLOADED, detail, headers=(RETRY,))
        check_media_type(headers)
        if EVENT_TIME in headers:
            call = msgspec.structs.replace(call, event_time=event_time(headers.get_all(EVENT_TIME)))
        body = await self._bodies.read(headers, protocol, call.began)
        try:
            if len(body) > INLINE_BYTES:
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_thread, read, body, call)
            question = read(body, call)
            if len(question.matrix) > FEW_ROWS:
                return self._scorer.answer_now(question)
            return self._scorer.answer(question, await self._batches.score(question.matrix))
        except RefusedError:
            raise
        except Exception as error:
            sys.stderr.write(f"flightline: request {call.id} failed: {type(error).__name__}: {error}\n")
            raise RefusedError(INTERNAL, "The server failed on this request; its log says more.") from error

    def _in_thread(self, read: Read, body: bytes, call: Call) -> Answer:
        answer = self._scorer.answer_now(read(body, call))
        answer.lines = self._scorer.lines(answer, datetime.now(UTC), perf_counter() - call.began)
        return answer

    def _record(self, answer: Answer, route: str) -> None:
        seconds = perf_counter() - answer.question.call.began
        lines = self._scorer.lines(answer, datetime.now(UTC), seconds) if answer.lines is None else answer.lines
        self._log.append(lines, len(answer.scores))
        if not self._unfolded:
            asyncio.get_running_loop().call_later(FOLD_SECONDS, self.fold)
        self._unfolded.append((route, seconds, answer.question.matrix, answer.scores))
        self._unfolded_rows += len(answer.scores)
        if self._unfolded_rows >= FOLD_ROWS:
            self.fold()

    def fold(self) -> None:
        """Bring the metrics up to date with what was answered."""
        if not self._unfolded:
            return
        routes, seconds, matrices, scores = zip(*self._unfolded, strict=True)
        self._unfolded, self._unfolded_rows = [], 0
        self.metrics.answered(routes, seconds)
        self.metrics.scores.observe(np.concatenate(scores))
        codec, matrix = self._scorer.codec, np.concatenate(matrices)
        self.metrics.noticed("missing", codec.missing(matrix))
        self.metrics.noticed("unseen", codec.unseen(matrix))

    def give_up(self) -> None:
        """Stop waiting for bodies that have not arrived."""
        self._bodies.give_up()

    def _scrape(self) -> Metrics:
        self.fold()
        self.metrics.log_lines, self.metrics.log_dropped = self._log.lines, self._log.dropped
        return self.metrics

    async def _refuse(self, refusal: RefusedError, route: str, call: Call, scope: Any, protocol: Any) -> None:
        self.metrics.refused(route, refusal.kind.status, refusal.kind.slug)
        for reason, name in (("out_of_range", "range"), ("unseen", "category")):
            self.metrics.noticed(reason, self._at_fault(refusal.faults, name))
        reply = problem(refusal)
        self._send(scope, protocol, reply._replace(headers=(*reply.headers, ("x-request-id", call.id))))
        if refusal.kind is TOO_LARGE:
            await self._bodies.discard(protocol)

    def _send(self, scope: Any, protocol: Any, reply: Reply) -> None:
        is_last = self._connections.is_last(scope.client) or not self.metrics.ready
        extra = (_CLOSE,) if is_last and _CLOSE not in reply.headers else ()
        protocol.response_bytes(reply.status, [*reply.headers, *extra], reply.body)

    def _at_fault(self, faults: tuple[Fault, ...], reason: str) -> list[int]:
        """Per input, how many faults there are for this reason."""
        counts = Counter(fault.field for fault in faults if fault.reason == reason)
        return [counts[name] for name in self._names]

    def _request_id(self, headers: Any) -> str:
        given = headers.get("x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return str(given)
        return f"{self._prefix}-{next(self._numbers):x}"
