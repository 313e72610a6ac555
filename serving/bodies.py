"""Reading a request's body within its limits: how long, how large, and that it says it is JSON."""

import asyncio
from time import perf_counter
from typing import Any

from serving.problems import BAD_JSON, TOO_LARGE, TOO_SLOW, WRONG_MEDIA_TYPE, RefusedError

LINGER_BYTES = 16 << 20
SWEEP_SECONDS = 0.5
_JSON = {None, "application/json", "application/json; charset=utf-8"}


class Bodies:
    """Reads bodies; one sweep over those still arriving replaces a timer per request."""

    def __init__(self, max_bytes: int, timeout: float) -> None:
        self._max_bytes, self._timeout = max_bytes, timeout
        self._arriving: dict[asyncio.Task[Any], float] = {}

    async def read(self, headers: Any, protocol: Any, began: float) -> bytes:
        """The body of a request that began at that `perf_counter`. Raises RefusedError."""
        length = headers.get("content-length")
        if length is not None and int(length) > self._max_bytes:
            raise self._too_large(f"{length} bytes")
        task: Any = asyncio.current_task()
        self._arriving[task] = began
        try:
            return await (self._read_chunked(protocol) if length is None else protocol())
        except asyncio.CancelledError:
            detail = f"The body did not arrive in time; at most {self._timeout:g} seconds are allowed."
            raise RefusedError(TOO_SLOW, detail, headers=(("connection", "close"),)) from None
        finally:
            del self._arriving[task]

    async def _read_chunked(self, protocol: Any) -> bytes:
        body = bytearray()
        async for chunk in protocol:
            body += chunk
            if len(body) > self._max_bytes:
                raise self._too_large("larger")
        return bytes(body)

    def _too_large(self, size: str) -> RefusedError:
        detail = f"The body is {size}; at most {self._max_bytes} bytes are allowed. Send the rows in several requests."
        return RefusedError(TOO_LARGE, detail, headers=(("connection", "close"),))

    async def discard(self, protocol: Any) -> None:
        """Read on a little after a refusal, so that a client which is still sending gets to see the answer."""
        task: Any = asyncio.current_task()
        self._arriving[task] = perf_counter()
        seen = 0
        try:
            async for chunk in protocol:
                seen += len(chunk)
                if seen > LINGER_BYTES:
                    break
        except (asyncio.CancelledError, RuntimeError):
            pass
        finally:
            del self._arriving[task]

    def sweep(self) -> None:
        """Give up on bodies that take too long; runs itself again from the event loop."""
        self.give_up(self._timeout)
        asyncio.get_running_loop().call_later(SWEEP_SECONDS, self.sweep)

    def give_up(self, older_than: float = 0.0) -> None:
        """Stop waiting for bodies of requests that began more than so many seconds ago."""
        newest = perf_counter() - older_than
        for task, began in list(self._arriving.items()):
            if began < newest:
                task.cancel()


def check_media_type(headers: Any) -> None:
    """Raise RefusedError unless the body is called JSON, or nothing at all."""
    kind = headers.get("content-type")
    if kind not in _JSON and not _is_json(kind):
        raise RefusedError(
            WRONG_MEDIA_TYPE, f"The content type is {kind[:80]!r}; send 'content-type: application/json'."
        )


def explain(refusal: RefusedError, headers: Any) -> RefusedError:
    """The refusal, or a better one where the body was no JSON because it is compressed."""
    encoding = headers.get("content-encoding", "identity")
    if refusal.kind is not BAD_JSON or encoding == "identity":
        return refusal
    return RefusedError(WRONG_MEDIA_TYPE, f"The content-encoding is {encoding[:80]!r}; send the body without one.")


def _is_json(kind: str) -> bool:
    essence, _, parameters = kind.lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    name = essence.strip()
    return (name == "application/json" or name.endswith("+json")) and charset in ("", "utf-8", "utf8")
