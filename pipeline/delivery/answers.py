"""Whether a dvc.lock answers for a commit: whether `dvc repro` there would find nothing to do.

It is read from git alone, in a fraction of a second, with nothing restored.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError
from pipeline.dvcfiles import md5

PIPELINE, LOCK, PARAMS, IGNORE = "dvc.yaml", "dvc.lock", "params.yaml", ".dvcignore"
_TEMPLATED = ("foreach", "matrix", "wdir", "vars")
_OUTPUTS = ("outs", "metrics", "plots")

Stages = Mapping[str, Any]


class _Loader(yaml.CSafeLoader):
    """YAML as DVC reads and writes it: `1e-06` is a number, which for PyYAML it is only with a dot."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


@dataclass(frozen=True)
class Answer:
    """What a lock does not answer for: `differs` is other than it says, `unknown` cannot be told from git."""

    differs: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it answers for everything."""
        return not self.differs and not self.unknown

    @property
    def missing(self) -> str:
        """The first things that it does not answer for."""
        found = (*self.differs, *self.unknown)
        return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")  # noqa: PLR2004


def answer(repository: Repository, commit: str, lock: bytes | None = None) -> Answer:
    """What a lock (the commit's own, where none is given) does not answer for at a commit. Raises DeliveryError."""
    there = Tree(repository, commit)
    text = there.file(LOCK) if lock is None else lock
    locked, declared = stages(text, LOCK), stages(there.file(PIPELINE), PIPELINE)
    made = {out["path"]: out.get("md5") for stage in locked.values() for out in _listed(stage, "outs")}
    found = [one for name, stage in declared.items() for one in _stage(there, name, stage, locked.get(name), made)]
    by_kind = {known: tuple(dict.fromkeys(what for sure, what in found if sure is known)) for known in (True, False)}
    return Answer(by_kind[True], by_kind[False])


def stages(text: bytes | None, where: str) -> Stages:
    """The stages of a dvc.yaml or dvc.lock, none without a file. Raises DeliveryError."""
    try:
        document = _document(text) or {}
        found = document.get("stages") or {}
        named: Stages = dict(found)
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise DeliveryError(f"{where}: not as DVC writes it: {' '.join(str(error).split())}; restore it") from error
    return named


def _document(text: bytes | None) -> Any:
    return yaml.load(text or b"", _Loader)  # noqa: S506 - safe, with one more way to write a number


def inputs(declared: Stages) -> list[str]:
    """Paths that stages read and none of them makes, parameters' files among them."""
    plain = [stage for stage in declared.values() if isinstance(stage, Mapping)]
    made = {path for stage in plain for kind in _OUTPUTS for path in _paths(stage.get(kind))}
    read = [path for stage in plain for path in (*_paths(stage.get("deps")), *parameters(stage))]
    return sorted({path for path in read if path not in made})


def parameters(stage: Mapping[str, Any]) -> dict[str, list[str]]:
    """Which keys of which file a stage reads; no keys are all of the file."""
    found: dict[str, list[str]] = {}
    for one in stage.get("params") or ():
        if isinstance(one, str):
            found.setdefault(PARAMS, []).append(one)
        else:
            found.update({path: list(keys or ()) for path, keys in one.items()})
    return found


def value(document: Any, key: str) -> Any:
    """What a dotted key names in a document of parameters; None where it names nothing."""
    for part in key.split("."):
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


@dataclass(frozen=True)
class Tree:
    """The files of a commit, as DVC names them."""

    repository: Repository
    commit: str
    _names: dict[str, str | None] = field(default_factory=dict)

    def file(self, path: str) -> bytes | None:
        """A file's bytes."""
        (found,) = self.repository.blobs([f"{self.commit}:{path}"])
        return found

    def document(self, path: str) -> Any:
        """A YAML or JSON file. Raises DeliveryError."""
        try:
            return _document(self.file(path))
        except yaml.YAMLError as error:
            raise DeliveryError(f"{path}: not YAML: {' '.join(str(error).split())}") from error

    def name(self, path: str) -> str | None:
        """DVC's name of a file or folder, as git or a *.dvc file has it; None for one that neither has."""
        if path not in self._names:
            self._names[path] = self._read(path)
        return self._names[path]

    def _read(self, path: str) -> str | None:
        if files := self.repository.files(self.commit, path):
            return folder_name(self._kept(path, files))
        text, tracked = self.repository.blobs([f"{self.commit}:{path}", f"{self.commit}:{path}.dvc"])
        if text is not None:
            return md5(text)
        outs = (yaml.load(tracked, yaml.CSafeLoader) or {}).get("outs") if tracked else None
        return outs[0].get("md5") if outs else None

    def _kept(self, folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Without what .dvcignore leaves out."""
        if (ignored := self.file(IGNORE)) is None:
            return dict(files)
        from pathspec import GitIgnoreSpec

        spec = GitIgnoreSpec.from_lines(ignored.decode().splitlines())
        return {path: data for path, data in files.items() if not spec.match_file(f"{folder}/{path}")}


def folder_name(files: Mapping[str, bytes]) -> str:
    """What DVC calls a folder of these files, by their path from there."""
    ordered = sorted(files, key=lambda path: path.split("/"))
    entries = [{"md5": md5(files[path]), "relpath": path} for path in ordered]
    return f"{md5(json.dumps(entries, sort_keys=True).encode())}.dir"


def _stage(there: Tree, name: str, stage: Any, locked: Any, made: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """(whether that is sure, what the lock does not answer for) of one stage."""
    if not isinstance(locked, Mapping):
        yield True, f"stage {name}"
    elif not isinstance(stage, Mapping) or any(key in stage for key in _TEMPLATED) or "${" in str(stage):
        yield False, f"stage {name} (a template)"
    else:
        yield from ((True, one) for one in _definition(name, stage, locked))
        yield from _dependencies(there, _paths(stage.get("deps")), locked, made)
        yield from ((True, one) for one in _parameters(there, stage, locked))


def _definition(name: str, stage: Mapping[str, Any], locked: Mapping[str, Any]) -> Iterator[str]:
    if stage.get("cmd") != locked.get("cmd"):
        yield f"the command of stage {name}"
    outputs = {path for kind in _OUTPUTS for path in _paths(stage.get(kind))}
    for kind, key, declared in (("dependencies", "deps", {*_paths(stage.get("deps"))}), ("outputs", "outs", outputs)):
        # One that the stage no longer has stays in the lock until it runs again, and DVC does not mind.
        if declared - {str(one["path"]) for one in _listed(locked, key)}:
            yield f"the {kind} of stage {name}"


def _dependencies(
    there: Tree, declared: Sequence[str], locked: Mapping[str, Any], made: Mapping[str, Any]
) -> Iterator[tuple[bool, str]]:
    said_of = {str(dep["path"]): dep.get("md5") for dep in _listed(locked, "deps")}
    for path in (one for one in declared if one in said_of):
        said, found = said_of[path], made[path] if path in made else there.name(path)
        if found is None or said is None:
            yield False, path
        elif found != said:
            yield True, path


def _parameters(there: Tree, stage: Mapping[str, Any], locked: Mapping[str, Any]) -> Iterator[str]:
    for path, keys in parameters(stage).items():
        document, said = there.document(path), (locked.get("params") or {}).get(path) or {}
        for key in keys or sorted({*said, *(document or {})}):
            if key not in said or said[key] != value(document, key):
                yield f"{key} in {path}"


def _listed(stage: Any, kind: str) -> Sequence[Mapping[str, Any]]:
    """The deps or outs of a locked stage. Raises DeliveryError."""
    found = (stage.get(kind) or ()) if isinstance(stage, Mapping) else ()
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) and "path" in one for one in found):
        raise DeliveryError(f"{LOCK}: {kind} is {str(found)!r:.60}; restore the file, or run `dvc repro`")
    return found


def _paths(entries: Iterable[Any] | None) -> list[str]:
    """Paths of a stage's list, where an entry may be a mapping from the path to its options."""
    return [str(path) for one in entries or () for path in (one if isinstance(one, Mapping) else (one,))]
