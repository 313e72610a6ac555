"""YAML that a person wrote. PyYAML says of a day that there is not neither where it stands nor what it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import ConfigError, read_params


def load(text: str, where: Path | str) -> Any:
    """The document. Raises ConfigError naming the file and, of a value that is none, its field."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ConfigError(f"{where}: {_named(text) or error}") from error


def section(root: Path, name: str) -> Any:
    """A section of `params.yaml` under `root`, to be checked by whom it belongs to. Raises ConfigError."""
    try:
        return getattr(read_params(root), name)
    except ValueError:
        path = root / "params.yaml"
        load(path.read_text(), path)  # says which field it is
        raise


def _named(text: str) -> str:
    """Every value that PyYAML cannot make anything of, with its field."""
    return "; ".join(_faults(yaml.compose(text, yaml.SafeLoader), ""))


def _faults(node: yaml.Node | None, field: str) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _faults(value, f"{field}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield from _faults(value, f"{field}.{at}".lstrip("."))
    elif isinstance(node, yaml.ScalarNode):
        yield from _fault(node, field)


def _fault(node: yaml.ScalarNode, field: str) -> Iterator[str]:
    try:
        yaml.SafeLoader("").construct_object(node)
    except ValueError as error:
        fix = "write a day that there is, as 2013-03-31, or text in quotes"
        yield f"{field}: {error} (got {node.value!r:.60}); {fix}"
