"""Requests to a forge: tried again while it is busy or silent, never made twice, waiting bounded in total."""

import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from pipeline.forge.errors import ForgeError, refused
from pipeline.text import plain

ATTEMPTS = 6
PAGE = 50
_LONGEST = 30.0
_TIMEOUT = (5.0, 30.0)
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|::1)")
_LIMITED, _BUSY = (403, 429), 500
_HEADERS = {"Accept": "application/json", "User-Agent": "flightline", "X-GitHub-Api-Version": "2022-11-28"}

Made = Callable[[], Any]


@dataclass(frozen=True)
class Answer:
    """What was answered; `more` says whether there is another page, None where the forge does not say."""

    document: Any
    more: bool | None = None


@dataclass(frozen=True)
class Again:
    """Why a request is to be sent again, and after how many seconds; `unsure` when it may have been carried out."""

    after: float
    why: str
    unsure: bool


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    body: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)


def tell(step: str) -> None:
    """Say it on stderr."""
    sys.stderr.write(f"{step}\n")


def _nothing() -> None:
    return None


@dataclass
class Client:
    """The API at `api` with one token. It waits `patience` seconds at most over its whole life."""

    api: str
    token: str = field(repr=False)
    say: Callable[[str], None] = tell
    patience: float = 120.0
    timeout: tuple[float, float] = _TIMEOUT
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    waited: float = 0.0
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    def __post_init__(self) -> None:
        host = urlsplit(self.api).hostname or ""
        self.session.trust_env = not _LOOPBACK.fullmatch(host)  # a proxy is never asked for this machine
        self.session.headers.update(_HEADERS)

    def get(self, path: str, **params: Any) -> Any:
        """One document. Raises ForgeError."""
        return self._persist(Call("GET", path, params=params)).document

    def text(self, path: str) -> str:
        """A file that is no JSON, a job's log for one. Raises ForgeError."""
        return str(self._persist(Call("GET", path)).document)

    def pages(self, path: str, key: str = "", **params: Any) -> Iterator[Any]:
        """Every entry of a list, page by page as asked for; `key` where the list is a field. Raises ForgeError."""
        return self._paged(Call("GET", path, params=params), key, PAGE)

    def thinned(self, path: str) -> Iterator[Any]:
        """Every entry of a list whose pages lack what is not shown, so that none need be full. Raises ForgeError."""
        return self._paged(Call("GET", path), "", 1)

    def _paged(self, call: Call, key: str, full: int) -> Iterator[Any]:
        """Where no Link header says more, another page is behind one with `full` entries.

        A page that comes twice is of a forge that gave the whole list at once.
        """
        sizes = {"per_page": PAGE, "limit": PAGE}  # GitHub's word and Gitea's
        last: list[Any] = []
        for page in itertools.count(1):
            answer = self._persist(replace(call, params={**call.params, **sizes, "page": page}))
            entries = (answer.document.get(key) if key else answer.document) or []
            if entries == last:
                return
            yield from entries
            if not (len(entries) >= full if answer.more is None else answer.more):
                return
            last = entries

    def put(self, method: str, path: str, body: Any) -> Any:
        """A request that may be sent twice without harm. Raises ForgeError."""
        return self._persist(Call(method, path, body)).document

    def create(self, path: str, body: Any, made: Made) -> Any:
        """POST what must be made once: where an answer was lost, `made` looks for it (None: it is not there).

        Raises ForgeError.
        """
        return self._persist(Call("POST", path, body), made).document

    def _persist(self, call: Call, made: Made = _nothing) -> Answer:
        for attempt in range(ATTEMPTS):
            answer = self._send(call)
            wanted = again(answer, attempt, self.now())
            if wanted is None:
                return _checked(call, answer)
            self._wait(call, wanted, last=attempt == ATTEMPTS - 1)
            if wanted.unsure and (found := made()) is not None:
                return Answer(found)
        raise AssertionError("the last attempt raises")

    def _send(self, call: Call) -> requests.Response | requests.RequestException:
        try:
            return self.session.request(
                call.method,
                f"{self.api.rstrip('/')}{call.path}" if call.path.startswith("/") else call.path,
                json=call.body,
                params=dict(call.params),
                timeout=self.timeout,
                auth=self._authorise,
            )
        except requests.RequestException as error:
            return error

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As a callable, for requests would put what ~/.netrc says in place of a header."""
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def _wait(self, call: Call, wanted: Again, *, last: bool) -> None:
        """Sleep; where that is the last attempt or takes too long, raise ForgeError."""
        what = f"{call.method} {call.path}: {wanted.why}"
        if last:
            raise ForgeError(f"{what}, {ATTEMPTS} times; is {self.api} up?")
        if self.waited + wanted.after > self.patience:
            raise ForgeError(
                f"{what}; another {wanted.after:.0f} s would be needed, and {self.waited:.0f} of the "
                f"{self.patience:.0f} s that are waited at most are used; run it again later"
            )
        self.say(f"{what}; trying again in {wanted.after:.0f} s")
        self.sleep(wanted.after)
        self.waited += wanted.after


def again(answer: requests.Response | requests.RequestException, attempt: int, now: float) -> Again | None:
    """Whether, when and why to send a request again. `now` is the time in seconds since 1970."""
    backoff = min(_LONGEST, 2.0**attempt)
    if isinstance(answer, requests.RequestException):
        retried = isinstance(answer, requests.ConnectionError | requests.Timeout) and not isinstance(
            answer, requests.exceptions.SSLError
        )
        unsure = not isinstance(answer, requests.ConnectTimeout)
        return Again(backoff, f"no answer ({type(answer).__name__})", unsure) if retried else None
    if answer.status_code >= _BUSY:
        return Again(_asked(answer, now) or backoff, f"answered {answer.status_code}", unsure=True)
    if answer.status_code in _LIMITED and _is_limit(answer):
        return Again(_asked(answer, now) or backoff, f"answered {answer.status_code}, a rate limit", unsure=False)
    return None


def _is_limit(answer: requests.Response) -> bool:
    """GitHub answers 403 to both a missing permission and a spent limit; only the latter says when to come back."""
    spent = answer.headers.get("X-RateLimit-Remaining") == "0"
    return answer.status_code != requests.codes.forbidden or spent or "Retry-After" in answer.headers


def _asked(answer: requests.Response, now: float) -> float | None:
    """Seconds that the forge asks to wait, by Retry-After (seconds or a date) or X-RateLimit-Reset (a time)."""
    after, reset = answer.headers.get("Retry-After", ""), answer.headers.get("X-RateLimit-Reset", "")
    if after.isdigit():
        return float(after)
    if after:
        return _until(after, now)
    spent = answer.headers.get("X-RateLimit-Remaining") == "0"
    return max(1.0, float(reset) - now) if spent and reset.isdigit() else None


def _until(date: str, now: float) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max(1.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now)


def _checked(call: Call, answer: requests.Response | requests.RequestException) -> Answer:
    if isinstance(answer, requests.RequestException):
        raise ForgeError(f"{call.method} {call.path}: {type(answer).__name__}: {plain(answer)[:200]}")
    if not answer.ok:
        raise refused(call.method, call.path, answer.status_code, _said(answer))
    return Answer(_document(answer), "next" in answer.links if "Link" in answer.headers else None)


def _document(answer: requests.Response) -> Any:
    if not answer.content:
        return None
    return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text


def _said(answer: requests.Response) -> str:
    """The forge's own words, as one line."""
    try:
        document = answer.json()
        said = [document.get("message"), *[one.get("message", one) for one in document.get("errors") or []]]
    except (ValueError, AttributeError):
        said = [answer.text]
    return plain("; ".join(str(one) for one in said if one))[:300]
