"""The ways into the cluster: bytes arrive whole, in both directions, and an end is passed on."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from infra.local import forward
from infra.local.components import PROJECT, ClusterError
from infra.local.forward import Way
from pipeline.config import read_settings

DATA = os.urandom(3_000_000)
SECONDS = 20.0


async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers only once it has heard the end."""
    writer.write((await reader.read())[::-1])
    writer.close()


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[int]:
    """The port of a way that leads to another port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way("test", 0, target=port)
        task = asyncio.create_task(forward.run([(way, listener)]))
        yield listener.getsockname()[1]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def exchange(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(DATA)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), SECONDS)
    writer.close()
    return answer


async def _many_at_once() -> list[bytes]:
    server = await asyncio.start_server(reverse, "127.0.0.1", 0)
    async with server, way_to(server.sockets[0].getsockname()[1]) as port:
        return await asyncio.gather(*(exchange(port) for _ in range(5)))


async def _to_nobody() -> bytes:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    async with way_to(free) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await reader.read()
        writer.close()
        return answer


def test_bytes_and_ends_pass_in_both_directions() -> None:
    assert asyncio.run(_many_at_once()) == [DATA[::-1]] * 5


def test_a_way_to_nobody_is_closed() -> None:
    assert asyncio.run(_to_nobody()) == b""


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"port {port} .* registry"):
            forward.listen([Way("registry", port)])


@pytest.mark.parametrize("name", ["flightline", "harbour"])
def test_each_environment_of_the_settings_has_a_way_to_its_service(name: str) -> None:
    settings = read_settings(PROJECT).model_copy(update={"name": name})
    services = [(way.port, way.host, way.target) for way in forward.ways(settings) if way not in forward.WAYS]
    assert services == [
        (8001, f"{name}.{name}-staging.svc.cluster.local", 80),
        (8002, f"{name}.{name}-production.svc.cluster.local", 80),
    ]
