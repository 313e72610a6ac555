"""Settings of the store of predictions and labels; part of section `monitoring` of params.yaml."""

from typing import Literal

from pydantic import Field

from pipeline.config import Frozen


class Keeping(Frozen):
    """Where predictions and labels are kept, what of them, and for how long.

    `store` is a folder or s3://bucket/prefix. `fields` are the features that are kept of each logged row. A day older
    than `retention_days` is removed by `flightline log expire`; without a number, none is. Clocks may differ by
    `clock_tolerance_minutes` before a label counts as known too early.
    """

    store: str = Field(".observed", min_length=1)
    fields: Literal["all"] | tuple[str, ...] = "all"
    retention_days: int | None = Field(400, ge=1, le=36_500)
    clock_tolerance_minutes: float = Field(5, ge=0, le=1440)
