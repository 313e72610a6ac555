"""The ceiling: a constant answer from the same Granian, configured as Flightline's own server is."""

import asyncio
import os
import signal
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from serving.server import BACKLOG

_JSON = [("content-type", "application/json")]


async def app(_scope: Any, protocol: Any) -> None:
    """One answer for everything, after the body."""
    await protocol()
    protocol.response_bytes(200, _JSON, b'{"predictions":[{"score":0.5}]}')


async def serve(port: int) -> None:
    """Serve on a loopback port until SIGTERM."""
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        log_enabled=False,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(int(os.environ["FLIGHTLINE_PORT"])))
