"""Production's bundle: the one that `k8s/releases/production/bundle.dvc` names on main. Nothing else decides."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.context import Context
from serving import bundle

RELEASE = (paths.RELEASES / "production" / "bundle").as_posix()


@dataclass(frozen=True)
class Production:
    """`path` is where the bundle was restored to, or None; `note` says what was found, for the verdict.

    `reachable` is False where main names a bundle that could not be restored: then nothing can be compared with it.
    """

    path: Path | None
    note: str
    reachable: bool = True


def restore(context: Context) -> Production:
    """Find what main says is in production and bring its bundle to build/production."""
    main = main_ref(context)
    if main is None:
        return _without_main(context)
    if context.git("cat-file", "-e", f"{main}:{RELEASE}.dvc") is None:
        return Production(None, f"no release yet: {main} has no {RELEASE}.dvc")
    return _restored(context, main)


def main_ref(context: Context) -> str | None:
    """The ref that is main: the remote's where it is known, else the local branch."""
    branch = context.settings.branch
    refs = (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    return next((ref for ref in refs if context.git("rev-parse", "--verify", "--quiet", ref)), None)


def _without_main(context: Context) -> Production:
    if context.git("rev-parse", "--verify", "--quiet", "HEAD") is None:
        return Production(None, "no release yet: this repository has no commit")
    branch = context.settings.branch
    return Production(None, f"this checkout does not have {branch}: run `git fetch origin {branch}`", reachable=False)


def _restored(context: Context, main: str) -> Production:
    target = context.root / paths.PRODUCTION_BUNDLE
    shutil.rmtree(target, ignore_errors=True)
    remote = context.settings.trusted_remote
    try:
        _copy(context, main, target)
        bundle.check_files(target)
    except Exception as error:  # noqa: BLE001 - every remote has its own errors, and all mean the same here
        shutil.rmtree(target, ignore_errors=True)
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        note = f"{main} names a bundle that DVC remote {remote!r} does not give ({why})"
        return Production(None, f"{note}; check `dvc remote list` and your access", reachable=False)
    return Production(target, f"{main}:{RELEASE}.dvc")


def _copy(context: Context, main: str, target: Path) -> None:
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    remote = context.settings.trusted_remote
    # At a revision DVC resolves a relative remote against "/", so the work tree's resolved setting is handed over.
    here = Repo(str(context.root)).config["remote"][remote]
    files = DVCFileSystem(str(context.root), rev=main, remote=remote, remote_config=dict(here))
    target.parent.mkdir(parents=True, exist_ok=True)
    files.get(f"/{RELEASE}", str(target), recursive=True)
