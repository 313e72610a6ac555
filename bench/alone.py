"""A piece of work in a process of its own, so that the memory it took is its own."""

import os
import subprocess
import sys
import time

from bench.wrk import BenchError


def alone(module: str, *arguments: str, **environment: str) -> tuple[float, float]:
    """Seconds and the largest resident set, in bytes, of `python -m module arguments`. Raises BenchError."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], env={**os.environ, **environment})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"python -m {module} {' '.join(arguments)} exited {process.returncode}")
    return time.monotonic() - started, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
