"""trace: from a bundle back to the data, every link verified. Later links (image, release, pod) join the same chain."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipeline import paths
from pipeline.config import Frozen, Params
from pipeline.context import Context
from pipeline.frames import TableError, sha256
from pipeline.stages.bundle import CODE, hash_of_files, hash_of_parameters
from serving import bundle

_SHORTEST = 7


class Link(Frozen):
    """One link: its name, what it is, whether it was proved (None: there is nothing here to prove it by), and how."""

    name: str
    value: str
    holds: bool | None
    proof: str


class Chain(Frozen):
    """The links from the bundle back to the data."""

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


def trace(context: Context, what: str) -> Chain:
    """Follow a bundle: a folder, a version (its first characters do), or build/bundle. Raises TableError."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = _find(context, what, Path(scratch))
        made_of = json.loads((folder / "inputs.json").read_text())
        commit = source_commit(context, dvc_hash(folder))
        links = [_bundle(folder), *_from_commit(context, commit, made_of), _data(context, commit, made_of)]
    return Chain(links=tuple(links))


def dvc_hash(folder: Path) -> str:
    """What DVC calls a folder: the MD5 of its list of files, as dvc.lock records it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [{"md5": _md5(path.read_bytes()), "relpath": path.relative_to(folder).as_posix()} for path in files]
    return f"{_md5(json.dumps(entries, sort_keys=True).encode())}.dir"


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
    here = [context.root / paths.BUNDLE, context.root / paths.PRODUCTION_BUNDLE]
    for folder in filter(lambda each: (each / bundle.SUMS).is_file(), here):
        if len(what) >= _SHORTEST and bundle.version(folder).startswith(what):
            return folder
    return _restored(context, what, scratch)


def _restored(context: Context, what: str, scratch: Path) -> Path:
    """A bundle of an earlier commit, from DVC's cache or remote."""
    from dvc.api import DVCFileSystem

    for commit in {found: commit for commit, found in _history(context)}.values():
        folder = scratch / commit
        try:
            DVCFileSystem(str(context.root), rev=commit).get(f"/{paths.BUNDLE}", str(folder), recursive=True)
        except Exception:  # noqa: BLE001, S112 - DVC has an error per way of not having a file
            continue
        if bundle.version(folder).startswith(what):
            return folder
    raise TableError(f"no bundle {what!r} here, nor in the history of dvc.lock as far as DVC can restore it")


def _history(context: Context) -> Iterator[tuple[str, str]]:
    """(commit, DVC hash of the bundle) for every commit that changed dvc.lock, newest first."""
    for commit in (context.git("log", "--format=%H", "--", "dvc.lock") or "").split():
        lock = yaml.safe_load(context.git("show", f"{commit}:dvc.lock") or "") or {}
        outs = lock.get("stages", {}).get("bundle", {}).get("outs", [])
        yield from ((commit, out["md5"]) for out in outs)


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
    names = (context.git("ls-tree", "-r", "--name-only", commit, "--", *CODE) or "").splitlines()
    code = hash_of_files({name: _blob(context, commit, name) for name in names if name.endswith(".py")})
    yield _same("code", made_of["code"], code, f"the Python files of {commit[:12]}")
    params = Params.model_validate(yaml.safe_load(_blob(context, commit, str(paths.PARAMS))))
    yield _same("parameters", made_of["parameters"], hash_of_parameters(params), f"params.yaml of {commit[:12]}")
    locked = hashlib.sha256(_blob(context, commit, str(paths.TRAIN_REQUIREMENTS))).hexdigest()
    yield _same("requirements", made_of["requirements"], locked, f"{paths.TRAIN_REQUIREMENTS} of {commit[:12]}")


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


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
