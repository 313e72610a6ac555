"""Ways into the cluster from the machine's loopback, and only from there.

The listening sockets are opened outside and inherited; a process in the cluster's network accepts from them and
connects inside. A socket stays in the network it was opened in.
"""

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from infra.local.components import DOMAIN, NODE_ADDRESS, PROJECT, ClusterError, Component
from pipeline.config import Settings, read_settings

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Way:
    """A port of the machine's loopback and the address that it leads to."""

    name: str
    port: int
    host: str = "127.0.0.1"
    target: int = 0


# Of `flightline cluster retraining`, which pods reach as well.
OBJECTS = 3004
WAYS = (
    Way("API server", 6443),
    Way("registry", 5000),
    Way("git", 3000),
    Way("forge", 3001),
    Way("trusted DVC remote", 3002),
    Way("object store", OBJECTS, NODE_ADDRESS),
    Way("Argo CD", 8080),
    Way("Prometheus", 9090),
)
# The environments of the settings have this port and the ones after it, in their order.
FIRST_ENVIRONMENT = 8001


def ways(settings: Settings) -> tuple[Way, ...]:
    """What every cluster has, then the users' Service of each environment."""
    name = settings.name
    services = ((env, f"{name}.{name}-{env}.svc.{DOMAIN}") for env in settings.environments)
    return (*WAYS, *(Way(env, FIRST_ENVIRONMENT + place, host, 80) for place, (env, host) in enumerate(services)))


def listen(wanted: Iterable[Way]) -> list[socket.socket]:
    """A listening socket per way, in order. Raises ClusterError where a port is taken."""
    return [_listen(way) for way in wanted]


def component(descriptors: tuple[int, ...] = ()) -> Component:
    """The forwarder, given the descriptors of what `listen` returned."""
    command = (sys.executable, "-m", "infra.local.forward", *map(str, descriptors))
    return Component("forward", command, descriptors=descriptors, grace=2)


async def run(ways: Iterable[tuple[Way, socket.socket]]) -> None:
    """Forward for as long as the process lives."""
    servers = [await asyncio.start_server(_handler(way), sock=listener) for way, listener in ways]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _listen(way: Way) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", way.port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ClusterError(
            f"port {way.port} of 127.0.0.1 is taken and the cluster offers its {way.name} there; "
            f"end what listens (`ss -ltnp sport = :{way.port}` names it)"
        ) from error
    listener.listen(128)
    return listener


def _handler(way: Way) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(way.host, way.target or way.port)
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
            inner_writer.close()
        writer.close()

    return handle


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction to its end, and pass the end on."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


if __name__ == "__main__":
    inherited = (socket.socket(fileno=int(word)) for word in sys.argv[1:])
    asyncio.run(run(zip(ways(read_settings(PROJECT)), inherited, strict=True)))
