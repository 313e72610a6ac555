"""Where a play takes place: a copy of this checkout in build/, with a remote and a store of its own.

The checkout's files as they are become a commit there; its work tree, index, refs, remotes and store are left alone.
DVC's cache is this machine's, so that nothing is trained twice.
"""

import configparser
import hashlib
import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from pipeline import paths, production, run
from pipeline.context import Context
from pipeline.delivery.candidate import bundle_dvc, locked
from pipeline.delivery.git import REMOTE, Repository
from pipeline.delivery.history import BUNDLE, RELEASE, folder
from pipeline.delivery.models import Code, Expects, Judged, Release, write_release
from pipeline.errors import GitError, UnavailableError
from pipeline.files import remove
from pipeline.frames import write_text
from pipeline.gates import load_server
from pipeline.gates.load_server import Server
from pipeline.monitoring.retrain import window
from pipeline.monitoring.retrain.attempts import LOCK, PARAMS
from pipeline.monitoring.retrain.config import read_retrain
from pipeline.monitoring.retrain.workspace import Workspace, cache_of, clone
from pipeline.production import PRODUCTION
from serving import bundle

FOLDER = paths.BUILD / "observe"
# What a play follows from: whatever else changes in a checkout, its result stays.
SOURCES = ("model", "pipeline", "serving", "requirements", "k8s/base", "dvc.yaml", "params.yaml", "pyproject.toml")
_KEY, _DVC = "key", ".dvc/config"


@dataclass(frozen=True)
class Stage:
    """A play's folder: `tree` is the checkout it runs in, `remote` what that pulls from and pushes to."""

    root: Path

    @property
    def tree(self) -> Path:
        """The checkout."""
        return self.root / "tree"

    @property
    def remote(self) -> Path:
        """The bare repository whose main says what is in production."""
        return self.root / "main.git"

    @property
    def store(self) -> Path:
        """Where predictions and labels are kept."""
        return self.root / "store"

    @cached_property
    def repository(self) -> Repository:
        """The checkout's git."""
        return Repository.of(Context(self.tree))

    def context(self) -> Context:
        """The checkout as it is now; another one after a merge."""
        return Context(self.tree)

    def bundle(self, version: str) -> Path:
        """A bundle that is or was in production."""
        return self.root / "bundles" / version[:12]

    def new_log(self) -> Path:
        """A prediction log that no server has written to."""
        folder = self.root / "log"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{len(list(folder.iterdir())):03}.jsonl"

    def begun(self, key: str) -> bool:
        """Whether the play of that key has been set up here."""
        there = self.root / _KEY
        return there.is_file() and there.read_text() == key

    @contextmanager
    def serving(self, version: str) -> Iterator[tuple[Server, Path]]:
        """`python -m serving` of the checkout, as `make run` starts it, on a free loopback port; and its log.

        Raises ServerError.
        """
        port, log = load_server.free_port(), self.new_log()
        told = run.served_by(self.tree, self.bundle(version), version, (load_server.HOST, port))
        # -P: its own code, whatever lies in the folder that this is called from.
        command, environment = [sys.executable, "-P", "-m", "serving"], {**told, "PYTHONPATH": str(self.tree)}
        with load_server.run(command, port, environment, log=log) as server:
            yield server, log

    def put_in_production(self, source: str, version: str, message: str) -> None:
        """Commit on main that this bundle, which dvc.lock of `source` names, is in production."""
        files = {
            RELEASE: write_release(_release(version, source)),
            BUNDLE: bundle_dvc(locked(self.repository, source)),
        }
        named = {f"{folder(PRODUCTION)}/{name}": data for name, data in files.items()}
        self._push(self.repository.commit(source, named, message))

    def merge(self, branch: str) -> str:
        """What a person does with the one pull request: its branch becomes main. The commit."""
        tip = self.repository.tip(branch)
        if tip is None:
            raise GitError(f"branch {branch} is not there to be merged; run it again with --anew")
        self.repository.bring(branch)
        self._push(tip)
        return tip

    def _push(self, commit: str) -> None:
        said = self.repository.push(commit, self.repository.branch)
        if said is not None:
            raise GitError(f"{self.remote} takes no push: {said}; run it again with --anew")
        self.check_out(commit)

    def recover(self) -> None:
        """Have main's files in the checkout, wherever an earlier play was stopped."""
        (self.tree / ".git/index.lock").unlink(missing_ok=True)  # who held it is gone: one plays at a time
        self.check_out(self.repository.fetch())

    def check_out(self, commit: str) -> None:
        """Have the files of a commit in the checkout."""
        ref = f"refs/remotes/{REMOTE}/{self.repository.branch}"
        self.repository.raw("update-ref", ref, commit)
        self.repository.raw("checkout", "--quiet", "--force", "--detach", commit)

    def bring(self, version: str) -> Path:
        """Production's bundle, as main names it, in a folder of its own. Raises UnavailableError."""
        target = self.bundle(version)
        if target.is_dir():
            return target
        found = production.restore(self.context())
        if found.path is None or bundle.version(found.path) != version:
            raise UnavailableError(f"bundle {version[:12]} did not come back: {found.note}; run it again with --anew")
        arriving = target.with_name(f".{target.name}")
        remove(arriving)
        shutil.copytree(found.path, arriving)
        arriving.replace(target)
        return target


def key(root: Path, options: object) -> str:
    """What the result follows from: the sources as they are here, and what was asked for."""
    repository = Repository(root, "", "")
    listed = repository.raw("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES)
    found = hashlib.sha256(repr(options).encode())
    for name in sorted(filter(None, listed.decode().split("\0"))):
        path = root / name
        content = path.read_bytes() if path.is_file() else b""
        found.update(f"\0{name}\0{hashlib.sha256(content).hexdigest()}".encode())
    return found.hexdigest()


def make(root: Path, stage: Stage, named: str, ends: date | None) -> None:
    """Set everything up anew, with the bundle of the window in production; `ends` moves the window's end before that.

    Raises GitError, ConfigError, AttemptError where a stage fails.
    """
    for path in stage.root.iterdir():
        if path.name != paths.BUILD.name:  # who holds it
            remove(path)
    here = Repository.of(Context(root))
    clone(here, stage.tree, here.head())
    commit = stage.repository.snapshot(root, here.head(), "The files as they are\n")
    here.raw("init", "--quiet", "--bare", str(stage.remote))
    objects = here.text("rev-parse", "--path-format=absolute", "--git-path", "objects")
    (stage.remote / "objects/info/alternates").write_text(f"{objects}\n")  # the history need not be copied
    stage.repository.run("remote", "remove", REMOTE)
    stage.repository.raw("remote", "add", REMOTE, str(stage.remote))
    stage.check_out(_prepared(root, stage, commit, ends))
    Workspace(stage.tree).reproduce()
    version = bundle.version(stage.tree / paths.BUNDLE)
    lock = {LOCK: (stage.tree / LOCK).read_bytes()}
    source = stage.repository.commit(stage.repository.head(), lock, "The lock of what is in production\n")
    stage.put_in_production(source, version, f"promote(production): {version[:12]}\n")
    write_text(stage.root / _KEY, named)


def _prepared(root: Path, stage: Stage, commit: str, ends: date | None) -> str:
    """With DVC's own remotes, and the window's end where it was asked for."""
    files: dict[str, bytes | None] = {_DVC: _dvc_config(root)}
    if ends is not None:
        text = (root / PARAMS).read_text()
        files[PARAMS] = window.advanced(text, read_retrain(root).window_key, ends).encode()
    return stage.repository.commit(commit, files, "Remotes of a play\n")


def _dvc_config(root: Path) -> bytes:
    """DVC's cache of this machine, which also is the remotes: nothing is copied, and none of the project's is asked."""
    from dvc.repo import Repo

    settings = Context(root).settings
    with Repo(str(root)) as repo:
        cache = str(cache_of(repo))
    written = configparser.ConfigParser(interpolation=None)
    written["core"] = {"analytics": "false", "check_update": "false", "remote": settings.work_remote}
    written["cache"] = {"dir": cache}
    for name in (settings.work_remote, settings.trusted_remote):
        written[f"'remote \"{name}\"'"] = {"url": cache}
    out = io.StringIO()
    written.write(out)
    return out.getvalue().encode()


def _release(version: str, source: str) -> Release:
    """What main says of production. There is no image here: the bundle's own hash stands where its digest would."""
    digest = f"sha256:{version}"
    return Release(
        environment=PRODUCTION,
        identity=version,
        version=version,
        source=source,
        image=f"played@{digest}",
        code=Code(image=digest, inputs=version),
        metrics={},
        expects=Expects(released=None, ks=0, max_ks=1, rows=0),
        verdict=Judged(decision="pass", reason="played"),
    )
