"""One job of the local forge's runner: as whom it runs, and what of this machine it sees.

The repository's own jobs run as the user who started the forge. A job of a pull request from a fork runs as an account
without rights, on a view of this machine: what is that user's is hidden but for what jobs need. Home, temporary files
and caches are made for this one job and go with it; the caches start as links to files that it cannot write.

`python -I job.py RUNNER REPOSITORY HEAD` is what the runner starts for each, the job on its stdin. RUNNER is the
runner's folder, HEAD the repository that a pull request's branch is in, "-" for all other events. Only the standard
library is there: a job must not wait for imports.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# No account of this machine has it, the server's neither.
STRANGER = 64646
NO_PULL_REQUEST = "-"
FOLDER = "strangers"
# Process 1 of namespaces of its own, so that nothing that a job starts or mounts outlives it.
ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
FOR_ALL = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - what is there is hidden
CACHES = ("tools", "uv")
MARKS = 3  # how deep they lie: CACHE/KIND/MARK; what is installed is deeper


@dataclass(frozen=True)
class View:
    """What jobs are started with, as the runner's folder keeps it.

    `program` is the runner, `settings` its configuration, `programs` what jobs call by name. `hidden` folders are empty
    for strangers, but for the `shown` ones below; `uv` and `cache` are the caches that theirs start from.
    """

    program: str
    settings: Mapping[str, Any]
    programs: Mapping[str, str]
    hidden: tuple[str, ...]
    shown: tuple[str, ...]
    uv: str
    cache: str

    @classmethod
    def read(cls, runner: Path) -> "View":
        """The one that was written last."""
        found = json.loads(_file(runner).read_text())
        return cls(**{**found, "hidden": tuple(found["hidden"]), "shown": tuple(found["shown"])})

    def write(self, runner: Path) -> None:
        """Where jobs find it, and the runner's own configuration beside it."""
        _file(runner).write_text(json.dumps(asdict(self), indent=1))
        settings(runner).write_text(json.dumps(self.settings, indent=1))


def settings(place: Path) -> Path:
    """The runner's configuration in its folder, or in a stranger's; JSON is YAML."""
    return place / "config.yaml"


def foreign(repository: str, head: str) -> bool:
    """Whether a job runs what somebody wrote who may not write here; a branch whose repository is gone is foreign."""
    return head not in {NO_PULL_REQUEST, repository}


def outermost(folders: Iterable[str]) -> tuple[str, ...]:
    """Those that no other one contains; the root is none that could be hidden."""
    paths = sorted({Path(one) for one in folders} - {Path("/")})
    return tuple(str(one) for one in paths if not any(one != other and one.is_relative_to(other) for other in paths))


def run_own(view: View, runner: Path) -> None:
    """Become the job."""
    os.execvp(ALONE[0], [*ALONE, view.program, "job", str(settings(runner))])  # noqa: S606 - the runner itself


def run_foreign(view: View, runner: Path) -> int:
    """Run the job in a place of its own, and remove that; its exit code."""
    (runner / FOLDER).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runner / FOLDER, ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        furnish(view, place)
        command = (*ALONE, sys.executable, "-I", __file__, "--enter", str(runner), str(place))
        return subprocess.run(command, env=environment(place, os.environ), check=False).returncode


def furnish(view: View, place: Path) -> None:
    """Make everything that the job calls its own."""
    for name in ("home", "tmp", "work", "tasks", "bin", "cache"):
        (place / name).mkdir()
    link(Path(view.uv), place / "uv")
    for name in CACHES:
        link(Path(view.cache, name), place / "cache" / name)
    for name, program in {**view.programs, "gitea-runner": view.program}.items():
        _bring(Path(program), place / "bin" / name)
    container = {**view.settings["container"], "workdir_parent": str(place / "tasks")}
    host = {**view.settings["host"], "workdir_parent": str(place / "work")}
    settings(place).write_text(json.dumps({**view.settings, "container": container, "host": host}))
    give(place)


def _bring(program: Path, target: Path) -> None:
    try:
        os.link(program, target)
    except OSError:  # on another disk
        shutil.copy2(program, target)


def link(source: Path, target: Path) -> None:
    """The folders of a cache anew, and links to its files; on another disk the cache starts empty."""
    if source.is_dir() and source.stat().st_dev == target.parent.stat().st_dev:
        # What whoever fills the cache takes away meanwhile is left out.
        subprocess.run(["cp", "--archive", "--link", source, target], stderr=subprocess.DEVNULL, check=False)
    target.mkdir(exist_ok=True)


def give(place: Path) -> None:
    """Make a stranger own the folders alone: a file that is linked is the one that others have.

    What everybody may write goes: a lock that is shared could be held for ever. So do a cache's own marks, empty
    files near its top, which uv opens to write and makes anew.
    """
    subprocess.run(["find", place, "-type", "f", "-perm", "/022", "-delete"], check=True)
    subprocess.run(["find", place, "-maxdepth", str(MARKS), "-type", "f", "-empty", "-delete"], check=True)
    subprocess.run(["find", place, "-type", "d", "-exec", "chown", f"{STRANGER}:{STRANGER}", "{}", "+"], check=True)


def environment(place: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What every job is given, with the places of this one, and its own programs first on the path."""
    own = {
        "HOME": place / "home",
        "TMPDIR": place / "tmp",
        "FLIGHTLINE_CACHE": place / "cache",
        "UV_CACHE_DIR": place / "uv",
        "PIP_CACHE_DIR": place / "home/.cache/pip",
        "GOCACHE": place / "home/.cache/go-build",
        "GOMODCACHE": place / "home/go/pkg/mod",
        "PATH": f"{place / 'bin'}{os.pathsep}{environ['PATH']}",
    }
    # Links to a file that one does not own are refused, and uv would try each.
    named = {"UV_LINK_MODE": "copy", "USER": "stranger", "LOGNAME": "stranger"}
    return {**environ, **{name: str(one) for name, one in own.items()}, **named}


def enter(view: View, place: Path) -> None:
    """Hide what is not a stranger's, and become the job, as one."""
    shown = [str(place), *view.shown]
    for number, folder in enumerate(view.hidden):
        _veil(Path(folder), [Path(one) for one in shown], place / f"veil-{number}")
    os.chdir(place)
    who = (f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--no-new-privs")
    program = str(place / "bin" / "gitea-runner")
    os.execvp("setpriv", ["setpriv", *who, "--", program, "job", str(settings(place))])  # noqa: S606 - the runner itself


def _veil(folder: Path, shown: Iterable[Path], scratch: Path) -> None:
    """Put an empty folder over one, with what is shown of it in it."""
    if not folder.is_dir():
        return
    scratch.mkdir()
    mode = "1777" if str(folder) in FOR_ALL else "0755"
    _mount("-t", "tmpfs", "-o", f"mode={mode}", "flightline", str(scratch))
    for one in shown:
        if one.is_relative_to(folder):
            target = scratch / one.relative_to(folder)
            _target(one, target)
            _mount("--bind", str(one), str(target))
    _mount("--rbind", str(scratch), str(folder))


def _target(source: Path, target: Path) -> None:
    """Something to mount it on."""
    (target if source.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        target.touch()


def _mount(*words: str) -> None:
    subprocess.run(["mount", "--no-canonicalize", *words], check=True)


def _file(runner: Path) -> Path:
    return runner / "view.json"


def main(words: list[str]) -> int:
    """Run the job that is on stdin."""
    if words[0] == "--enter":
        enter(View.read(Path(words[1])), Path(words[2]))
    runner, repository, head = Path(words[0]), words[1], words[2]
    view = View.read(runner)
    if foreign(repository, head):
        return run_foreign(view, runner)
    run_own(view, runner)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
