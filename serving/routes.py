"""Which path answers what. Every path is known at start, because a server has one model."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec

from serving import docs, metrics, oip, openapi, problems
from serving.problems import DRAINING, NOT_FOUND, UNKNOWN_VERSION, WRONG_METHOD, RefusedError
from serving.scoring import Call, Question, Scorer
from serving.settings import Settings

SHORT = 12
_MAJOR = re.compile(r"/v(\d+)/predict")


class Reply(NamedTuple):
    """A whole answer: status, headers and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Page = Callable[[], Reply]
Read = Callable[[bytes, Call], Question]


@dataclass(frozen=True)
class Routes:
    """`pages` answer GET and HEAD; `scoring` answers POST and says which route of the metrics it counts as."""

    pages: Mapping[str, Page]
    scoring: Mapping[str, tuple[str, Read]]
    served: str

    def refuse(self, method: str, path: str) -> RefusedError:
        """Why nothing answers this method and path."""
        if path in self.pages or path in self.scoring:
            allowed = "POST" if path in self.scoring else "GET, HEAD"
            return RefusedError(
                WRONG_METHOD, f"{method} is not allowed here; use {allowed}.", headers=(("allow", allowed),)
            )
        if _MAJOR.fullmatch(path) or path.startswith("/v2/models/"):
            return RefusedError(UNKNOWN_VERSION, f"This server serves {self.served}.")
        return RefusedError(NOT_FOUND, f"There is nothing at {path[:80]}; see /docs.")


def build(scorer: Scorer, settings: Settings, counts: Callable[[], metrics.Metrics]) -> Routes:
    """The routes of one server; `counts` gives its metrics, up to date."""
    signature, version = scorer.signature, scorer.bundle.version
    predict, infer = ("predict", scorer.predict), ("infer", partial(oip.infer, scorer))
    models = [f"/v2/models/{signature.model}{rest}" for rest in _versions(version)]
    ready = partial(_ready, counts, {"status": "ready", "model": signature.model, "version": version})
    return Routes(
        pages=_pages(scorer, settings, counts, ready)
        | {"/v2/health/live": partial(_json, {"live": True}), "/v2/health/ready": ready}
        | {model: partial(_json, oip.model(scorer)) for model in models}
        | {f"{model}/ready": ready for model in models},
        scoring={"/predict": predict, f"/v{signature.api}/predict": predict}
        | {f"{model}/infer": infer for model in models},
        served=f"/v{signature.api}/predict and /v2/models/{signature.model}/versions/{version}",
    )


def _versions(version: str) -> tuple[str, ...]:
    return "", f"/versions/{version}", f"/versions/{version[:SHORT]}"


def _pages(scorer: Scorer, settings: Settings, counts: Callable[[], metrics.Metrics], ready: Page) -> dict[str, Page]:
    return {
        "/": partial(Reply, 307, (("location", "/docs"),), b""),
        "/docs": cache(lambda: Reply(200, docs.HEADERS, docs.page(scorer, settings))),
        "/openapi.json": cache(lambda: _json(openapi.document(scorer.signature, scorer.bundle.version, settings))),
        "/livez": partial(_json, {"status": "live"}),
        "/readyz": ready,
        "/metrics": lambda: Reply(200, (("content-type", metrics.MEDIA_TYPE),), counts().render()),
        "/v2": partial(_json, oip.server()),
    }


def _ready(counts: Callable[[], metrics.Metrics], state: Any) -> Reply:
    if counts().ready:
        return _json(state)
    return problem(RefusedError(DRAINING, "The server was told to stop and takes no new clients.", headers=(RETRY,)))


RETRY = ("retry-after", "1")


def problem(refusal: RefusedError) -> Reply:
    """The answer to a refused request."""
    headers = (("content-type", problems.MEDIA_TYPE), *refusal.headers)
    return Reply(refusal.kind.status, headers, problems.body(refusal))


def _json(value: Any) -> Reply:
    return Reply(200, (("content-type", "application/json"),), msgspec.json.encode(value))
