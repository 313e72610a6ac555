"""What the job that trains hands to jobs that may write: dvc.lock, what of its outs the remote lacks, and a verdict.

The model's own code made it, so it is received as data: measured, compared with its names, never run.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from pipeline import paths
from pipeline.delivery.answers import LOCK, answer, stages
from pipeline.delivery.git import Here, Repository
from pipeline.delivery.models import DeliveryError
from pipeline.errors import UnavailableError
from pipeline.frames import write_text
from pipeline.verdict import Verdict

if TYPE_CHECKING:
    from dvc.repo import Repo

MOST_FILES, MOST_BYTES, MOST_OF_LOCK, MOST_OF_VERDICT = 100_000, 20 * 2**30, 2**20, 2**24
_PIECE = 2**20
_CACHE, _VERDICT = "files/md5", paths.VERDICT.name
_OTHERS = (Path(LOCK), Path(_VERDICT))
_OBJECT = re.compile(r"files/md5/(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{30}(?:\.dir)?)")
_NAME = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
# DVC takes more, lists of files and versions in a cloud among them: ways around what is looked at here.
_OUT_KEYS = frozenset("path hash md5 size nfiles isexec".split())
_LOCK_KEYS = frozenset(("schema", "stages"))


def give(root: Path, folder: Path) -> str:
    """Copy dvc.lock, and what of its outs DVC's default remote lacks, to a new folder; a sentence.

    Raises DeliveryError, UnavailableError, and OSError where the folder is there.
    """
    folder.mkdir(parents=True)
    with _dvc(root) as repo:
        new, missing = _against_remote(repo)
        _check_had(missing)
        for name in new:
            _copy(Path(repo.cache.local.oid_to_path(name)), folder / _CACHE / name[:2] / name[2:])
    _copy(root / LOCK, folder / LOCK)
    if (root / paths.VERDICT).is_file():
        _copy(root / paths.VERDICT, folder / _VERDICT)
    _check_bounds(folder)
    return f"{folder}: {LOCK}, and files that the remote lacks: {len(new)}"


def receive(root: Path, folder: Path) -> str:
    """Take what `give` wrote in another job into DVC's cache and the work tree, once all of it is sound; a sentence.

    Raises DeliveryError where a file is not what it is called, the lock does not answer for HEAD, or an out is neither
    here nor in the remote.
    """
    _check_bounds(folder)
    names = [_object(folder, path) for path in _files(folder) if path.relative_to(folder) not in _OTHERS]
    _check_lock(root, _lock(folder))
    verdict = _verdict(folder)
    with _dvc(root) as repo:
        for name in names:
            _copy(folder / _CACHE / name[:2] / name[2:], Path(repo.cache.local.oid_to_path(name)))
    _copy(folder / LOCK, root / LOCK)
    with _dvc(root) as repo:
        _check_had(_against_remote(repo)[1])
    if verdict:
        write_text(root / paths.VERDICT, verdict)
    return f"{LOCK} answers for HEAD; files that came with it: {len(names)}, the remote has the others"


def restore(root: Path, outs: Sequence[str] = ()) -> None:
    """`dvc pull` of these outs, or of all, where dvc.lock answers for HEAD. Runs no stage, whatever is missing.

    Raises DeliveryError where the lock does not answer, UnavailableError where the remote lacks something.
    """
    _check_answers(root, (root / LOCK).read_bytes() if (root / LOCK).is_file() else b"")
    done = subprocess.run([sys.executable, "-m", "dvc", "pull", *outs], cwd=root, stdout=sys.stderr, check=False)
    if done.returncode:
        raise UnavailableError(
            f"`dvc pull` failed; its last lines say why. What {LOCK} names is restored here and never made: run "
            "`make reproduce` and `make share` on main first"
        )


def _dvc(root: Path) -> "Repo":
    from dvc.repo import Repo

    return Repo(str(root))


def _against_remote(repo: "Repo") -> tuple[list[str], list[str]]:
    """Names of the lock's files that the cache has and the remote lacks, and of those that neither has."""
    from dvc.exceptions import DvcException

    new: set[str] = set()
    missing: set[str] = set()
    try:
        for store, objects in repo.used_objs().items():
            found = repo.cloud.status(objects, odb=store)
            new |= {one.value for one in found.new}
            missing |= {one.value for one in found.missing}
    except DvcException as error:
        why = " ".join(str(error).split())
        raise UnavailableError(
            f"DVC cannot compare {LOCK} with its remote, or the remote lacks a folder of it: {why}"
        ) from error
    return sorted(new), sorted(missing)


def _check_had(missing: Sequence[str]) -> None:
    if missing:
        raise DeliveryError(
            f"{LOCK} names {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}, "  # noqa: PLR2004
            "neither here nor in the remote; run `make reproduce`"
        )


def _files(folder: Path) -> Iterator[Path]:
    """Every file below; links and the like are refused."""
    for path in sorted(folder.rglob("*")):
        kind = path.lstat().st_mode
        if stat.S_ISREG(kind):
            yield path
        elif not stat.S_ISDIR(kind):
            raise DeliveryError(f"{path}: neither a file nor a folder; nothing is taken from there")


def _check_bounds(folder: Path) -> None:
    count = total = 0
    for path in _files(folder):
        count, total = count + 1, total + path.stat().st_size
        if count > MOST_FILES or total > MOST_BYTES:
            raise DeliveryError(
                f"{folder}: more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB, which no job hands to another; "
                "`dvc push` them to the remote by hand, or have stages make less"
            )


def _object(folder: Path, path: Path) -> str:
    """DVC's name of a file of the cache, which its content has to bear out."""
    relative = path.relative_to(folder).as_posix()
    found = _OBJECT.fullmatch(relative)
    if found is None:
        raise DeliveryError(f"{relative}: not a file of DVC's cache; only {LOCK} and {_CACHE}/XX/YYYY are taken")
    name = found["first"] + found["rest"]
    if (digest := _digest(path)) != name.removesuffix(".dir"):
        raise DeliveryError(f"{relative}: its content has the hash {digest}; nothing is taken from there")
    if name.endswith(".dir"):
        _check_listing(relative, path)
    return name


def _check_listing(where: str, path: Path) -> None:
    """A folder's list is what `dvc pull` writes by: it stays below its folder."""
    try:
        entries = json.loads(path.read_bytes())
        sound = all(_is_entry(one) for one in entries)
    except (ValueError, TypeError, RecursionError) as error:
        raise DeliveryError(f"{where}: not a folder's list: {type(error).__name__}") from error
    if not sound:
        raise DeliveryError(f"{where}: names a path outside its folder, or no hash; nothing is taken from there")


def _is_entry(one: Any) -> bool:
    if not isinstance(one, dict) or set(one) != {"md5", "relpath"} or not all(isinstance(v, str) for v in one.values()):
        return False
    parts, text = PurePosixPath(one["relpath"]).parts, one["relpath"]
    plain = bool(parts) and not text.startswith("/") and ".." not in parts and "\\" not in text and "\0" not in text
    return plain and _NAME.fullmatch(one["md5"]) is not None


def _lock(folder: Path) -> bytes:
    path = folder / LOCK
    if not path.is_file() or path.stat().st_size > MOST_OF_LOCK:
        raise DeliveryError(f"{path}: not there, or larger than {MOST_OF_LOCK >> 20} MiB")
    return path.read_bytes()


def _verdict(folder: Path) -> str:
    """What the gates said, as the document that it is; "" where there is none."""
    path = folder / _VERDICT
    if not path.is_file():
        return ""
    try:
        return Verdict.model_validate_json(path.read_bytes()[: MOST_OF_VERDICT + 1]).model_dump_json(indent=2) + "\n"
    except ValueError as error:
        raise DeliveryError(
            f"{path}: no verdict of this version, or larger than {MOST_OF_VERDICT >> 20} MiB"
        ) from error


def _check_lock(root: Path, text: bytes) -> None:
    """It names files by MD5 and nothing else, and answers for HEAD."""
    for name, stage in stages(text, LOCK).items():
        outs = stage.get("outs", ()) if isinstance(stage, dict) else None
        if not isinstance(outs, list | tuple) or not all(_is_out(one) for one in outs):
            raise DeliveryError(f"{LOCK}: the outs of stage {name} are not as `dvc repro` writes them for files here")
    if not set(yaml.load(text, yaml.CSafeLoader) or ()) <= _LOCK_KEYS:
        raise DeliveryError(f"{LOCK}: has more than {' and '.join(sorted(_LOCK_KEYS))}")
    _check_answers(root, text)


def _is_out(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and set(one) <= _OUT_KEYS
        and one.get("hash") == "md5"
        and _NAME.fullmatch(str(one.get("md5"))) is not None
    )


def _check_answers(root: Path, text: bytes) -> None:
    repository = Repository.of(Here(root))
    head = repository.head()
    if (found := answer(repository, head, text)).differs:
        raise DeliveryError(
            f"{LOCK} does not answer for {found.missing} at {head[:12]}; nothing is trained here: `make reproduce` of "
            f"that commit writes the {LOCK} that does"
        )


def _digest(path: Path) -> str:
    from hashlib import md5 as hashed

    found = hashed(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, scratch)
    scratch.replace(target)
