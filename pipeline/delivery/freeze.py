"""The freeze: `k8s/freeze.yaml` on main stops releases and promotions. Rollbacks, holds and reverts go on."""

import datetime
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from pipeline.config import Frozen, faults
from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError
from pipeline.delivery.push import Settled
from pipeline.errors import GitError
from pipeline.text import plain

FREEZE = Path("k8s/freeze.yaml")


class Freeze(Frozen):
    """One freeze: where (nowhere named: everywhere), why, and its last day in UTC (None: until the line goes)."""

    environments: tuple[str, ...] = ()
    reason: str = Field(min_length=1)
    until: datetime.date | None = None

    def covers(self, env: str, today: datetime.date) -> bool:
        """Whether it stops releases to an environment on a day."""
        return (not self.environments or env in self.environments) and (self.until is None or today <= self.until)

    @property
    def sentence(self) -> str:
        """The reason and the end."""
        return plain(self.reason) + (f", until {self.until}" if self.until else "")


_LINES = TypeAdapter(tuple[Freeze, ...])


def read(text: bytes, where: str, environments: Sequence[str]) -> tuple[Freeze, ...]:
    """The lines of a freeze.yaml. Raises DeliveryError, which names `where`, field, value and fix."""
    try:
        lines = _LINES.validate_python(yaml.safe_load(text) or ())
    except yaml.YAMLError as error:
        raise DeliveryError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise DeliveryError(
            f"{where}: {faults(error)}; each line has `reason`, and may have `environments` (a list) and `until` (a "
            "day, as 2026-12-31)"
        ) from error
    for at, line in enumerate(lines):
        for env in line.environments:
            if env not in environments:
                raise DeliveryError(
                    f"{where}: {at}.environments: {env!r} is no environment (pyproject.toml names "
                    f"{', '.join(environments)}); correct it, or leave the list out for all of them"
                )
    return lines


def standing(repository: Repository, main: str) -> tuple[Freeze, ...]:
    """The lines on main, none without the file. Raises DeliveryError: one that cannot be read stops all it could."""
    text, settings = repository.blobs([f"{main}:{FREEZE}", f"{main}:pyproject.toml"])
    if text is None:
        return ()
    return read(text, f"{FREEZE} on {repository.branch}", _environments(settings))


def covering(lines: Iterable[Freeze], env: str, today: datetime.date) -> Freeze | None:
    """The first line that stops releases to an environment. Pure."""
    return next((line for line in lines if line.covers(env, today)), None)


def refusal(repository: Repository, main: str, env: str) -> str | None:
    """Why nothing is released or promoted to an environment now, with the fix. Raises DeliveryError."""
    found = covering(standing(repository, main), env, _today())
    if found is None:
        return None
    return (
        f"{env} is frozen: {found.sentence}; take the line out of {FREEZE} on {repository.branch}, or wait. Rollbacks "
        "and holds go on"
    )


def stopped(repository: Repository, main: str, env: str) -> str | None:
    """The refusal; of a file that cannot be read, what is wrong with it, for that stops all it could."""
    try:
        return refusal(repository, main, env)
    except DeliveryError as error:
        return str(error)


def settled(repository: Repository, main: str, env: str, identity: str) -> Settled | None:
    """The refusal as the end of a plan. Raises DeliveryError."""
    why = refusal(repository, main, env)
    return Settled("refused", why, identity) if why else None


def notes(repository: Repository, main: str, environments: Iterable[str]) -> list[str]:
    """What a status says about freezes, also about a file that cannot be read."""
    try:
        lines = standing(repository, main)
    except (DeliveryError, GitError) as error:
        return [str(error)]
    found = [(env, covering(lines, env, _today())) for env in environments]
    return [f"{env} is frozen by {FREEZE}: {line.sentence}" for env, line in found if line]


def check(root: Path, environments: Sequence[str]) -> None:
    """Raise DeliveryError where a work tree's file cannot be read."""
    path = root / FREEZE
    if path.is_file():
        read(path.read_bytes(), FREEZE.as_posix(), environments)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def _environments(settings: bytes | None) -> tuple[str, ...]:
    """Those of main's own settings, whatever this checkout says."""
    document: dict[str, Any] = tomllib.loads((settings or b"").decode())
    return tuple(document.get("tool", {}).get("flightline", {}).get("environments", ()))
