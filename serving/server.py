"""Granian in this process: start, say so when ready, and on a signal stop without losing a request."""

import asyncio
import signal
import socket
import sys
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from serving.app import App
from serving.bundle import Bundle
from serving.log import PredictionLog
from serving.settings import Settings

BACKLOG = 2048
STANDARD_OUTPUT = 1
_POLL = 0.02
_SETTLE = 0.1


class PortTakenError(Exception):
    """The address cannot be listened on. The message names it and what to do."""


def run(bundle: Bundle, settings: Settings) -> None:
    """Serve until a signal has been obeyed. Raises PortTakenError."""
    check_address(settings.host, settings.port)
    asyncio.run(_serve(bundle, settings))


def check_address(host: str, port: int) -> None:
    """Raise PortTakenError unless nobody listens there; Granian itself would share the port without a word."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        where = f"{host}:{port}: {error.strerror}"
        raise PortTakenError(f"cannot listen on {where}; set FLIGHTLINE_PORT or FLIGHTLINE_HOST to another") from error


async def _serve(bundle: Bundle, settings: Settings) -> None:
    log = PredictionLog(STANDARD_OUTPUT)
    app = App(bundle, settings, log)
    server = _granian(app, settings)
    stopped = _obey_signals(app, settings, server)
    asyncio.get_running_loop().call_later(0, _say_ready, bundle, settings)
    await server.serve()
    await _drain(app, settings.drain_seconds)
    log.close(settings.drain_seconds)
    stopped.clear()


def _granian(app: App, settings: Settings) -> Server:
    return Server(
        app,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        log_enabled=False,
    )


def _obey_signals(app: App, settings: Settings, server: Server) -> set[asyncio.Task[None]]:
    """Stop on SIGTERM after the readiness wait and on SIGINT at once; returns the running stops, to keep them alive."""
    loop, stops = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    for number, seconds in ((signal.SIGTERM, settings.ready_wait), (signal.SIGINT, 0.0)):
        loop.add_signal_handler(number, lambda wait=seconds: stops.add(loop.create_task(_stop(app, server, wait))))
    return stops


async def _stop(app: App, server: Any, wait: float) -> None:
    app.metrics.ready = False
    await asyncio.sleep(wait)
    server.stop()


async def _drain(app: App, seconds: float) -> None:
    """Wait for requests in flight, then a moment for their last bytes to leave."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while app.metrics.in_flight and loop.time() < deadline:
        await asyncio.sleep(_POLL)
    await asyncio.sleep(_SETTLE)


def _say_ready(bundle: Bundle, settings: Settings) -> None:
    served = f"{bundle.signature.model} {bundle.version[:12]}"
    notice = f" ({settings.notice})" if settings.notice else ""
    sys.stderr.write(f"flightline: serving {served} at http://{settings.host}:{settings.port}{notice}\n")
    sys.stderr.flush()
