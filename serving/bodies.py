"""Reading a request's body within its limits: how long, how large, and that it says it is JSON."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from serving.problems import TOO_LARGE, TOO_SLOW, WRONG_MEDIA_TYPE, Refusal

LINGER_BYTES = 16 << 20
SWEEP_SECONDS = 0.5
_JSON = {None, "application/json", "application/json; charset=utf-8"}


class Bodies:
    """Reads bodies; one sweep over those still arriving replaces a timer per request."""

    def __init__(self, max_bytes: int, timeout: float) -> None:
        self._max_bytes, self._timeout = max_bytes, timeout
        self._arriving: dict[asyncio.Task[Any], float] = {}

    async def read(self, headers: Any, protocol: Any) -> bytes:
        """The body of a request. Raises Refusal when it is too large, too slow or not called JSON."""
        check_media_type(headers)
        task: Any = asyncio.current_task()
        self._arriving[task] = perf_counter()
        try:
            return await self._read(headers, protocol)
        except asyncio.CancelledError:
            raise Refusal(TOO_SLOW, f"The body did not arrive within {self._timeout:g} seconds.") from None
        finally:
            del self._arriving[task]

    async def _read(self, headers: Any, protocol: Any) -> bytes:
        length = headers.get("content-length")
        if length is None:
            return await self._read_chunked(protocol)
        if int(length) > self._max_bytes:
            raise self._too_large(f"{length} bytes")
        body: bytes = await protocol()
        return body

    async def _read_chunked(self, protocol: Any) -> bytes:
        body = bytearray()
        async for chunk in protocol:
            body += chunk
            if len(body) > self._max_bytes:
                raise self._too_large("larger")
        return bytes(body)

    def _too_large(self, size: str) -> Refusal:
        detail = f"The body is {size}; at most {self._max_bytes} bytes are allowed. Send the rows in several requests."
        return Refusal(TOO_LARGE, detail, headers=(("connection", "close"),))

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
        oldest = perf_counter() - self._timeout
        for task, began in list(self._arriving.items()):
            if began < oldest:
                task.cancel()
        asyncio.get_running_loop().call_later(SWEEP_SECONDS, self.sweep)


def check_media_type(headers: Mapping[str, str] | Any) -> None:
    """Raise Refusal unless the body is called JSON, or nothing at all, and is not compressed."""
    kind = headers.get("content-type")
    if kind not in _JSON and not _is_json(kind):
        raise Refusal(WRONG_MEDIA_TYPE, f"The content type is {kind[:80]!r}; send 'content-type: application/json'.")
    if headers.get("content-encoding", "identity") != "identity":
        raise Refusal(WRONG_MEDIA_TYPE, "The body is compressed; send it without a content-encoding.")


def _is_json(kind: str) -> bool:
    essence, _, parameters = kind.lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    name = essence.strip()
    return (name == "application/json" or name.endswith("+json")) and charset in ("", "utf-8", "utf8")
