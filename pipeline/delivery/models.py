"""The two documents in `k8s/releases/<env>/` that say what is released and what must not come back."""

import datetime
import re
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from pipeline.config import Frozen, faults

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Reference = Annotated[str, Field(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$")]
Ratio = Annotated[float, Field(ge=0, le=1)]


class DeliveryError(ValueError):
    """Something a release is made of is not as it must be. Names what, its value and the fix."""


class Expects(Frozen):
    """How the canary's scores should differ from the stable ones: Kolmogorov-Smirnov distances over score buckets.

    `ks` is over all rows; `max_ks` allows for the block (day) where they were furthest apart, and for noise.
    `released` is the version it was compared with, None for a first release; then `ks` is 0, `max_ks` 1, `rows` 0.
    `logged_to` is the last day of the logged rows that were measured, None (left out of release.yaml) for other rows.
    """

    released: Hex64 | None
    ks: Ratio
    max_ks: Ratio
    rows: int = Field(ge=0)
    logged_to: datetime.date | None = Field(None, exclude_if=lambda day: day is None)


class Code(Frozen):
    """The code image the bundle was put on, and the hash of what it was built from."""

    image: Digest
    inputs: Hex64


class Judged(Frozen):
    """The verdict's decision and its reason in a sentence."""

    decision: str
    reason: str


class Release(Frozen):
    """`release.yaml`: what is released in one environment, and which commit rendered it."""

    schema_version: Literal[1] = 1
    environment: str
    identity: Hex64
    version: Hex64
    source: Commit
    image: Reference
    code: Code
    metrics: dict[str, float]
    expects: Expects
    verdict: Judged

    @property
    def digest(self) -> str:
        """The image's digest."""
        return self.image.partition("@")[2]


class Permission(Frozen):
    """Who let a held identity go, why and on which day."""

    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    date: datetime.date


class Hold(Frozen):
    """One line of `held.yaml`: an identity that `release` and `promote` refuse until it is permitted."""

    identity: Hex64
    version: Hex64
    reason: str = Field(min_length=1)
    date: datetime.date
    permitted: Permission | None = None


_HOLDS = TypeAdapter(tuple[Hold, ...])
_Read = TypeVar("_Read")


def read_release(text: bytes, where: str) -> Release:
    """The document of a release.yaml. Raises DeliveryError, naming `where`."""
    return _validated(TypeAdapter(Release), _document(text, where), where)


def read_holds(text: bytes, where: str) -> tuple[Hold, ...]:
    """The lines of a held.yaml, at most one an identity. Raises DeliveryError, naming `where`."""
    holds = _validated(_HOLDS, _document(text, where) or (), where)
    named = [hold.identity for hold in holds]
    for identity in named:
        if named.count(identity) > 1:
            raise DeliveryError(f"{where}: identity {identity[:12]} stands there twice; keep the newer line")
    return holds


def _document(text: bytes, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeliveryError(f"{where}: not YAML: {' '.join(str(error).split())}") from error


def _validated(kind: TypeAdapter[_Read], document: Any, where: str) -> _Read:
    try:
        return kind.validate_python(document)
    except ValidationError as error:
        raise DeliveryError(f"{where}: {faults(error)}") from error


def write_release(release: Release) -> bytes:
    """release.yaml: fields in the order of the model."""
    return _written(release.model_dump(mode="json"))


def write_holds(holds: tuple[Hold, ...]) -> bytes:
    """held.yaml, oldest line first."""
    return _written([hold.model_dump(mode="json") for hold in holds])


def _written(document: Any) -> bytes:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return text.encode()


def is_identity(text: str) -> bool:
    """Whether this is an identity or version written whole."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def is_commit(text: str) -> bool:
    """Whether this is a commit written whole."""
    return re.fullmatch(r"[0-9a-f]{40}", text) is not None
