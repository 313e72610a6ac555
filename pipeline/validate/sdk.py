"""From the models of the `argo-workflows` package to strict JSON Schema: no registry has its CRDs as data.

What the models say of Kubernetes' own kinds is older than the definitions kept here, so those are referred to.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.errors import UnavailableError
from pipeline.validate import openapi
from pipeline.validate.openapi import Schema

_PREFIX = "IoArgoprojWorkflowV1alpha1"
_CORE = "io.k8s.api.core.v1."
_SIMPLE: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    list: {"type": "array"},
}
# The models call a number or text a text.
_EITHER = frozenset("activeDeadlineSeconds count end factor limit start".split())
# Argo Workflows 4 has them no more.
_GONE = {"CronWorkflowSpec": {"schedule"}, "Synchronization": {"mutex", "semaphore"}}


def check_installed(package: str, wanted: str) -> None:
    """Raise UnavailableError unless this very version of the package is installed."""
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "none"
    if found != wanted:
        raise UnavailableError(f"{package} {wanted} is needed and {found} is installed; `make .venv/.dev` does that")


def kinds(package: str, wanted: Collection[str], kept: Mapping[str, Schema]) -> dict[str, Schema]:
    """A schema for each `group/version/Kind`; `kept` are the definitions of Kubernetes that may be referred to."""
    found = {}
    for kind in wanted:
        models = _Models(package, kept)
        top = models.properties(_PREFIX + kind.rpartition("/")[2])
        top["properties"] |= {"metadata": {"$ref": f"../{openapi.DEFINITIONS}#/definitions/{openapi.META}"}}
        found[kind] = {**openapi.top(kind, top), "definitions": models.definitions()}
    return found


class _Models:
    """The models that one kind needs, each stated once."""

    def __init__(self, package: str, kept: Mapping[str, Schema]) -> None:
        self._module = import_module(f"{package.replace('-', '_')}.models")
        self._kept = kept
        self._wanted: dict[str, None] = {}

    def definitions(self) -> dict[str, Schema]:
        """Every model that was referred to, and those that these refer to."""
        made: dict[str, Schema] = {}
        while missing := [name for name in self._wanted if name not in made]:
            made |= {name: self._definition(name) for name in missing}
        return dict(sorted(made.items()))

    def _definition(self, name: str) -> Schema:
        model = getattr(self._module, name)
        if not model.attribute_map:  # a list by another name
            return self._type(model.openapi_types["value"])
        return self.properties(name)

    def properties(self, name: str) -> Schema:
        """A model as an object that refuses what it does not name."""
        model = getattr(self._module, name)
        gone = _GONE.get(name.removeprefix(_PREFIX), set())
        stated = {
            json: self._named(json, model.openapi_types[python])
            for python, json in model.attribute_map.items()
            if json not in gone
        }
        schema: Schema = {"type": "object", "properties": stated, "additionalProperties": False}
        required = sorted(model.attribute_map[one] for one in _required(model))
        return {**schema, "required": required} if required else schema

    def _named(self, json: str, types: tuple[Any, ...]) -> Schema:
        return {"type": ["integer", "string"]} if json in _EITHER and types == (str,) else self._type(types)

    def _type(self, types: Any) -> Schema:
        """`(str,)`, `([Model],)`, `({str: (Model,)},)`, `Model`; several at once stand for anything."""
        if isinstance(types, tuple):
            return self._type(types[0]) if len(types) == 1 else {}
        if isinstance(types, list):
            return {"type": "array", "items": self._type(types[0])}
        if isinstance(types, dict):
            return {"type": "object", "additionalProperties": self._type(next(iter(types.values())))}
        return _SIMPLE.get(types) or self._model(types.__name__)

    def _model(self, name: str) -> Schema:
        if (core := f"{_CORE}{name}") in self._kept:
            return {"$ref": f"../{openapi.DEFINITIONS}#/definitions/{core}"}
        if name == "ObjectMeta":
            return {"$ref": f"../{openapi.DEFINITIONS}#/definitions/{openapi.META}"}
        if not hasattr(self._module, name):  # dates, and whatever is no model
            return {}
        self._wanted[name] = None
        return {"$ref": f"#/definitions/{name}"}


def _required(model: Any) -> Iterator[str]:
    """Names of the arguments that a model cannot do without."""
    for name, one in inspect.signature(model.__init__).parameters.items():
        if name != "self" and one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty:
            yield name
