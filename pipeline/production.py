"""Production's bundle: the one that `k8s/releases/production/bundle.dvc` names on main. Nothing else decides."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline import paths
from pipeline.context import Context
from pipeline.dvcfiles import dvc_hash
from pipeline.errors import GitError, UnavailableError
from serving import bundle

PRODUCTION = "production"
RELEASE = (paths.RELEASES / PRODUCTION / "bundle").as_posix()


@dataclass(frozen=True)
class Production:
    """`path` is where the bundle was restored to, or None; `note` says what was found, for the verdict.

    `reachable` is False where something may be in production that could not be restored: then nothing can be compared.
    """

    path: Path | None
    note: str
    reachable: bool = True


def restore(context: Context) -> Production:
    """Find what main says is in production and bring its bundle to build/production.

    "No release yet" is concluded only from git saying so; a git that fails leaves it open.
    """
    try:
        main = main_ref(context)
        if main is None:
            return _without_main(context)
        if not context.git("ls-tree", "--name-only", main, "--", f"{RELEASE}.dvc"):
            return Production(None, f"no release yet: {main} has no {RELEASE}.dvc")
        return _restored(context, main)
    except GitError as error:
        return Production(None, f"what is in production cannot be known: {error}", reachable=False)


def main_ref(context: Context) -> str | None:
    """The ref that is main: the remote's where it is known, else the local branch. Raises GitError."""
    branch = context.settings.branch
    refs = (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    there = context.git("for-each-ref", "--format=%(refname)", *refs).split()
    return next((ref for ref in refs if ref in there), None)


def bring_main(context: Context) -> None:
    """Have what the remote calls main now, for who runs longer than a release lasts; without a remote main is here.

    Raises GitError.
    """
    from pipeline.delivery.git import REMOTE, Repository

    branch = context.settings.branch
    repository = Repository(context.root, branch, context.settings.name)
    if REMOTE in repository.text("remote").split():
        refs = f"+refs/heads/{branch}:refs/remotes/{REMOTE}/{branch}"
        repository.raw("fetch", "--quiet", "--no-tags", REMOTE, refs)


def _without_main(context: Context) -> Production:
    if not context.git("rev-list", "--all", "--max-count=1"):
        return Production(None, "no release yet: this repository has no commit")
    branch = context.settings.branch
    return Production(None, f"this checkout does not have {branch}: run `git fetch origin {branch}`", reachable=False)


def named_bundle(context: Context, revision: str, env: str) -> str:
    """What DVC calls the bundle that an environment's release names at a revision. Raises GitError."""
    document = yaml.safe_load(context.git("show", f"{revision}:{_bundle(env)}.dvc"))
    return str(document["outs"][0]["md5"])


def image(context: Context) -> str:
    """The image that production's release names on main. Raises GitError."""
    document = yaml.safe_load(context.git("show", f"{main_ref(context)}:{paths.RELEASES}/{PRODUCTION}/release.yaml"))
    return str(document["image"])


@contextmanager
def lent(context: Context, revision: str, env: str) -> Iterator[Path]:
    """The bundle of an environment's release, in a folder that goes again. Raises GitError, UnavailableError."""
    wanted = named_bundle(context, revision, env)
    with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
        folder = Path(scratch) / "bundle"
        try:
            _copy(context, revision, _bundle(env), folder)
            _check(folder, wanted)
        except Exception as error:
            raise UnavailableError(_unreachable(context, revision, "a bundle", error)) from error
        yield folder


@contextmanager
def rows(context: Context) -> Iterator[Path]:
    """The table of prepared rows: this checkout's, else the one that dvc.lock of HEAD names, which goes again.

    Raises GitError, UnavailableError.
    """
    if (here := context.root / paths.ROWS).is_file():
        yield here
        return
    with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
        table = Path(scratch) / paths.ROWS.name
        try:
            _copy(context, context.git("rev-parse", "HEAD"), paths.ROWS.as_posix(), table)
        except GitError:
            raise
        except Exception as error:
            raise UnavailableError(_unreachable(context, "HEAD", paths.ROWS.as_posix(), error)) from error
        yield table


def _bundle(env: str) -> str:
    return (paths.RELEASES / env / "bundle").as_posix()


def _restored(context: Context, main: str) -> Production:
    target = context.root / paths.PRODUCTION_BUNDLE
    arriving = target.with_name(f".{target.name}.{os.getpid()}")
    wanted = named_bundle(context, main, PRODUCTION)
    try:
        _copy(context, main, RELEASE, arriving)
        _check(arriving, wanted)
    except Exception as error:  # noqa: BLE001 - every remote has its own errors, and all mean the same here
        shutil.rmtree(arriving, ignore_errors=True)
        return Production(None, _unreachable(context, main, "a bundle", error), reachable=False)
    shutil.rmtree(target, ignore_errors=True)
    arriving.replace(target)
    return Production(target, f"{main}:{RELEASE}.dvc")


def _unreachable(context: Context, revision: str, what: str, error: Exception) -> str:
    why = f"{type(error).__name__}: {error}".splitlines()[0]
    note = f"{revision} names {what} that DVC remote {context.settings.trusted_remote!r} does not give ({why})"
    return f"{note}; check `dvc remote list` and your access"


def _check(arrived: Path, wanted: str) -> None:
    """Raise BundleError unless this is the very bundle that main names."""
    bundle.check_files(arrived)
    if dvc_hash(arrived) != wanted:
        raise bundle.BundleError(f"what came back is {dvc_hash(arrived)}, not {wanted}")


def _copy(context: Context, revision: str, path: str, target: Path) -> None:
    """What DVC has under a path at a revision, from the trusted remote."""
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    remote = context.settings.trusted_remote
    # At a revision DVC resolves a relative remote against "/", so the work tree's resolved setting is handed over.
    here = Repo(str(context.root)).config["remote"][remote]
    files = DVCFileSystem(str(context.root), rev=revision, remote=remote, remote_config=dict(here))
    target.parent.mkdir(parents=True, exist_ok=True)
    files.get(f"/{path}", str(target), recursive=True)
