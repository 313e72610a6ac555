"""`evidence.json`: what the run of a pull request hands to main's code, beside its verdict and pictures.

Main's code trusts none of it. Every field has a size, so that nobody can make a comment of megabytes.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.delivery.models import Commit, Hex64

EVIDENCE, VERDICT, PLOTS = "evidence.json", "verdict.json", "plots"
MOST_PLOTS = 24
PICTURE = r"[a-z0-9][a-z0-9-]{0,79}"

Line = Annotated[str, Field(max_length=400)]
Name = Annotated[str, Field(max_length=160)]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]
Size = Annotated[int, Field(ge=0)]
Outcome = Literal["judged", "unchanged", "not reproduced", "not judged"]


class Figure(Frozen):
    """One of `metrics.json`, each side on the rows that it held out itself. None: that side has none."""

    name: Name
    base: float | None
    head: float | None


class Setting(Frozen):
    """One value of a YAML file, by its dotted name. None: not there."""

    name: Name
    base: Line | None
    head: Line | None


class Output(Frozen):
    """What DVC calls one output of a stage, and its size in bytes. None: not there."""

    path: Name
    base: Md5 | None
    head: Md5 | None
    base_bytes: Size | None = None
    head_bytes: Size | None = None


class Provenance(Frozen):
    """What the bundle was made of, by hash, and which production it was compared with (None: none)."""

    version: Hex64
    production: Hex64 | None
    data: Hex64
    code: Hex64
    parameters: Hex64
    requirements: Hex64


class Evidence(Frozen):
    """What came of the run. `reason` says why there is no verdict; `model` whether what the bundle depends on changed.

    `machine` says that only files that machines write changed. Both are the run's own words.
    """

    schema_version: Literal[1] = 1
    head: Commit
    base: Commit
    machine: bool
    model: bool
    outcome: Outcome
    reason: Line = ""
    metrics: tuple[Figure, ...] = Field((), max_length=60)
    params: tuple[Setting, ...] = Field((), max_length=200)
    data: tuple[Output, ...] = Field((), max_length=60)
    provenance: Provenance | None = None
    notes: tuple[Line, ...] = Field((), max_length=10)
