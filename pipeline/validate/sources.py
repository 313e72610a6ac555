"""`infra/schemas/`: JSON schemas kept as data, and the Go modules and Python packages that they are written from."""

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import TypeAdapter, ValidationError, model_validator

from pipeline.config import ConfigError, Frozen, faults, read_yaml
from pipeline.tools import Go
from pipeline.validate import openapi

FOLDER = Path("infra/schemas")
SOURCES = FOLDER / "sources.yaml"
PATTERN = "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"


class Source(Frozen):
    """A Go module with the file or folder of it that states schemas, or a Python package whose models do.

    `kinds` are those used here, as `group/version/Kind`.
    """

    module: str = ""
    package: str = ""
    version: str
    path: str = ""
    kinds: tuple[str, ...]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.package) == bool(self.module) or bool(self.module) != bool(self.path):
            raise ValueError("give either module and path, or package")
        return self

    @property
    def name(self) -> str:
        """What it is called where it comes from."""
        return self.module or self.package


def read_sources(root: Path) -> tuple[Source, ...]:
    """Read `infra/schemas/sources.yaml` under `root`. Raises ConfigError."""
    try:
        return TypeAdapter(tuple[Source, ...]).validate_python(read_yaml(root / SOURCES))
    except ValidationError as error:
        raise ConfigError(f"{root / SOURCES}: {faults(error)}") from error


def write(root: Path, say: Callable[[str], None]) -> int:
    """Write every schema anew, beside nothing else than `sources.yaml`. Returns how many kinds there are.

    Raises UnavailableError without Go or its module proxy, and ConfigError for a kind that its module does not state.
    """
    sources = read_sources(root)
    made: dict[str, Any] = {}
    go = Go.find(root / FOLDER)
    for source in sources:
        say(f"reading {source.name} {source.version}")
        made |= _of_package(source, made) if source.package else _schemas(source, go)
    _clear(root / FOLDER)
    for name, schema in made.items():
        _save(root / FOLDER / name, schema)
    return sum(len(source.kinds) for source in sources)


def file_of(kind: str) -> str:
    """The file of `group/version/Kind`, as kubeconform fills in PATTERN; the core's group is its version."""
    api, _, name = kind.rpartition("/")
    return f"{api.partition('/')[0]}/{name.lower()}_{api.rpartition('/')[2]}.json"


def _schemas(source: Source, go: Go) -> dict[str, Any]:
    place = _module(source, go) / source.path
    if place.suffix == ".json":
        document = json.loads(place.read_text())
        _check_stated(source, openapi.stated(document))
        definitions, schemas = openapi.kubernetes(document, source.kinds)
        return {openapi.DEFINITIONS: {"definitions": definitions}, **_files(schemas)}
    return _files(_custom(place, source))


def _of_package(source: Source, made: Mapping[str, Any]) -> dict[str, Any]:
    """After Kubernetes' own, to whose definitions it refers."""
    from pipeline.validate import sdk

    sdk.check_installed(source.package, source.version)
    kept = made.get(openapi.DEFINITIONS, {}).get("definitions", {})
    return _files(sdk.kinds(source.package, source.kinds, kept))


def _custom(folder: Path, source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for document in _definitions(folder, {kind.rpartition("/")[2] for kind in source.kinds}):
        found |= openapi.custom(document)
    _check_stated(source, found)
    return {kind: found[kind] for kind in source.kinds}


def _check_stated(source: Source, found: Collection[str]) -> None:
    if missing := sorted(set(source.kinds) - set(found)):
        raise ConfigError(f"{SOURCES}: {source.module} {source.version} does not state {', '.join(missing)}")


def _definitions(folder: Path, names: set[str]) -> Iterator[Any]:
    """The CustomResourceDefinitions of these kinds in a folder of YAML files."""
    for path in sorted(folder.glob("*.y*ml")):
        text = path.read_text()
        if any(f"kind: {name}\n" in text for name in names):
            yield from (one for one in yaml.load_all(text, yaml.CSafeLoader) if _defines(one, names))


def _defines(document: Any, names: set[str]) -> bool:
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind == "CustomResourceDefinition" and document["spec"]["names"]["kind"] in names


def _files(schemas: dict[str, Any]) -> dict[str, Any]:
    return {file_of(kind): schema for kind, schema in schemas.items()}


def _module(source: Source, go: Go) -> Path:
    """The module's folder in Go's own cache, downloaded first where it is not there."""
    told = "\n".join(go.lines("mod", "download", "-json", f"{source.module}@{source.version}"))
    return Path(json.loads(told[told.index("{") :])["Dir"])


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _save(path: Path, schema: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")
