"""What a check found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.text import plain

_WORDS = 1200


@dataclass(frozen=True)
class Result:
    """One check: what it looked at, in words with counts, and every failure, each as `where: what, and the fix`."""

    check: str
    counted: str
    failures: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def summary(self) -> str:
        """The one line."""
        return f"{'ok  ' if self.holds else 'FAIL'} {self.check}: {self.counted}, {len(self.failures)} failed"


def said(text: str | bytes, *scratch: Path) -> str:
    """What a program printed as one line, without the scratch folders that it was given."""
    line = text.decode(errors="replace") if isinstance(text, bytes) else text
    for folder in scratch:
        line = line.replace(f"file://{folder}/", "").replace(f"{folder}/", "")
    return plain(line)[:_WORDS]


def several(count: int, one: str, many: str = "") -> str:
    """`1 render`, `24 renders`."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def grouped(failures: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Pairs of where and what as sentences, one for each what: the same object is in many renders."""
    places: dict[str, list[str]] = {}
    for where, what in failures:
        places.setdefault(what, []).append(where)
    return tuple(f"{_places(list(dict.fromkeys(where)))}: {what}" for what, where in places.items())


def _places(where: Sequence[str]) -> str:
    return where[0] if len(where) == 1 else f"{where[0]} and {several(len(where) - 1, 'more place', '')}"
