"""From OpenAPI, as Kubernetes and CustomResourceDefinitions state it, to strict JSON Schema, as kubeconform reads it.

Pure. Every object whose properties are named refuses others; descriptions, defaults and formats are left out.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
DEFINITIONS = "definitions.json"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_KEPT = frozenset(
    "$ref type enum pattern required items properties additionalProperties oneOf anyOf allOf not "
    "minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems maxItems minProperties "
    "maxProperties uniqueItems multipleOf".split()
)
_NAMED = "properties"
_WORTH_SHARING = 400


def kubernetes(document: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Schema, dict[str, Schema]]:
    """The definitions that `kinds` and object metadata need, and a schema per kind that refers to them.

    `kinds` are `group/version/Kind`; the group of the core is left out.
    """
    by_kind = stated(document)
    needed = _reachable(document["definitions"], [META, *(by_kind[kind] for kind in kinds)])
    definitions = {name: _definition(name, document["definitions"][name]) for name in sorted(needed)}
    return definitions, {kind: top(kind, {"$ref": _shared(by_kind[kind])}) for kind in kinds}


def stated(document: Mapping[str, Any]) -> dict[str, str]:
    """The definition of each `group/version/Kind` of Kubernetes' own."""
    return {kind: name for name, one in document["definitions"].items() for kind in _kinds(one)}


def custom(crd: Mapping[str, Any]) -> dict[str, Schema]:
    """A schema per served version of a CustomResourceDefinition, by `group/version/Kind`."""
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    return {
        f"{group}/{version['name']}/{kind}": _custom_kind(
            f"{group}/{version['name']}/{kind}", version["schema"]["openAPIV3Schema"]
        )
        for version in crd["spec"]["versions"]
    }


def _custom_kind(kind: str, openapi: Schema) -> Schema:
    schema = strict(openapi)
    schema["properties"] |= {"metadata": {"$ref": _shared(META)}}
    return compact(top(kind, schema))


def top(kind: str, schema: Schema) -> Schema:
    """A schema that also says which kind it is of: what kubeconform looked it up by must be there."""
    version, _, name = kind.rpartition("/")
    named = {"apiVersion": {"enum": [version]}, "kind": {"enum": [name]}}
    if "$ref" in schema:
        return {"allOf": [schema, {"properties": named, "required": ["apiVersion", "kind", "metadata"]}]}
    return {
        **schema,
        "properties": schema["properties"] | named,
        "required": sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"}),
    }


def strict(stated: Mapping[str, Any]) -> Schema:
    """One OpenAPI schema as JSON Schema that refuses properties it does not name."""
    if stated.get("x-kubernetes-int-or-string") or stated.get("format") == "int-or-string":
        return {"type": ["integer", "string"], **({"pattern": stated["pattern"]} if "pattern" in stated else {})}
    schema = {key: _inside(key, value) for key, value in stated.items() if key in _KEPT}
    if _closed(stated):
        schema["additionalProperties"] = False
    if stated.get("nullable") and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    return schema


def _closed(stated: Mapping[str, Any]) -> bool:
    """An object whose properties are all named; what only adds conditions to one (inside anyOf) has no type."""
    opened = stated.get("x-kubernetes-preserve-unknown-fields") or stated.get("x-kubernetes-embedded-resource")
    return (
        bool(stated.get("properties"))
        and stated.get("type") == "object"
        and not opened
        and ("additionalProperties" not in stated)
    )


def _inside(key: str, value: Any) -> Any:
    if key == _NAMED:
        return {name: strict(one) for name, one in value.items()}
    if key == "$ref":
        return "#/" + value.rpartition("#/")[2]
    if isinstance(value, list):
        return [strict(one) if isinstance(one, dict) else one for one in value]
    return strict(value) if isinstance(value, dict) else value


def _definition(name: str, stated: Schema) -> Schema:
    return {"type": ["string", "number"]} if name == _QUANTITY else strict(stated)


def _shared(name: str) -> str:
    return f"../{DEFINITIONS}#/definitions/{name}"


def _kinds(stated: Mapping[str, Any]) -> Iterator[str]:
    for one in stated.get("x-kubernetes-group-version-kind", ()):
        yield "/".join(filter(None, (one["group"], one["version"], one["kind"])))


def _reachable(definitions: Mapping[str, Schema], wanted: list[str]) -> set[str]:
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += _references(definitions[name])
    return found


def _references(value: Any) -> Iterator[str]:
    """The names of definitions that a schema refers to, anywhere within it."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _references(one)


def compact(schema: Schema) -> Schema:
    """The same schema with every large part that occurs more than once stated once, under `definitions`."""
    counted = Counter(text for one in _parts(schema) if len(text := _text(one)) >= _WORTH_SHARING)
    names = {text: f"part-{place}" for place, text in enumerate(sorted(t for t, times in counted.items() if times > 1))}
    if not names:
        return schema
    definitions = {name: _shorter(json.loads(text), names, own=True) for text, name in names.items()}
    return {**_shorter(schema, names, own=True), "definitions": definitions}


def _shorter(value: Any, names: Mapping[str, str], *, own: bool = False) -> Any:
    if isinstance(value, list):
        return [_shorter(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    if not own and (name := names.get(_text(value))):
        return {"$ref": f"#/definitions/{name}"}
    return {key: _named(one, names) if key == _NAMED else _shorter(one, names) for key, one in value.items()}


def _named(properties: Mapping[str, Schema], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: _shorter(one, names) for name, one in properties.items()}


def _parts(schema: Schema) -> Iterator[Schema]:
    """Every schema within a schema."""
    for one in _children(schema):
        yield one
        yield from _parts(one)


def _children(schema: Schema) -> Iterator[Schema]:
    for key, value in schema.items():
        inner = value.values() if key == _NAMED else value if isinstance(value, list) else [value]
        yield from (one for one in inner if isinstance(one, dict))


def _text(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))
