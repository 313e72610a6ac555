"""Git as the store of releases: read main, write one commit beside the work tree, push it if main has not moved.

The caller's work tree, index and refs are never touched, so that a killed run leaves nothing to clean up but objects.
"""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.context import Context
from pipeline.errors import GitError

REMOTE = "origin"
_FILE, _GONE = "100644", f"0 {'0' * 40}"


@dataclass(frozen=True)
class Repository:
    """A clone, the branch that is main, and the name that commits carry where git knows none."""

    root: Path
    branch: str
    name: str

    @classmethod
    def of(cls, context: Context) -> "Repository":
        """The context's. Raises GitError where the clone lacks main's history."""
        found = cls(context.root, context.settings.branch, context.settings.name)
        if found.text("rev-parse", "--is-shallow-repository") == "true":
            raise GitError("this clone has only part of main's history; run `git fetch --unshallow`")
        return found

    def run(
        self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """A git command, whatever it exits with."""
        settings = {**os.environ, **(environment or {})}
        return subprocess.run(
            ["git", *words], cwd=self.root, input=stdin, env=settings, capture_output=True, check=False
        )

    def raw(self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """What a git command prints. Raises GitError."""
        done = self.run(*words, stdin=stdin, environment=environment)
        if done.returncode:
            raise GitError(f"`git {words[0]}` failed: {_said(done)}")
        return done.stdout

    def text(self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """What a git command prints, without its last line break. Raises GitError."""
        return self.raw(*words, stdin=stdin, environment=environment).decode().strip()

    def head(self) -> str:
        """The commit that is checked out."""
        return self.text("rev-parse", "--verify", "HEAD^{commit}")

    def fetch(self) -> str:
        """The remote's main, whose history is here afterwards. Raises GitError."""
        tip = self.tip(self.branch)
        if tip is None:
            raise GitError(
                f"remote {REMOTE!r} has no branch {self.branch!r}; push it, or set `branch` in pyproject.toml"
            )
        self.bring(self.branch)
        return tip

    def tip(self, branch: str) -> str | None:
        """The commit of a branch of the remote."""
        listed = self.text("ls-remote", REMOTE, f"refs/heads/{branch}")
        return listed.split()[0] if listed else None

    def bring(self, branch: str) -> None:
        """Fetch a branch's objects. No ref is written: a killed fetch leaves no lock behind."""
        self.raw("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", REMOTE, f"refs/heads/{branch}")

    def knows(self, commit: str) -> bool:
        """Whether the commit is here."""
        return self.run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether `ancestor` is `descendant` or one it builds on; one that is not here is not. Raises GitError."""
        if not self.knows(ancestor):
            return False
        done = self.run("merge-base", "--is-ancestor", ancestor, descendant)
        if done.returncode > 1:
            raise GitError(f"`git merge-base` failed: {_said(done)}")
        return done.returncode == 0

    def beside(self, source: str, others: Iterable[str]) -> str | None:
        """A commit that one of `others` has and `source` does not build on; others that are not here are left out."""
        names = "".join(f"{one}\n" for one in dict.fromkeys(others))
        words = ("rev-list", "--max-count=1", "--ignore-missing", "--stdin", f"^{source}")
        return self.text(*words, stdin=names.encode()) or None

    def changes(self, commit: str, folder: str) -> list[str]:
        """Commits of main's first-parent line up to `commit` that changed a folder, oldest first; a merge is one."""
        return self.text("rev-list", "--first-parent", "--reverse", commit, "--", folder).split()

    def blobs(self, names: Sequence[str]) -> list[bytes | None]:
        """The files named as `COMMIT:PATH`, in one call; None for one that is not there."""
        if not names:
            return []
        listed = self.raw("cat-file", "--batch", stdin="".join(f"{name}\n" for name in names).encode())
        return [*_batch(listed)]

    def files(self, commit: str, folder: str) -> dict[str, bytes]:
        """Every file below a folder at a commit, by its path from there."""
        listed = self.raw("ls-tree", "-r", "-z", "--name-only", commit, "--", f"{folder}/").decode()
        paths = [path for path in listed.split("\0") if path]
        blobs = self.blobs([f"{commit}:{path}" for path in paths])
        return {path[len(folder) + 1 :]: blob for path, blob in zip(paths, blobs, strict=True) if blob is not None}

    def tree(self, commit: str, folder: str) -> str | None:
        """What git calls a folder at a commit; None where there is none."""
        done = self.run("rev-parse", "--verify", "--quiet", f"{commit}:{folder}")
        return done.stdout.decode().strip() or None

    @contextmanager
    def exported(self, commit: str) -> Iterator[Path]:
        """A copy of the files of a commit. Raises GitError."""
        with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
            archive, tree = Path(scratch) / "tree.tar", Path(scratch) / "tree"
            self.raw("archive", "--format=tar", f"--output={archive}", commit)
            with tarfile.open(archive) as source:
                source.extractall(tree, filter="data")
            yield tree

    def commit(self, parent: str, files: Mapping[str, bytes | None], message: str) -> str:
        """A commit on `parent` that writes these paths (None removes one), made in an index of its own."""
        with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
            environment = {"GIT_INDEX_FILE": str(Path(scratch) / "index"), **self._author()}
            self.raw("read-tree", parent, environment=environment)
            entries = "".join(f"{self._entry(data)}\t{path}\n" for path, data in files.items())
            self.raw("update-index", "--index-info", stdin=entries.encode(), environment=environment)
            tree = self.text("write-tree", environment=environment)
            return self.text("commit-tree", tree, "-p", parent, stdin=message.encode(), environment=environment)

    def _entry(self, data: bytes | None) -> str:
        return _GONE if data is None else f"{_FILE} {self.text('hash-object', '-w', '--stdin', stdin=data)}"

    def _author(self) -> dict[str, str]:
        """Who commits: whoever git is configured for, else the project, as on a runner."""
        if self.run("var", "GIT_COMMITTER_IDENT").returncode == 0:
            return {}
        email = f"{self.name}@localhost"
        return {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", self.name), ("EMAIL", email))
        }

    def person(self) -> str:
        """Who asks, as `Name <address>`."""
        words = self.text("var", "GIT_AUTHOR_IDENT", environment=self._author()).rsplit(" ", 2)
        return words[0]

    def push(self, commit: str, branch: str, expected: str | None = None, *, replace: bool = False) -> str | None:
        """Push a commit to a branch; None when done, else what the remote said.

        Plain, it must build on what is there. With `replace`, the branch must be at `expected` (None: not be there).
        """
        lease = (f"--force-with-lease=refs/heads/{branch}:{expected or ''}",) if replace else ()
        done = self.run("push", "--quiet", *lease, REMOTE, f"{commit}:refs/heads/{branch}")
        return _said(done) if done.returncode else None

    def diff(self, before: str, after: str) -> str:
        """What a commit changes, for people."""
        return self.text("diff", "--no-color", "--no-ext-diff", before, after)


def _batch(listed: bytes) -> Iterator[bytes | None]:
    """The answers of `git cat-file --batch`: a line that ends in the size, the bytes, a line break; or a line alone."""
    at = 0
    while at < len(listed):
        line = listed[at : listed.index(b"\n", at)]
        at += len(line) + 1
        if line.endswith(b" missing"):
            yield None
        else:
            size = int(line.rpartition(b" ")[2])
            yield listed[at : at + size]
            at += size + 1


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The lines of git's complaint that say why; advice is left out."""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
    told = [line for line in lines if line and not line.startswith("hint:")]
    return "; ".join(told[:3]) or "it said nothing"
