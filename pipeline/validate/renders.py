"""Every overlay with every combination of components, as a release renders it, and what is applied beside them."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import ConfigError, Settings, read_yaml
from pipeline.delivery import render as releases
from pipeline.delivery.kustomize import KustomizeError, build
from pipeline.tools import tool
from pipeline.validate.results import Result, said, several

NAME = "renders"
WORKERS = 4
ALTERNATIVE = "flightline/one-of"
OVERLAYS = "k8s/overlays"
# Folders of k8s/ that an administrator applies, with components of their own.
BESIDE = ("log-shipping", "monitoring")
_WITHOUT_NAMESPACE = frozenset({"Namespace", "ClusterRole", "ClusterRoleBinding", "AppProject"})


@dataclass(frozen=True)
class Variant:
    """An overlay with these components instead of its own; None keeps what the overlay itself says."""

    environment: str
    components: tuple[str, ...] | None

    @property
    def title(self) -> str:
        """`k8s/overlays/staging as it is`, `k8s/overlays/staging with hpa, traefik`."""
        return _title(f"{OVERLAYS}/{self.environment}", self.components)

    def prepare(self, copy: Path, place: int, settings: Settings) -> Path:
        """An overlay of its own beside the people's, and what a release lays over it; returns the latter's folder."""
        mine = copy / "overlays" / f"{self.environment}.{place}"
        shutil.copytree(copy / "overlays" / self.environment, mine)
        if self.components is not None:
            _use(mine / "kustomization.yaml", [f"../../components/{name}" for name in self.components])
        values = releases.placeholders(settings.registry)
        folder = copy / f"rendered.{place}"
        folder.mkdir()
        _write(folder / "kustomization.yaml", releases.kustomization(mine.name, values))
        return folder


@dataclass(frozen=True)
class Beside:
    """A folder that is applied as it stands, with these of its own components; None keeps what it says itself.

    Components that are elsewhere are part of each.
    """

    name: str
    components: tuple[str, ...] | None

    @property
    def title(self) -> str:
        """`k8s/log-shipping as it is`, `k8s/log-shipping with prometheus-operator`."""
        return _title(f"k8s/{self.name}", self.components)

    def prepare(self, copy: Path, place: int, settings: Settings) -> Path:  # noqa: ARG002 - no release is laid over it
        """A copy of the folder with these components."""
        mine = copy / f"{self.name}.{place}"
        shutil.copytree(copy / self.name, mine)
        if self.components is not None:
            path = mine / "kustomization.yaml"
            elsewhere = [one for one in read_yaml(path).get("components", ()) if one.startswith("../")]
            _use(path, [*elsewhere, *self.components])
        return mine


def _title(where: str, components: Sequence[str] | None) -> str:
    if components is None:
        return f"{where} as it is"
    return f"{where} with {', '.join(components) or 'no component'}"


@dataclass(frozen=True)
class Document:
    """One object, where it was first seen, and its text as it was written; empty where there is none."""

    where: str
    body: dict[str, Any]
    text: str = ""

    @property
    def name(self) -> str:
        """`Service flightline`."""
        return f"{self.body.get('kind', 'no kind')} {self.metadata.get('name', 'without a name')}"

    @property
    def metadata(self) -> dict[str, Any]:
        """The object's metadata; empty where it has none."""
        return self.body.get("metadata") or {}


@dataclass(frozen=True)
class Rendered:
    """Every distinct object of all renders, and what the check found."""

    documents: tuple[Document, ...]
    result: Result


def render(root: Path, settings: Settings, scratch: Path) -> Rendered:
    """Render everything under `scratch`. Raises ConfigError, UnavailableError where there is no kustomize."""
    found: tuple[Variant | Beside, ...] = (*variants(root, settings.environments), *beside(root))
    binary = tool("kustomize")
    shutil.copytree(root / "k8s", scratch / "k8s", ignore=shutil.ignore_patterns("releases"))
    folders = [variant.prepare(scratch / "k8s", place, settings) for place, variant in enumerate(found)]
    with ThreadPoolExecutor(WORKERS) as pool:
        built = list(pool.map(lambda folder: _build(binary, folder), folders))
    documents = tuple(_objects(found, built))
    failures = [f"{v.title}: {said(t.message, scratch)}" for v, t in zip(found, built, strict=True) if t.message]
    failures += [*_conflicts(root, settings.environments), *_elsewhere(documents, settings)]
    counted = f"{several(len(found), 'render')}, {several(len(documents), 'distinct object')}"
    return Rendered(documents, Result(NAME, counted, tuple(failures)))


def written(
    documents: Sequence[Document], folder: Path, text: Callable[[Document], str]
) -> Iterator[tuple[Path, Document]]:
    """Each document with the file of its own that it is written to, as `text` has it, in a folder made for them."""
    folder.mkdir(parents=True)
    for place, document in enumerate(documents):
        path = folder / f"{place:04}.yaml"
        path.write_text(text(document))
        yield path, document


def variants(root: Path, environments: Sequence[str]) -> tuple[Variant, ...]:
    """Each environment's overlay as it is, and with each combination of the components in k8s/components.

    A component that every overlay has is part of each combination; of those with the same ALTERNATIVE, one at most is.
    """
    used = [_components(root / OVERLAYS / environment) for environment in environments]
    always = set.intersection(*map(set, used))
    groups = [group for group in alternatives(root) if not always & set(group)]
    chosen = [tuple(sorted({*always, *filter(None, names)})) for names in product(*([None, *one] for one in groups))]
    return tuple(Variant(environment, components) for environment in environments for components in (None, *chosen))


def beside(root: Path) -> tuple[Beside, ...]:
    """Each folder of BESIDE that is there as it is, and with each combination of the components in it."""
    there = [name for name in BESIDE if (root / "k8s" / name / "kustomization.yaml").is_file()]
    return tuple(Beside(name, components) for name in there for components in (None, *_chosen(root / "k8s" / name)))


def _chosen(folder: Path) -> list[tuple[str, ...]]:
    """Every choice of the components in a folder."""
    parts = sorted(path.parent.name for path in folder.glob("*/kustomization.yaml"))
    return [tuple(filter(None, names)) for names in product(*([None, one] for one in parts))]


def alternatives(root: Path) -> list[list[str]]:
    """Components in groups of which at most one is used: those whose ALTERNATIVE annotation says the same word."""
    groups: dict[str, list[str]] = {}
    for path in sorted((root / "k8s/components").glob("*/kustomization.yaml")):
        annotations = (read_yaml(path).get("metadata") or {}).get("annotations") or {}
        groups.setdefault(annotations.get(ALTERNATIVE, f"alone {path.parent.name}"), []).append(path.parent.name)
    return list(groups.values())


def _components(overlay: Path) -> list[str]:
    """The names of the components that an overlay uses. Raises ConfigError."""
    if not (overlay / "kustomization.yaml").is_file():
        raise ConfigError(
            f"{OVERLAYS}/{overlay.name}: no kustomization.yaml, and [tool.flightline] in pyproject.toml lists the "
            f"environment; write it, or take the environment off the list"
        )
    return [Path(one).name for one in read_yaml(overlay / "kustomization.yaml").get("components", ())]


def _conflicts(root: Path, environments: Sequence[str]) -> Iterator[str]:
    for environment, group in product(environments, alternatives(root)):
        used = [one for one in _components(root / OVERLAYS / environment) if one in group]
        if len(used) > 1:
            yield f"{OVERLAYS}/{environment}: uses {' and '.join(used)}, of which at most one can be; take one away"


def _use(path: Path, components: Sequence[str]) -> None:
    document = {key: value for key, value in read_yaml(path).items() if key != "components"}
    _write(path, {**document, "components": list(components)})


def _write(path: Path, document: Any) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False))


@dataclass(frozen=True)
class _Built:
    """What kustomize printed, or the message it failed with."""

    text: bytes
    message: str = ""


def _build(binary: Path, folder: Path) -> _Built:
    try:
        return _Built(build(binary, folder))
    except KustomizeError as error:
        return _Built(b"", str(error))


def _objects(variants: Sequence[Variant | Beside], built: Sequence[_Built]) -> Iterator[Document]:
    """Each distinct object once; most are the same in most renders, and parsing is what takes long."""
    seen: set[bytes] = set()
    for variant, one in zip(variants, built, strict=True):
        for text in one.text.split(b"\n---\n"):
            if text.strip() and text.rstrip() not in seen:
                seen.add(text.rstrip())
                yield Document(variant.title, yaml.load(text, yaml.CSafeLoader), text.decode())


def _elsewhere(documents: Sequence[Document], settings: Settings) -> Iterator[str]:
    """Objects that an overlay would put into a namespace that is not its environment's."""
    for document in documents:
        if not document.where.startswith(f"{OVERLAYS}/"):
            continue
        environment = document.where.removeprefix(f"{OVERLAYS}/").split()[0]
        wanted, found = f"{settings.name}-{environment}", document.metadata.get("namespace")
        if document.body.get("kind") not in _WITHOUT_NAMESPACE and found != wanted:
            fault = f"namespace is {found!r}, expected {wanted!r}; the overlay's `namespace:` sets it"
            yield f"{document.where}: {document.name}: {fault}"
