"""Moving the data window: one value of params.yaml by its dotted name, with every comment and quote left as it is."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import yaml

from pipeline.config import ConfigError, load_yaml

WHERE = "params.yaml"
_MARKED = "&*!"


def read(text: str, key: str) -> date:
    """The day that a dotted key names. Raises ConfigError where it names none."""
    found: Any = _document(text)
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise ConfigError(f"{WHERE} has no {key!r}, which `retrain.window_key` names; name the key that is to move")
        found = found[part]
    try:
        return found if isinstance(found, date) else date.fromisoformat(str(found))
    except ValueError as error:
        raise ConfigError(f"{WHERE}: {key} is {found!r}, and a window ends on a day, as 2013-03-31") from error


def advanced(text: str, key: str, end: date) -> str:
    """The text with that day at the key and nothing else changed. Raises ConfigError where that cannot be done.

    The day that is there stays; a window never goes back.
    """
    now = read(text, key)
    if now > end:
        raise ConfigError(f"{WHERE}: {key} is {now}, later than {end}; a retraining never takes data away")
    if now == end:
        return text
    node = _scalar(text, key)
    if text[node.start_mark.index] in _MARKED:
        raise ConfigError(f"{WHERE}: {key} has an anchor or a tag, or is an alias; write its value out where it stands")
    value = f'"{end}"' if node.style == '"' else f"'{end}'" if node.style == "'" else str(end)
    moved = text[: node.start_mark.index] + value + text[node.end_mark.index :]
    _check_only(text, moved, key, end)
    return moved


def _scalar(text: str, key: str) -> yaml.ScalarNode:
    """The value's own node, which knows where it stands."""
    node: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    for part in key.split("."):
        node = next(_values(node, part), None)
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{WHERE}: {key} is no plain value; write it out as one")
    return node


def _values(node: yaml.Node | None, name: str) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from (value for key, value in node.value if key.value == name)


def _check_only(before: str, after: str, key: str, end: date) -> None:
    """Raise ConfigError unless the two documents differ in that value alone, and it is the one wanted."""
    was, now = (dict(_flat(_document(text))) for text in (before, after))
    changed = {name for name in {*was, *now} if was.get(name) != now.get(name)}
    if changed != {key} or str(now[key]) != end.isoformat():
        raise ConfigError(
            f"{WHERE}: {key} cannot be moved to {end} without changing {', '.join(sorted(changed - {key})) or 'it'}; "
            "write each value out where it stands"
        )


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _flat(one, f"{prefix}{name}.")
    else:
        yield prefix.removesuffix("."), value


def _document(text: str) -> Any:
    return load_yaml(text, WHERE)
