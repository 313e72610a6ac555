"""The RSGI application: from a request to its answer, with the limits, metrics and log around it."""

import asyncio
import itertools
import re
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from serving.bodies import Bodies
from serving.bundle import Bundle
from serving.connections import Connections
from serving.log import PredictionLog
from serving.metrics import Metrics
from serving.problems import INTERNAL, OVERLOADED, Fault, Refusal
from serving.routes import RETRY, Reply, Score, build, problem
from serving.scoring import Answer, Call, Scorer
from serving.settings import Settings

INLINE_BYTES = 32 << 10
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CLOSE = ("connection", "close")
_JSON = ("content-type", "application/json")


class App:
    """Serves one bundle. A body above 32 KiB is scored in a thread, so that /livez goes on answering."""

    def __init__(self, bundle: Bundle, settings: Settings, log: PredictionLog) -> None:
        self.metrics, self.log = Metrics(bundle, settings.slo), log
        self._routes = build(Scorer(bundle, settings), settings, self.metrics)
        self._positions = {name: position for position, name in enumerate(bundle.signature.names)}
        self._bodies = Bodies(settings.max_body_bytes, settings.request_timeout)
        self._connections = Connections(settings.max_requests_per_connection)
        self._limit = settings.max_concurrency
        self._thread = ThreadPoolExecutor(1, "batch")
        self._prefix, self._numbers = secrets.token_hex(8), itertools.count()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(self._bodies.sweep)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        route = self._routes.scoring.get(scope.path) if scope.method == "POST" else None
        if route is None:
            reply = self._page(scope.method, scope.path)
            protocol.response_bytes(reply.status, self._headers(scope, reply.headers), reply.body)
            return
        self.metrics.in_flight += 1
        try:
            await self._scored(scope, protocol, *route)
        finally:
            self.metrics.in_flight -= 1

    def _page(self, method: str, path: str) -> Reply:
        page = self._routes.pages.get(path) if method in ("GET", "HEAD") else None
        if page is None:
            return problem(self._routes.refuse(method, path))
        self.metrics.log_dropped = self.log.dropped
        return page()

    async def _scored(self, scope: Any, protocol: Any, route: str, score: Score) -> None:
        headers = scope.headers
        call = Call(self._request_id(headers), perf_counter())
        try:
            answer = await self._answer(headers, protocol, score, call)
        except Refusal as refusal:
            self._refuse(refusal, route, call, scope, protocol)
            if _CLOSE in refusal.headers:
                await self._bodies.discard(protocol)
            return
        given = self._headers(scope, (_JSON, ("x-request-id", call.id)))
        protocol.response_bytes(200, given, answer.body)
        self._record(answer, route, call)

    async def _answer(self, headers: Any, protocol: Any, score: Score, call: Call) -> Answer:
        """Read and score one request. Raises Refusal, whatever goes wrong."""
        if self.metrics.in_flight > self._limit:
            detail = f"{self._limit} requests are in flight already; try again in a moment."
            raise Refusal(OVERLOADED, detail, headers=(RETRY,))
        body = await self._bodies.read(headers, protocol)
        try:
            if len(body) <= INLINE_BYTES:
                return score(body, call)
            return await asyncio.get_running_loop().run_in_executor(self._thread, score, body, call)
        except Refusal:
            raise
        except Exception as error:
            sys.stderr.write(f"flightline: request {call.id} failed: {type(error).__name__}: {error}\n")
            raise Refusal(INTERNAL, "The server failed on this request; its log says more.") from error

    def _record(self, answer: Answer, route: str, call: Call) -> None:
        seconds = perf_counter() - call.began
        self.metrics.answered(route, seconds, [one.score for one in answer.predictions])
        if answer.missing:
            self.metrics.noticed("missing", answer.missing)
        if answer.unseen:
            self.metrics.noticed("unseen", answer.unseen)
        if answer.lines:
            self.log.append(answer.lines)

    def _refuse(self, refusal: Refusal, route: str, call: Call, scope: Any, protocol: Any) -> None:
        self.metrics.refused(route, refusal.kind.status, refusal.kind.slug)
        for reason, name in (("out_of_range", "range"), ("unseen", "category")):
            self.metrics.noticed(reason, self._at_fault(refusal.faults, name))
        reply = problem(refusal)
        given = self._headers(scope, (*reply.headers, ("x-request-id", call.id)))
        protocol.response_bytes(reply.status, given, reply.body)

    def _at_fault(self, faults: tuple[Fault, ...], reason: str) -> list[int]:
        return [self._positions[fault.field] for fault in faults if fault.reason == reason and fault.field]

    def _headers(self, scope: Any, headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        """The headers of an answer; the connection closes after its share of requests, and while draining."""
        is_last = self._connections.is_last(scope.client)
        return [*headers, _CLOSE] if (is_last or not self.metrics.ready) and _CLOSE not in headers else [*headers]

    def _request_id(self, headers: Any) -> str:
        given = headers.get("x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return str(given)
        return f"{self._prefix}-{next(self._numbers):x}"
