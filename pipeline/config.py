"""The two files a person writes: `params.yaml` (what is trained, how judged) and `[tool.flightline]` (whose it is).

Both are read once into frozen models; a misspelt or missing field is an error that names it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

GateName = Literal["data", "benchmark", "differential", "load"]
Share = Field(gt=0, lt=1)


class ConfigError(Exception):
    """A configuration that cannot be used. The message names the file, the field and the fix."""


class Frozen(BaseModel):
    """An immutable value whose unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataGate(Frozen):
    """Limits of the data gate. Shares are of rows."""

    max_out_of_range_share: float = Field(0.0005, ge=0, lt=1)
    max_unseen_category_share: float = Field(0.01, ge=0, lt=1)
    max_relation_violation_share: float = Field(0.001, ge=0, lt=1)
    max_null_share_increase: float = Field(0.10, gt=0, lt=1)
    min_labelled_share: float = Field(0.80, gt=0, le=1)
    max_days_without_label: int = Field(7, ge=1)
    max_single_feature_auc: float = Field(0.90, gt=0.5, le=1)


class BenchmarkGate(Frozen):
    """Limits of the benchmark gate. Margins are shares of production's loss."""

    margin: float = Field(0.02, gt=0, lt=1)
    slice_margin: float = Field(0.03, gt=0, lt=1)
    resamples: int = Field(2000, ge=200, le=100_000)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    min_blocks: int = Field(20, ge=2)
    min_slice_rows: int = Field(500, ge=1)
    min_slice_blocks: int = Field(20, ge=2)
    seed: int = 20130101


class DifferentialGate(Frozen):
    """Limits of the differential gate."""

    max_flip_share: float = Field(0.15, gt=0, le=1)
    largest_flips: int = Field(10, ge=1, le=100)
    parity_tolerance: float = Field(1e-5, gt=0)


class LoadGate(Frozen):
    """How the load gate measures. The objectives themselves are in `k8s/base/slo.yaml`."""

    users: int = Field(8, ge=1, le=256)
    rounds: int = Field(10, ge=3, le=50)
    max_rounds: int = Field(25, ge=3, le=100)
    round_seconds: float = Field(0.5, gt=0, le=60)
    max_slowdown: float = Field(0.25, gt=0)
    stress_users: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)


class Override(Frozen):
    """A reviewed exception: this gate's decision about this one candidate does not block, until the date given."""

    gate: GateName
    candidate: str = Field(min_length=12, description="the candidate's version, or its first 12 or more characters")
    reason: str = Field(min_length=10)
    expires: date


class Gates(Frozen):
    """Every threshold of every gate."""

    data: DataGate = DataGate()
    benchmark: BenchmarkGate = BenchmarkGate()
    differential: DifferentialGate = DifferentialGate()
    load: LoadGate = LoadGate()
    overrides: tuple[Override, ...] = ()


class Params(Frozen):
    """`params.yaml`. The first three sections belong to the model, the last two to monitoring; each checks its own."""

    data: dict[str, Any]
    split: dict[str, Any]
    estimator: dict[str, Any]
    gates: Gates
    monitoring: dict[str, Any] = {}
    retrain: dict[str, Any] = {}

    def of_model(self) -> Mapping[str, Any]:
        """What `model.load` is given."""
        return {"data": self.data, "split": self.split, "estimator": self.estimator}


class Signing(Frozen):
    """Who signs images: the holder of a key, or a workflow that proves its identity to Sigstore (keyless).

    `key` is the public key's path in the repository. `identity` may name {repository} and {branch}.
    """

    key: str = ""
    identity: str = ""
    issuer: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.key) == bool(self.identity) or bool(self.identity) != bool(self.issuer):
            raise ValueError("give either key, or identity and issuer")
        return self


class Settings(Frozen):
    """`[tool.flightline]` in pyproject.toml: the one place that says whose fork this is."""

    name: str
    title: str
    repository: str
    branch: str
    owners: tuple[str, ...]
    registry: str
    environments: tuple[str, ...]
    trusted_remote: str
    work_remote: str
    security_contact: str
    signing: Signing | None = None


def read_params(root: Path) -> Params:
    """Read `params.yaml` under `root`. Raises ConfigError."""
    path = root / "params.yaml"
    return validated(Params, read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """The document in a YAML file. Raises ConfigError."""
    return load_yaml(_text(path), path)


def load_yaml(text: str, where: Path | str) -> Any:
    """The document. Raises ConfigError naming the file and, of a value that is none, its field."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # PyYAML says of a day that there is not neither where it stands nor what it says
        found = "; ".join(_impossible(yaml.compose(text, yaml.SafeLoader), ""))
        raise ConfigError(f"{where}: {found or error}") from error


def _impossible(node: yaml.Node | None, field: str) -> Iterator[str]:
    """Every value that PyYAML cannot make anything of, with its field and the fix."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _impossible(value, f"{field}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield from _impossible(value, f"{field}.{at}".lstrip("."))
    elif isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError as error:
            fix = "write a day that there is, as 2013-03-31, or text in quotes"
            yield f"{field}: {error} (got {node.value!r:.60}); {fix}"


def read_settings(root: Path) -> Settings:
    """Read `[tool.flightline]` of `pyproject.toml` under `root`. Raises ConfigError."""
    path = root / "pyproject.toml"
    try:
        document = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return validated(Settings, document.get("tool", {}).get("flightline", {}), path)


_Config = TypeVar("_Config", bound=BaseModel)


def validated(kind: type[_Config], document: Any, path: Path) -> _Config:
    """The document as `kind`; a ConfigError names the file and every field at fault."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {faults(error)}") from error


def faults(error: ValidationError) -> str:
    """Every field at fault, what is wrong with it and what it was."""
    return "; ".join(map(_fault, error.errors()))


def _fault(error: Any) -> str:
    """One pydantic error as `field: what is wrong (got ...)`."""
    field = ".".join(map(str, error["loc"])) or "(top level)"
    return f"{field}: {error['msg']} (got {error['input']!r:.60})"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is not there; run flightline from the top of the repository") from error
