"""What the environment decides: one frozen value, read once at start from the `FLIGHTLINE_*` variables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

PREFIX = "FLIGHTLINE_"

Count: TypeAlias = Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=3600)]
Positive: TypeAlias = Annotated[float, Meta(gt=0)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class SettingsError(Exception):
    """A setting that cannot be used. The message names the variable, its value and what to do."""


class Settings(msgspec.Struct, frozen=True):
    """Every setting with its default; `host` is read from FLIGHTLINE_HOST, and so on. Times are in seconds.

    `bundle_version` is the full version to serve, where one was named. `notice` is shown on /docs and logged at start.
    `ready_wait` is how long a terminated server goes on answering after /readyz has begun to fail, so that whoever
    routes to it can look elsewhere; Ctrl-C does not wait. `drain_seconds` is how long requests in flight may take after
    that. `max_requests_per_connection` makes clients reconnect, so that new pods get their share.
    `log_share` is the share of requests whose rows are written to the prediction log. The `slo_*` are display only.
    """

    bundle: Annotated[str, Meta(min_length=1)] = "build/bundle"
    bundle_version: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    notice: str = ""
    threads: Count = 1
    max_body_bytes: Count = 1 << 20
    max_rows: Count = 10_000
    max_concurrency: Count = 256
    max_requests_per_connection: Count = 1000
    request_timeout: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    ready_wait: Seconds = 0.0
    drain_seconds: Seconds = 20.0
    log_share: Share = 1.0
    slo_p95_seconds: Positive | None = None
    slo_error_ratio: Share | None = None
    slo_throughput_per_second: Positive | None = None
    slo_memory_bytes: Positive | None = None

    @property
    def path(self) -> Path:
        """The folder of the bundle."""
        return Path(self.bundle)

    @property
    def slo(self) -> dict[str, float]:
        """The objectives that were given, by name."""
        given = {field: getattr(self, field) for field in self.__struct_fields__ if field.startswith("slo_")}
        return {name.removeprefix("slo_"): value for name, value in given.items() if value is not None}


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; an empty variable counts as unset. Raises SettingsError."""
    return read_as(Settings, environment)


_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def read_as(kind: type[_Kind], environment: Mapping[str, str]) -> _Kind:
    """As `read`, for a struct of settings whose every field has a default. Raises SettingsError."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    named = {name: environment.get(PREFIX + name.upper(), "") for name in fields}
    return kind(**{name: _converted(fields[name], text) for name, text in named.items() if text})


def _converted(field: msgspec.structs.FieldInfo, text: str) -> Any:
    try:
        return msgspec.convert(text, type=field.type, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_complaint(field, text, error)) from error


def _complaint(field: msgspec.structs.FieldInfo, text: str, error: Exception) -> str:
    variable = PREFIX + field.name.upper()
    fix = f"unset it for the default, {field.default!r}"
    if text.startswith("tcp://"):
        fix = "Kubernetes injects it for a Service of that name: set enableServiceLinks: false"
    return f"{variable} is {text!r}: {error}; {fix}"
