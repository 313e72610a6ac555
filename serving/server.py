"""Granian in this process: start, say so when ready, and on a signal stop without losing a request."""

import asyncio
import signal
import socket
import sys
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from serving.app import App
from serving.bundle import Bundle
from serving.log import PredictionLog
from serving.settings import Settings

BACKLOG = 2048
STANDARD_OUTPUT = 1
_LAST_ANSWERS = 1.0
_SETTLE = 0.05


class PortTakenError(Exception):
    """The address cannot be listened on. The message names it and what to do."""


def run(bundle: Bundle, settings: Settings) -> None:
    """Serve until a signal has been obeyed. Raises PortTakenError."""
    uvloop.run(_serve(bundle, settings, check_address(settings.host, settings.port)))


def check_address(host: str, port: int) -> str:
    """The host as a numeric address, which is all that Granian takes; raises PortTakenError where somebody listens.

    Granian itself would share the port without a word.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        return str(address[0])
    except OSError as error:
        where = f"{host}:{port}: {error.strerror}"
        fix = "choose another with `PORT=8001 make run`, or FLIGHTLINE_PORT"
        raise PortTakenError(f"cannot listen on {where}; {fix}") from error


async def _serve(bundle: Bundle, settings: Settings, address: str) -> None:
    log = PredictionLog(STANDARD_OUTPUT)
    app = App(bundle, settings, log)
    server: Any = _granian(app, address, settings.port)
    stop, hurry = _signals()
    serving = asyncio.create_task(server.serve())
    telling = asyncio.create_task(_say_ready(bundle, settings, address))
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    app.metrics.ready = False
    await asyncio.wait({serving, hurry}, timeout=settings.ready_wait, return_when=asyncio.FIRST_COMPLETED)
    server.stop()
    await _drain(app, serving, settings.drain_seconds)
    log.close(settings.drain_seconds)
    if serving.done() and (error := serving.exception()) is not None:
        raise PortTakenError(f"cannot serve on {settings.host}:{settings.port}: {error}") from error


def _granian(app: App, address: str, port: int) -> Server:
    return Server(
        app,
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        log_enabled=False,
    )


def _signals() -> tuple[asyncio.Task[bool], asyncio.Task[bool]]:
    """One task that ends with the first SIGTERM or SIGINT, and one that ends with a SIGINT, which waits for nobody."""
    loop, stop, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def interrupt() -> None:
        stop.set()
        hurry.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    return loop.create_task(stop.wait()), loop.create_task(hurry.wait())


async def _drain(app: App, serving: asyncio.Task[None], seconds: float) -> None:
    """Wait for requests in flight, give up those that take too long, and leave the last bytes a moment to go out."""
    await asyncio.wait({serving}, timeout=seconds)
    app.give_up()
    await asyncio.wait({serving}, timeout=_LAST_ANSWERS)
    await asyncio.sleep(_SETTLE)
    app.fold()


async def _say_ready(bundle: Bundle, settings: Settings, address: str) -> None:
    """Say so once it is so: Granian listens a while after it was started, and does not tell."""
    while not await _accepts(address, settings.port):
        await asyncio.sleep(_SETTLE)
    served = f"{bundle.signature.model} {bundle.version[:12]}"
    notice = f" ({settings.notice})" if settings.notice else ""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    sys.stderr.write(f"flightline: serving {served} at http://{host}:{settings.port}{notice}\n")
    sys.stderr.flush()


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True
