"""Process 1 of the cluster: starts its components, ends them, reaps what they leave, and answers on a Unix socket.

A request is one line of JSON, `{"do": "start", "names": [...]}`, and so is the answer: the status after it. `do` is
`status`, `start`, `stop`, `kill` or `shutdown`; all return at once, and the status tells how far things are.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from infra.local import namespaces
from infra.local.components import PROJECT, ClusterError, Component, State

Phase = Literal["stopped", "waiting", "starting", "ready", "stopping", "dead"]

RUNTIME = "containerd"  # pods are its children: they end before it does
POD_SECONDS = 3.0
_TICK = 0.05
_IDLE = 1.0


@dataclass
class Process:
    """A component and what became of it. `exit` is its last exit code, negative for a signal."""

    component: Component
    wanted: bool = False
    pid: int | None = None
    ready: bool = False
    exit: int | None = None
    deadline: float | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def phase(self) -> Phase:
        """In one word."""
        if self.pid is None:
            if not self.wanted:
                return "stopped"
            return "waiting" if self.exit is None else "dead"
        if not self.wanted:
            return "stopping"
        return "ready" if self.ready else "starting"


class Supervisor:
    """The processes by name. Only `tick` acts on them; requests change what is wanted."""

    def __init__(self, state: State, components: Iterable[Component]) -> None:
        self.state = state
        self.processes = {one.name: Process(one) for one in components}
        self.ending = False
        self._pods_deadline: float | None = None

    def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked and say how things are. Raises ClusterError where a name or verb is unknown."""
        names, verb = request.get("names", []), request.get("do")
        if unknown := [name for name in names if name not in self.processes]:
            raise ClusterError(f"no component is called {', '.join(unknown)}; there are {', '.join(self.processes)}")
        match verb:
            case "status":
                pass
            case "start" | "stop" | "kill":
                for name in names:
                    getattr(self, f"_{verb}")(self.processes[name])
            case "shutdown":
                self.ending = True
            case _:
                raise ClusterError(f"{verb!r} is no request; use status, start, stop, kill or shutdown")
        return self.status()

    def status(self) -> dict[str, Any]:
        """Every component: phase, pid in this namespace, exit code, seconds in the phase, resident bytes."""
        now = time.monotonic()
        return {
            name: {
                "phase": one.phase,
                "pid": one.pid,
                "exit": one.exit,
                "seconds": round(now - one.since, 2),
                "resident": _resident(one.pid) if one.pid else 0,
            }
            for name, one in self.processes.items()
        }

    def tick(self) -> bool:
        """One round over everything. False once all has ended."""
        self._reap()
        if self.ending:
            return self._end()
        for process in self.processes.values():
            if process.phase == "waiting" and self._may_start(process):
                self._spawn(process)
            elif process.phase == "starting" and (not process.component.ready or process.component.ready()):
                self._mark(process, ready=True)
            self._kill_late(process)
        return True

    @property
    def busy(self) -> bool:
        """Whether something is on its way, so that the next round should come soon."""
        return self.ending or any(one.phase in ("waiting", "starting", "stopping") for one in self.processes.values())

    def _start(self, process: Process) -> None:
        if process.pid is None:
            process.wanted, process.exit = True, None

    def _stop(self, process: Process) -> None:
        process.wanted = False
        if process.pid is not None and process.deadline is None:
            _signal(process.pid, signal.SIGTERM)
            process.deadline = time.monotonic() + process.component.grace

    def _kill(self, process: Process) -> None:
        """As a crash: it stays wanted and shows as dead."""
        if process.pid is not None:
            _signal(process.pid, signal.SIGKILL)

    def _kill_late(self, process: Process) -> None:
        if process.pid is not None and process.deadline is not None and time.monotonic() > process.deadline:
            _signal(process.pid, signal.SIGKILL)

    def _may_start(self, process: Process) -> bool:
        return all(self.processes[name].phase == "ready" for name in process.component.after)

    def _end(self) -> bool:
        """Stop whatever nothing that runs depends on. False once nothing runs."""
        running = [one for one in self.processes.values() if one.pid is not None]
        needed = {name for one in running for name in one.component.after}
        for process in running:
            name = process.component.name
            if name not in needed and (name != RUNTIME or self._pods_ended()):
                self._stop(process)
            self._kill_late(process)
        return bool(running)

    def _pods_ended(self) -> bool:
        """Ask the pods' processes to end, once; make them, when they take too long."""
        if not (left := namespaces.processes()):
            return True
        now = time.monotonic()
        if self._pods_deadline is None:
            self._pods_deadline = now + POD_SECONDS
            for pid in left:
                _signal(pid, signal.SIGTERM)
        elif now > self._pods_deadline:
            for pid in left:
                _signal(pid, signal.SIGKILL)
        return False

    def _spawn(self, process: Process) -> None:
        component = process.component
        path = self.state.log / f"{component.name}.log"
        with path.open("ab") as log:
            try:
                started = subprocess.Popen(
                    component.command,
                    env={**_environment(self.state), **component.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=PROJECT,
                    pass_fds=component.descriptors,
                    start_new_session=True,
                )
            except OSError as error:
                log.write(f"{error}\n".encode())
                process.exit = 127
                return
        process.pid, started.returncode = started.pid, 0  # reaped here by its pid, not by its object
        self._mark(process, ready=False)

    def _reap(self) -> None:
        """Take the exit codes of components, and of orphans, whose parent is process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in self.processes.values():
                if process.pid == pid:
                    process.pid, process.deadline = None, None
                    process.exit = os.waitstatus_to_exitcode(status)
                    self._mark(process, ready=False)

    def _mark(self, process: Process, *, ready: bool) -> None:
        process.ready, process.since = ready, time.monotonic()
        code = "" if process.exit is None else f" (exit code {process.exit})"
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {process.component.name}: {process.phase}{code}\n")
        sys.stdout.flush()


def serve(supervisor: Supervisor, listener: socket.socket) -> None:
    """Answer requests and keep ticking, until all has ended."""
    woken = _wake_on_signals()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while supervisor.tick():
            for key, _ in selector.select(_TICK if supervisor.busy else _IDLE):
                if key.fileobj is woken:
                    supervisor.ending |= signal.SIGTERM in woken.recv(64)
                else:
                    _answer(supervisor, listener)


def _wake_on_signals() -> socket.socket:
    """A socket that receives a byte for each signal: a child ended, or an end is asked for."""
    waking, woken = socket.socketpair()
    for end in (waking, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(waking.detach())
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return woken


def _answer(supervisor: Supervisor, listener: socket.socket) -> None:
    """One request. A client that says nothing for a second is left."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError), connection.makefile("rw") as stream:
        connection.settimeout(1)
        try:
            answer = supervisor.handle(json.loads(stream.readline()))
        except (ClusterError, ValueError) as error:
            answer = {"error": str(error)}
        stream.write(json.dumps(answer) + "\n")


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _resident(pid: int) -> int:
    """Bytes; 0 for a process that has ended."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _environment(state: State) -> Mapping[str, str]:
    """The same wherever the cluster is started from: no proxies, no credentials."""
    return {"PATH": f"{state.bin}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(state.run), "LANG": "C.UTF-8"}


def main(root: str, *listening: str) -> None:
    """Run the cluster whose state is in `root`; `listening` are the forwarder's sockets, as descriptor numbers."""
    from infra.local.cluster import components

    state = State(Path(root))
    namespaces.prepare(state)
    state.socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state.socket))
        listener.listen(16)
        serve(Supervisor(state, components(state, tuple(map(int, listening)))), listener)
        state.socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
