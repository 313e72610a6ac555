"""Talking to a running supervisor, from outside of its namespaces."""

import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from infra.local.components import ClusterError, State

Say = Callable[[str], None]

LOG_LINES, LINE_LENGTH = 15, 300
_PAUSE = 0.05


def running(state: State) -> bool:
    """Whether a supervisor answers."""
    try:
        _connect(state).close()
    except OSError:
        return False
    return True


def ask(state: State, verb: str, names: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Every component's status, after what was asked. Raises ClusterError where the cluster is down or refuses."""
    try:
        with _connect(state) as connection, connection.makefile("rw") as stream:
            stream.write(json.dumps({"do": verb, "names": list(names)}) + "\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise ClusterError("the local cluster is not running; start it with `flightline cluster up`") from error
    if "error" in answer:
        raise ClusterError(str(answer["error"]))
    return answer


def supervisor(state: State) -> int:
    """The supervisor's process id as seen from here. Raises ClusterError where there is none."""
    try:
        with _connect(state) as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError as error:
        raise ClusterError("the local cluster is not running; start it with `flightline cluster up`") from error
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def wait_until(state: State, names: Iterable[str], phases: tuple[str, ...], seconds: float) -> None:
    """Return once each component is in one of the phases. Raises ClusterError with the log's end where one died."""
    wanted, deadline = tuple(names), time.monotonic() + seconds
    while left := {name: one for name, one in _of(state, wanted).items() if one["phase"] not in phases}:
        if dead := [name for name, one in left.items() if one["phase"] == "dead"]:
            raise ClusterError(f"{dead[0]} ended; its log says:\n{log_end(state, dead[0])}")
        if time.monotonic() > deadline:
            late = next(iter(left))
            raise ClusterError(
                f"{late} is not {phases[0]} after {seconds:.0f} s; its log says:\n{log_end(state, late)}"
            )
        time.sleep(_PAUSE)


def wait_for_end(pid: int, seconds: float) -> None:
    """Return once a process has ended; after so many seconds, make it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)


def log_end(state: State, name: str) -> str:
    """The last lines of a log."""
    path = Path(state.log / f"{name}.log")
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "\n".join(line[:LINE_LENGTH] for line in lines[-LOG_LINES:]) or f"(nothing; {path})"


def _of(state: State, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    status = ask(state, "status")
    return {name: status[name] for name in names}


def _connect(state: State) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    try:
        connection.connect(str(state.socket))
    except OSError:
        connection.close()
        raise
    return connection
