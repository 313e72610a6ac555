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
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipeline.config import Settings, read_settings
from pipeline.delivery import token
from pipeline.errors import GitError

REMOTE = "origin"
FILE, FOLDER = "100644", "040000"
_GONE = f"0 {'0' * 40}"
_WHOLE = "run `git fetch --unshallow`, or give actions/checkout `fetch-depth: 0`"


class Checkout(Protocol):
    """What is asked of a checkout here: where it is, and `[tool.flightline]` of it. A Context is one."""

    @property
    def root(self) -> Path:
        """The top of the work tree."""

    @property
    def settings(self) -> Settings:
        """`[tool.flightline]`. Raises ConfigError."""


@dataclass(frozen=True)
class Here:
    """A checkout without its model, which takes seconds to import."""

    root: Path

    @cached_property
    def settings(self) -> Settings:
        """`[tool.flightline]` of pyproject.toml. Raises ConfigError."""
        return read_settings(self.root)


@dataclass(frozen=True)
class Repository:
    """A clone, the branch that is main, and the name that commits carry where git knows none."""

    root: Path
    branch: str
    name: str

    @classmethod
    def of(cls, context: Checkout) -> "Repository":
        """The checkout's. Raises GitError where the clone lacks main's history."""
        found = cls(context.root, context.settings.branch, context.settings.name)
        if found.text("rev-parse", "--is-shallow-repository") == "true":
            raise GitError(f"this clone has only part of main's history; {_WHOLE}")
        return found

    @cached_property
    def _access(self) -> token.Access:
        """What the remote is told of who asks; for every command: a partial clone fetches files as they are read."""
        return token.access(os.environ, self._addresses)

    def _addresses(self) -> list[str]:
        """Where the remote is fetched from and pushed to."""
        words = ["git", "remote", "get-url", "--all"]
        both = [[*words, REMOTE], [*words, "--push", REMOTE]]
        done = [subprocess.run(one, cwd=self.root, capture_output=True, text=True, check=False) for one in both]
        return [line for one in done for line in one.stdout.splitlines()]

    def run(
        self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """A git command, whatever it exits with."""
        settings = {**os.environ, **self._access.environment, **(environment or {})}
        return subprocess.run(
            ["git", *words], cwd=self.root, input=stdin, env=settings, capture_output=True, check=False
        )

    def raw(self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """What a git command prints. Raises GitError."""
        done = self.run(*words, stdin=stdin, environment=environment)
        if done.returncode:
            raise GitError(f"`git {words[0]}` failed: {self._said(done)}")
        return done.stdout

    def text(self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """What a git command prints, without its last line break. Raises GitError."""
        return self.raw(*words, stdin=stdin, environment=environment).decode().strip()

    def head(self) -> str:
        """The commit that is checked out."""
        return self.text("rev-parse", "--verify", "HEAD^{commit}")

    def parents(self, commit: str) -> list[str]:
        """The commits that a commit was made on, main's own line first; none of the first commit."""
        return self.text("rev-parse", f"{commit}^@").split()

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
        wanted = f"refs/heads/{branch}"
        listed = (line.split() for line in self.text("ls-remote", REMOTE, wanted).splitlines())
        # Git takes the name for the end of one, too: a branch may be called refs/heads/main.
        return next((commit for commit, ref in listed if ref == wanted), None)

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
            raise GitError(f"`git merge-base` failed: {self._said(done)}")
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
        """Every file below a folder at a commit, by its path from there, which may hold any character."""
        listed = self.raw("ls-tree", "-r", "-z", commit, "--", f"{folder}/").decode(errors="replace")
        entries = [line.split("\t", 1) for line in listed.split("\0") if line]
        blobs = self.blobs([said.split()[2] for said, _ in entries])
        pairs = zip((path for _, path in entries), blobs, strict=True)
        return {path[len(folder) + 1 :]: blob for path, blob in pairs if blob is not None}

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

    def changed(self, before: str, after: str, paths: Sequence[str] = ()) -> list[str]:
        """Paths that differ between two commits, among those that git's pathspecs name (all of them for none)."""
        listed = self.raw("diff", "--name-only", "--no-renames", "-z", before, after, "--", *paths).decode(
            errors="replace"
        )
        return [path for path in listed.split("\0") if path]

    def modes(self, commit: str, folder: str) -> dict[str, str]:
        """Git's mode of a folder at a commit, of those it is in and of all below it: 100644 is a plain file."""
        above = [one.as_posix() for one in PurePosixPath(folder).parents if one.name]
        listed = self.raw("ls-tree", "-r", "-t", "-z", commit, "--", folder)
        listed += self.raw("ls-tree", "-z", commit, "--", *above) if above else b""
        lines = [line.split("\t", 1) for line in listed.decode(errors="replace").split("\0") if line]
        return {path: said.split()[0] for said, path in lines}

    def common(self, one: str, other: str) -> str | None:
        """The newest commit that both build on; None where there is none. Raises GitError."""
        done = self.run("merge-base", one, other)
        if done.returncode > 1:
            raise GitError(f"`git merge-base` failed: {self._said(done)}; {_WHOLE}")
        return done.stdout.decode().strip() or None

    def commit(self, parent: str, files: Mapping[str, bytes | None], message: str) -> str:
        """A commit on `parent` that writes these paths (None removes one), made in an index of its own."""
        with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
            environment = {"GIT_INDEX_FILE": str(Path(scratch) / "index"), **self._author()}
            self.raw("read-tree", parent, environment=environment)
            entries = "".join(f"{self._entry(data)}\t{path}\n" for path, data in files.items())
            self.raw("update-index", "--index-info", stdin=entries.encode(), environment=environment)
            tree = self.text("write-tree", environment=environment)
            return self.text("commit-tree", tree, "-p", parent, stdin=message.encode(), environment=environment)

    def snapshot(self, here: Path, parent: str, message: str) -> str:
        """A commit on `parent` of the files of another checkout, as they are there now; nothing of it changes."""
        listed = Repository(here, self.branch, self.name).raw(
            "ls-files", "-z", "--cached", "--others", "--exclude-standard"
        )
        work = {"GIT_DIR": self.text("rev-parse", "--absolute-git-dir"), "GIT_WORK_TREE": str(here)}
        with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
            environment = {"GIT_INDEX_FILE": str(Path(scratch) / "index"), **self._author()}
            there = Repository(here, self.branch, self.name)
            words = ("update-index", "--add", "--remove", "-z", "--stdin")
            there.raw(*words, stdin=listed, environment={**environment, **work})
            tree = self.text("write-tree", environment=environment)
            return self.text("commit-tree", tree, "-p", parent, stdin=message.encode(), environment=environment)

    def _entry(self, data: bytes | None) -> str:
        return _GONE if data is None else f"{FILE} {self.text('hash-object', '-w', '--stdin', stdin=data)}"

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
        return self._said(done) if done.returncode else None

    def _said(self, done: subprocess.CompletedProcess[bytes]) -> str:
        """The lines of git's complaint that say why; advice is left out, and so is the token."""
        lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
        told = [line for line in lines if line and not line.startswith("hint:")]
        return self._access.hidden("; ".join(told[:3])) or "it said nothing"

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
