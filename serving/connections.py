"""How many requests each connection has brought, so that clients reconnect and new servers get their share."""

MOST_KNOWN = 4096


class Connections:
    """Counts requests by the client's address and port; of many connections the longest-known is forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[str, int] = {}

    def is_last(self, client: str) -> bool:
        """Count one request, and say whether its connection is to be closed after the answer."""
        count = self._seen.get(client, 0) + 1
        if count >= self._limit:
            self._seen.pop(client, None)
            return True
        self._seen[client] = count
        if len(self._seen) > MOST_KNOWN:
            del self._seen[next(iter(self._seen))]
        return False
