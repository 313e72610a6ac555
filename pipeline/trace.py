"""trace: from a bundle back to the data, and forward to image, release commit and running pods; every link verified."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths
from pipeline.config import Frozen, Params
from pipeline.context import Context
from pipeline.dvcfiles import dvc_hash
from pipeline.errors import GitError
from pipeline.frames import TableError, sha256
from pipeline.stages.bundle import CODE, hash_of_files, hash_of_parameters
from serving import bundle

_SHORTEST = 12


class Link(Frozen):
    """One link: its name, what it is, whether it was proved (None: there is nothing here to prove it by), and how."""

    name: str
    value: str
    holds: bool | None
    proof: str


class Chain(Frozen):
    """The links from the bundle back to the data, then from its image to what runs."""

    links: tuple[Link, ...]

    @property
    def holds(self) -> bool:
        """Whether no link was found broken."""
        return all(link.holds is not False for link in self.links)

    @property
    def text(self) -> str:
        """A line a link: ok, BROKEN or open."""
        marks = {True: "ok    ", False: "BROKEN", None: "open  "}
        return "\n".join(
            f"{marks[link.holds]}  {link.name:<13} {link.value:<20.20}  {link.proof}" for link in self.links
        )


def trace(context: Context, what: str, kubernetes_context: str = "") -> Chain:
    """Follow a bundle (a folder, a version's first characters, or build/bundle), a digest, a pod or an environment.

    Raises TableError, DeliveryError where there is no such thing.
    """
    from pipeline.delivery import links
    from pipeline.delivery.cluster import ClusterError, connect

    main, why_not, cluster = links.Main.of(context), "", None
    try:
        cluster = connect(kubernetes_context)
        found = links.named(main, what, cluster)
    except ClusterError as error:
        cluster, why_not = None, str(error)
        found = links.named(main, what, None)
    version, back = _backward(context, found.version if found else what, released=found is not None)
    found = found or links.Named(links.of_version(main, version))
    return Chain(links=(*back, *links.forward(main, found, cluster, why_not)))


def _backward(context: Context, what: str, *, released: bool) -> tuple[str, tuple[Link, ...]]:
    """The bundle's version and the links back to its data; a released bundle that is not to be had leaves them open."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = _find(context, what, Path(scratch))
        except TableError as error:
            if not released:
                raise
            return what, (Link(name="bundle", value=what, holds=None, proof=str(error)),)
        made_of = json.loads((folder / "inputs.json").read_text())
        commit = source_commit(context, dvc_hash(folder))
        links = (_bundle(folder), *_from_commit(context, commit, made_of), _data(context, commit, made_of))
        return bundle.version(folder), links


def bundle_of(context: Context, commit: str) -> str:
    """What DVC calls the bundle that a commit's dvc.lock names, "" for none."""
    outs = _lock(context, commit).get("stages", {}).get("bundle", {}).get("outs", [])
    return str(outs[0]["md5"]) if outs else ""


def source_commit(context: Context, wanted: str) -> str | None:
    """The first commit whose dvc.lock names this bundle: the one that made it."""
    named = [commit for commit, found in _history(context) if found == wanted]
    return named[-1] if named else None


def _find(context: Context, what: str, scratch: Path) -> Path:
    if not what or (context.root / what).is_dir():
        folder = context.root / (what or paths.BUNDLE)
        if not (folder / "inputs.json").is_file():
            raise TableError(f"{folder} is not a bundle; `make bundle` writes one to {paths.BUNDLE}")
        return folder
    if len(what) < _SHORTEST:
        raise TableError(f"{what!r} is no folder, and too short for a version: give {_SHORTEST} characters or more")
    for folder in _candidates(context, scratch):
        if bundle.version(folder).startswith(what):
            return folder
    raise TableError(f"no bundle {what!r} here, nor in the history of dvc.lock as far as DVC can restore it")


def _candidates(context: Context, scratch: Path) -> Iterator[Path]:
    """Bundles that are here, then those of earlier commits as far as DVC's cache or remote has them."""
    from dvc.api import DVCFileSystem

    here = (context.root / paths.BUNDLE, context.root / paths.PRODUCTION_BUNDLE)
    yield from (folder for folder in here if (folder / bundle.SUMS).is_file())
    for commit in {found: commit for commit, found in _history(context)}.values():
        folder = scratch / commit
        try:
            DVCFileSystem(str(context.root), rev=commit).get(f"/{paths.BUNDLE}", str(folder), recursive=True)
        except Exception:  # noqa: BLE001, S112 - DVC has an error per way of not having a file
            continue
        yield folder


def _history(context: Context) -> Iterator[tuple[str, str]]:
    """(commit, DVC hash of the bundle) for every commit that changed dvc.lock, newest first."""
    for commit in context.git("log", "--format=%H", "--", "dvc.lock").split():
        lock = _lock(context, commit)
        outs = lock.get("stages", {}).get("bundle", {}).get("outs", [])
        yield from ((commit, out["md5"]) for out in outs)


def _lock(context: Context, commit: str) -> dict[str, Any]:
    """dvc.lock at a commit; a commit that removed it has none."""
    try:
        return yaml.safe_load(_blob(context, commit, "dvc.lock")) or {}
    except GitError:
        return {}


def _bundle(folder: Path) -> Link:
    try:
        found = bundle.load(folder)
    except bundle.BundleError as error:
        return Link(name="bundle", value=bundle.version(folder), holds=False, proof=str(error))
    return Link(name="bundle", value=found.version, holds=True, proof="hashes, signature and golden scores hold")


def _from_commit(context: Context, commit: str | None, made_of: dict[str, str]) -> Iterator[Link]:
    if commit is None:
        proof = "no commit's dvc.lock names this bundle: commit dvc.lock after `dvc repro`"
        yield Link(name="source commit", value="none yet", holds=None, proof=proof)
        return
    yield Link(name="source commit", value=commit, holds=True, proof="its dvc.lock names this bundle")
    names = context.git("ls-tree", "-r", "--name-only", commit, "--", *CODE).splitlines()
    code = hash_of_files({name: _blob(context, commit, name) for name in names if name.endswith(".py")})
    yield _same("code", made_of["code"], code, f"the Python files of {commit[:12]}")
    yield _parameters(context, commit, made_of)
    locked = hashlib.sha256(_blob(context, commit, str(paths.TRAIN_REQUIREMENTS))).hexdigest()
    yield _same("requirements", made_of["requirements"], locked, f"{paths.TRAIN_REQUIREMENTS} of {commit[:12]}")


def _parameters(context: Context, commit: str, made_of: dict[str, str]) -> Link:
    where = f"{paths.PARAMS} of {commit[:12]}"
    try:
        params = Params.model_validate(yaml.safe_load(_blob(context, commit, str(paths.PARAMS))))
    except ValueError:
        return Link(name="parameters", value=made_of["parameters"], holds=None, proof=f"{where} is of another version")
    return _same("parameters", made_of["parameters"], hash_of_parameters(params), where)


def _data(context: Context, commit: str | None, made_of: dict[str, str]) -> Link:
    rows = context.root / paths.ROWS
    if rows.is_file() and sha256(rows) == made_of["data"]:
        return _same("data", made_of["data"], made_of["data"], str(paths.ROWS))
    proof = f"the rows here are not these; `git checkout {commit or 'COMMIT'} && dvc checkout` brings them back"
    return Link(name="data", value=made_of["data"], holds=None, proof=proof)


def _same(name: str, said: str, found: str, where: str) -> Link:
    proof = f"hash of {where}" if said == found else f"{where} hashes to {found[:12]}: not what made this bundle"
    return Link(name=name, value=said, holds=said == found, proof=proof)


def _blob(context: Context, commit: str, name: str) -> bytes:
    return context.git_bytes("show", f"{commit}:{name}")
