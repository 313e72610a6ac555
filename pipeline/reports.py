"""The branch `reports`: pictures and verdicts that pages of a forge show. It shares no history with main.

It stays small: when it holds too much, its older folders go and it begins anew. Every write is compare-and-swap, so
that nothing that somebody else wrote meanwhile is lost.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.delivery.git import Repository
from pipeline.delivery.push import back_off
from pipeline.errors import GitError, UnavailableError

BRANCH = "reports"
INDEX = "folders.json"
README = "README.md"
MOST_FOLDERS, MOST_BYTES = 60, 12_000_000  # of each kind
ATTEMPTS = 10
_LONGEST = 4.0
_EMPTY_TREE = ""
_TOP = frozenset({INDEX, README})
_ABOUT = b"""# Reports

Written by `flightline publish`, `flightline comment` and `flightline retrain`, read by pull requests. Nothing here
decides what is released; `retrain/` is what a retraining remembers of earlier ones. Older folders are removed.
`folders.json` lists what is here, oldest first, with its size in bytes.
"""

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Folder:
    """One report's folder and how many bytes it holds."""

    name: str
    size: int


@dataclass(frozen=True)
class Kept:
    """What a write leaves on the branch, oldest first, and whether the branch begins anew with it."""

    folders: tuple[Folder, ...]
    anew: bool


def publish(repository: Repository, folder: str, files: Files, instead_of: str = "") -> None:
    """Write `files`, by their path below `folder`, and remove what was there or below `instead_of`.

    Raises ValueError for a path that leads elsewhere, GitError where the remote takes no push, UnavailableError where
    the branch never stands still.
    """
    amend(repository, folder, lambda _: files, instead_of)


def amend(repository: Repository, folder: str, change: Callable[[Files], Files | None], instead_of: str = "") -> bool:
    """Write what `change` makes of the files in `folder` (none where there is no such folder); whether it wrote.

    It is asked anew whenever the branch moved meanwhile, so that of two who write at once the second sees what the
    first wrote. None leaves everything as it is. Raises as `publish` does.
    """
    check_path(folder)
    for attempt in range(ATTEMPTS):
        tip = _brought(repository)
        files = change(repository.files(tip, folder) if tip else {})
        if files is None:
            return False
        for path in files:
            check_path(path)
        commit, anew = _commit(repository, tip, folder, files, instead_of or folder)
        said = repository.push(commit, BRANCH, tip, replace=anew)
        if said is None:
            return True
        if repository.tip(BRANCH) == tip and attempt:
            raise GitError(
                f"branch {BRANCH!r} takes no push: {said}; nothing may protect it from the project's own bot"
            )
        back_off(attempt, _LONGEST)
    raise UnavailableError(f"branch {BRANCH!r} moved {ATTEMPTS} times while this was pushed; run it again")


def files(repository: Repository, folder: str) -> dict[str, bytes]:
    """Every file below a folder as it is now, by its path from there. Raises GitError, ValueError."""
    check_path(folder)
    tip = _brought(repository)
    return repository.files(tip, folder) if tip else {}


def read_all(repository: Repository, kind: str, name: str) -> dict[str, bytes]:
    """The file of this name in every folder of a kind, by the folder's path. Raises GitError."""
    tip = _brought(repository)
    found = [path for path in _paths(repository, tip) if path.startswith(f"{kind}/") and path.endswith(f"/{name}")]
    blobs = repository.blobs([f"{tip}:{path}" for path in found])
    pairs = zip(found, blobs, strict=True)
    return {path.removesuffix(f"/{name}"): blob for path, blob in pairs if blob is not None}


def read(repository: Repository, path: str) -> bytes | None:
    """A file of the branch as it is now; None where there is none. Raises GitError, ValueError for a strange path."""
    check_path(path)
    tip = _brought(repository)
    return repository.blobs([f"{tip}:{path}"])[0] if tip else None


def check_path(path: str) -> None:
    """Raise ValueError unless this is a plain relative path of plain names."""
    parts = path.split("/")
    plain = all(
        part and part.strip(".") and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in parts
    )
    if not plain or not path.isascii() or PurePosixPath(path).is_absolute():
        raise ValueError(f"{path!r} is no path on branch {BRANCH!r}; names are letters, digits, '.', '-' and '_'")


def keep(folders: Sequence[Folder], new: Folder, instead_of: str) -> Kept:
    """Which folders stay beside the new one. Where its kind is too much, the newest half of that kind's room is kept.

    The kind is the first name of the path: many pull requests do not push out the reports of main's commits.
    """
    others = [one for one in folders if one.name != new.name and not f"{one.name}/".startswith(f"{instead_of}/")]
    same = [one for one in others if _kind(one) == _kind(new)]
    if len(same) < MOST_FOLDERS and sum(one.size for one in (*same, new)) <= MOST_BYTES:
        return Kept((*others, new), anew=False)
    kept: list[Folder] = []
    room = MOST_BYTES // 2 - new.size
    for one in reversed(same):
        room -= one.size
        if len(kept) + 1 >= MOST_FOLDERS // 2 or room < 0:
            break
        kept.append(one)
    return Kept((*(one for one in others if one not in same or one in kept), new), anew=True)


def _kind(folder: Folder) -> str:
    return folder.name.partition("/")[0]


def _brought(repository: Repository) -> str | None:
    """The branch's commit, which is here afterwards; None where there is no such branch."""
    tip = repository.tip(BRANCH)
    if tip is not None and not repository.knows(tip):
        repository.bring(BRANCH)
    return tip


def _commit(
    repository: Repository, tip: str | None, folder: str, files: Mapping[str, bytes], instead_of: str
) -> tuple[str, bool]:
    """A commit with the folder in it, and whether it replaces the branch rather than going on from it."""
    there = _folders(repository, tip)
    kept = keep(there, Folder(folder, sum(map(len, files.values()))), instead_of)
    anew = kept.anew or tip is None
    stay = {one.name for one in kept.folders} - {folder}
    old = dict.fromkeys(path for path in _paths(repository, tip) if not _below(path, stay))
    index = json.dumps([[one.name, one.size] for one in kept.folders], indent=0).encode() + b"\n"
    new = {f"{folder}/{path}": data for path, data in files.items()}
    writes = {**old, **new, INDEX: index, README: _ABOUT}
    commit = repository.commit(tip or _root(repository, _EMPTY_TREE), writes, folder)
    return (_root(repository, f"{commit}^{{tree}}"), True) if anew else (commit, False)


def _root(repository: Repository, tree: str) -> str:
    """A commit of a tree that goes on from nothing."""
    named = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", repository.name), ("EMAIL", f"{repository.name}@localhost"))
    }
    if tree == _EMPTY_TREE:
        tree = repository.text("mktree")
    return repository.text("commit-tree", tree, stdin=b"reports begin here\n", environment=named)


def _folders(repository: Repository, tip: str | None) -> tuple[Folder, ...]:
    """What the index lists; an index that cannot be read lists nothing, and every folder goes with the next write."""
    text = repository.blobs([f"{tip}:{INDEX}"])[0] if tip else None
    try:
        return tuple(Folder(str(name), int(size)) for name, size in json.loads(text or b"[]"))
    except (ValueError, TypeError):
        return ()


def _paths(repository: Repository, tip: str | None) -> list[str]:
    if tip is None:
        return []
    listed = repository.raw("ls-tree", "-r", "-z", "--name-only", tip).decode()
    return [path for path in listed.split("\0") if path]


def _below(path: str, folders: set[str]) -> bool:
    return path in _TOP or any(path.startswith(f"{one}/") for one in folders)
