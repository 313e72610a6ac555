"""Timelines written as letters: A, B, ... are releases in the order they were made, "-" is none."""

from collections.abc import Iterable

from pipeline.delivery.history import Named, Point, Timeline
from pipeline.delivery.hold import today
from pipeline.delivery.models import Code, Expects, Hold, Judged, Permission, Release

SAID = Permission(by="Test <test@example.com>", reason="looked into it", date=today())


def name(letter: str) -> str:
    """The identity that a letter stands for."""
    return letter.encode().hex() * 32


def named(letter: str) -> Named:
    return Named(name(letter), "1" + name(letter)[1:], name(letter)[:40])


def held(letter: str, permitted: Permission | None = None) -> Hold:
    return Hold(identity=name(letter), version=named(letter).version, reason="bad", date=today(), permitted=permitted)


def point(at: int, letter: str, *holds: Hold) -> Point:
    return Point(f"{at:040x}", None if letter == "-" else named(letter), holds)


def points(letters: str) -> tuple[Point, ...]:
    return tuple(point(at, letter) for at, letter in enumerate(letters))


def release(letter: str, env: str = "staging") -> Release:
    one, digest = named(letter), f"sha256:{'d' * 64}"
    return Release(
        environment=env,
        identity=one.identity,
        version=one.version,
        source=one.source,
        image=f"registry.example.com/flightline@{digest}",
        code=Code(image=digest, inputs="e" * 64),
        metrics={"loss": 0.5},
        expects=Expects(released=None, ks=0, max_ks=1, rows=0),
        verdict=Judged(decision="pass", reason="better"),
    )


def timeline(letters: str, holds: Iterable[Hold] = (), env: str = "staging") -> Timeline:
    """After those releases; `holds` is the list as it stands."""
    *before, last = points(letters)
    now = Point(last.commit, last.release, tuple(holds))
    standing = release(letters[-1], env) if letters[-1] != "-" else None
    return Timeline(env, (*before, now), standing, tuple(holds))
