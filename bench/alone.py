"""A piece of work in a process of its own, so that the memory it took is its own."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from bench.wrk import BenchError


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and of processor time, and the largest resident set in bytes."""

    seconds: float
    worked: float
    peak: float


def alone(module: str, *arguments: str, **environment: str) -> Spent:
    """What `python -m module arguments` takes. Raises BenchError."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], env={**os.environ, **environment})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"python -m {module} {' '.join(arguments)} exited {process.returncode}")
    peak = used.ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)
    return Spent(time.monotonic() - started, used.ru_utime + used.ru_stime, peak)
