"""What differs between two commits, from their own files: parameters, outputs of stages, figures. Nothing is run."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from pipeline.config import ConfigError
from pipeline.review.models import Figure, Output, Setting
from pipeline.text import leaves, setting

MOST_BYTES, MOST_DEPTH, MOST_VALUES = 500_000, 40, 100_000
_LONGEST, _NAME = 400, 160


def parameters(base: bytes | None, head: bytes | None) -> tuple[Setting, ...]:
    """Every value that two versions of params.yaml do not share, in head's order. Raises ConfigError."""
    before, after = (_values(document(text, "params.yaml")) for text in (base, head))
    names = dict.fromkeys([*after, *before])
    changed = (name for name in names if before.get(name) != after.get(name))
    return tuple(Setting(name=name[:_NAME], base=before.get(name), head=after.get(name)) for name in changed)


def outputs(base: bytes | None, head: bytes | None) -> tuple[Output, ...]:
    """Every output that two versions of dvc.lock name, in head's order, changed or not. Raises ConfigError."""
    before, after = (dict(_outputs(document(text, "dvc.lock"))) for text in (base, head))
    return tuple(
        Output(
            path=path[:_NAME],
            base=_field(before, path, "md5"),
            head=_field(after, path, "md5"),
            base_bytes=_field(before, path, "size"),
            head_bytes=_field(after, path, "size"),
        )
        for path in dict.fromkeys([*after, *before])
    )


def figures(base: Mapping[str, Any] | None, head: Mapping[str, Any] | None) -> tuple[Figure, ...]:
    """Every number that two metrics.json hold, in head's order."""
    before, after = dict(_numbers(base or {})), dict(_numbers(head or {}))
    names = dict.fromkeys([*after, *before])
    return tuple(Figure(name=name[:_NAME], base=before.get(name), head=after.get(name)) for name in names)


def document(text: bytes | None, name: str) -> Mapping[str, Any]:
    """A YAML file that is a mapping; nothing where there is no file. Raises ConfigError.

    A few aliases can stand for more than any memory holds, so it is measured before it is read.
    """
    if len(text or b"") > MOST_BYTES:
        raise ConfigError(f"{name}: more than {MOST_BYTES:,} bytes")
    try:
        _check_shape(yaml.parse(text or b"", yaml.CSafeLoader), name)
        found = yaml.load(text or b"", yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if found is not None and not isinstance(found, Mapping):
        raise ConfigError(f"{name}: a {type(found).__name__} where sections are expected")
    return found or {}


def _check_shape(events: Iterable[yaml.Event], name: str) -> None:
    """Raise ConfigError where written-out aliases are too many, or so deep that the loader in C runs out of stack."""
    sizes: dict[str, int] = {}
    within: list[tuple[str | None, int]] = [(None, 0)]
    for one in events:
        if isinstance(one, yaml.CollectionStartEvent):
            within.append((one.anchor, 1))
        elif isinstance(one, yaml.CollectionEndEvent):
            _count(within, *within.pop(), sizes)
        elif isinstance(one, yaml.NodeEvent):
            anchor = None if isinstance(one, yaml.AliasEvent) else one.anchor
            _count(within, anchor, _size(one, sizes, name), sizes)
        if len(within) > MOST_DEPTH or within[-1][1] > MOST_VALUES:
            raise ConfigError(f"{name}: more than {MOST_DEPTH} levels deep, or more than {MOST_VALUES:,} values")


def _count(within: list[tuple[str | None, int]], anchor: str | None, size: int, sizes: dict[str, int]) -> None:
    """Add a finished value's size to what it stands in, and keep it for aliases of it."""
    if anchor is not None:
        sizes[anchor] = size
    outer, so_far = within[-1]
    within[-1] = outer, so_far + size


def _size(one: yaml.NodeEvent, sizes: Mapping[str, int], name: str) -> int:
    """How many values a scalar or an alias stands for; an alias that stands in what it names has no number."""
    if not isinstance(one, yaml.AliasEvent):
        return 1
    if one.anchor not in sizes:
        raise ConfigError(f"{name}: alias *{one.anchor} stands in what it names")
    return sizes[str(one.anchor)]


def _values(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): setting(value)[:_LONGEST] for name, value in leaves(found)}


def _outputs(lock: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    stages = lock.get("stages")
    for stage in stages.values() if isinstance(stages, Mapping) else ():
        for out in (stage.get("outs") or ()) if isinstance(stage, Mapping) else ():
            if isinstance(out, Mapping) and isinstance(out.get("path"), str):
                yield out["path"], out


def _field(found: Mapping[str, Mapping[str, Any]], path: str, name: str) -> Any:
    return found.get(path, {}).get(name)


def _numbers(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in leaves(found):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
