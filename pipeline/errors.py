"""Faults that are foreseen: each becomes one sentence and an exit code, never a traceback."""

from dataclasses import dataclass

USAGE, DATA, UNAVAILABLE, INPUT_OUTPUT, INTERNAL = 64, 65, 69, 74, 70


class UnavailableError(Exception):
    """Something outside that is needed and cannot be had now: a remote, a port, a tool. Names it and the fix."""


class GitError(UnavailableError):
    """Git failed. What it was asked for may or may not exist, so nothing may be concluded from its silence."""


@dataclass(frozen=True)
class Explained:
    """What a person is told, and the exit code."""

    message: str
    code: int


def explain(error: Exception) -> Explained:
    """The sentence and exit code of a fault; one that nobody foresaw says how to see where it came from."""
    for kinds, code in _codes():
        if isinstance(error, kinds):
            return Explained(str(error), code)
    return Explained(f"{type(error).__name__}: {error} (set FLIGHTLINE_DEBUG=1 to see where)", INTERNAL)


def foreseen() -> tuple[type[Exception], ...]:
    """Every fault that has a sentence of its own, for whoever can go on without what failed."""
    return tuple(kind for kinds, _ in _codes() for kind in kinds)


def _codes() -> list[tuple[tuple[type[Exception], ...], int]]:
    from pipeline.config import ConfigError
    from pipeline.frames import TableError
    from pipeline.oci import ImageError
    from serving.bundle import BundleError

    return [
        ((ConfigError,), USAGE),
        ((TableError, BundleError, ValueError), DATA),
        ((UnavailableError, ImageError, *_of_the_server()), UNAVAILABLE),
        ((OSError,), INPUT_OUTPUT),
    ]


def _of_the_server() -> tuple[type[Exception], ...]:
    """None where its packages are not installed, as in jobs beside keys: nothing raises it there."""
    try:
        from serving.server import PortTakenError
    except ImportError:
        return ()
    return (PortTakenError,)
