"""Where text stands in files: the scalars of a YAML file with key path, line and span, so that one can be replaced."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from pipeline.config import ConfigError

Keys: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A value in a file. `keys` lead to it through mappings; a list adds none. `span` is in characters.

    `kind` is the object's; empty where there is none, and where it is for tools only and never rendered.
    """

    path: Path
    line: int
    span: tuple[int, int]
    value: str
    kind: str = ""
    keys: Keys = ()


def scalars(path: Path, text: str) -> Iterator[Place]:
    """Every scalar value of a YAML file; keys are none. Raises ConfigError."""
    try:
        for document in yaml.compose_all(text, yaml.CSafeLoader):
            yield from _within(path, document, (), _kind(document))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Each mapping among the documents of a YAML text, and its part of the text."""
    for node, body in zip(yaml.compose_all(text, yaml.CSafeLoader), yaml.load_all(text, yaml.CSafeLoader), strict=True):
        if isinstance(body, dict):
            yield body, text[node.start_mark.index : node.end_mark.index]


def _kind(document: Any) -> str:
    metadata = _at(_at(document, "metadata"), "annotations")
    kind = None if _at(metadata, "config.kubernetes.io/local-config") else _at(document, "kind")
    return str(kind.value) if isinstance(kind, yaml.ScalarNode) else ""


def _at(node: Any, key: str) -> Any:
    """The node under a key of a mapping; None where there is no such thing."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _within(path: Path, node: Any, keys: Keys, kind: str) -> Iterator[Place]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _within(path, value, (*keys, str(key.value)), kind)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _within(path, value, keys, kind)
    elif isinstance(node, yaml.ScalarNode):
        span = (node.start_mark.index, node.end_mark.index)
        yield Place(path, node.start_mark.line + 1, span, node.value, kind, keys)


def replaced(text: str, changes: Mapping[tuple[int, int], str]) -> str:
    """The text with other text at these spans, which must not overlap."""
    for (start, end), value in sorted(changes.items(), reverse=True):
        text = text[:start] + value + text[end:]
    return text
