"""The runner of the local forge: takes jobs from it and runs their steps on this machine.

It is beside the cluster and not in it, because jobs install packages. It is process 1 of namespaces of its own, and so
is each job, which `infra/local/job.py` starts: as the user who started the forge, or as a stranger.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local import control, gitea, job
from infra.local.components import PROJECT, ClusterError, direct
from infra.local.gitea import Folders, Person
from pipeline.tools import cache_folder

LABEL = "ubuntu-latest:host"
# Jobs at a time: a report must wait neither for tests nor for scans, and a scan gives way by itself.
CAPACITY = 8
START_SECONDS, END_SECONDS = 30.0, 10.0
# A line of its log: infra/tools/forge-runner/main.go.
READY = "the forge knows this runner"
# What a job is given of the environment that `forge up` was called in: how package registries are reached.
KEPT = re.compile(
    r"(?i:(https?|no|all)_proxy)|[A-Z_]*(CA_BUNDLE|CAINFO|CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR)"
    r"|PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|DEFAULT_TIMEOUT|CONFIG_FILE)|UV_(DEFAULT_INDEX|INDEX|INDEX_URL|FIND_LINKS)"
    r"|GO(PROXY|SUMDB|NOSUMDB|PRIVATE|FLAGS|TOOLCHAIN)"
)
SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def start(folders: Folders, administrator: Person, program: Path, tools: Mapping[str, Path]) -> None:
    """Have it run. `tools` are programs by the name that jobs call them by. Raises ClusterError."""
    if running(folders):
        return
    _prepare(folders, program, tools)
    environment = jobs_environment(folders, os.environ)
    if not (folders.runner / "registration").is_file():
        _register(folders, administrator, environment)
    one_job = (sys.executable, "-I", str(Path(job.__file__)), str(folders.runner))
    command = (*job.ALONE, str(folders.bin / "gitea-runner"), "serve", str(job.settings(folders.runner)), *one_job)
    folders.log.unlink(missing_ok=True)
    with folders.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folders.runner,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _process_file(folders).write_text(json.dumps({"pid": process.pid, "started": _started(process.pid)}))
    _wait(folders, process)


def _wait(folders: Folders, process: "subprocess.Popen[bytes]") -> None:
    """Return once the forge has taken it; else end it, for nothing would run the jobs. Raises ClusterError."""
    deadline = time.monotonic() + START_SECONDS
    while READY not in (log := folders.log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(folders)
            raise ClusterError(f"the runner did not start; its log says:\n{log[-600:].strip() or '(nothing)'}")
        time.sleep(0.1)


def stop(folders: Folders) -> None:
    """End it, and with it whatever its jobs run."""
    if pid := running(folders):
        # The namespace's first process ends with this one, and the kernel ends all others before that is gone.
        first = _children(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        for one in (pid, *first):
            control.wait_for_end(one, END_SECONDS)
    _process_file(folders).unlink(missing_ok=True)


def running(folders: Folders) -> int | None:
    """Its process, None where it does not run; a number that another process got since does not count."""
    try:
        found = json.loads(_process_file(folders).read_text())
    except (FileNotFoundError, ValueError):
        return None
    started = _started(found["pid"])
    return int(found["pid"]) if started and started == found["started"] else None


def configuration(folders: Folders) -> dict[str, Any]:
    """The runner's own file."""
    return {
        "log": {"level": "info"},
        "runner": {
            "file": str(folders.runner / "registration"),
            "capacity": CAPACITY,
            "timeout": "1h",
            "fetch_interval": "1s",
            "fetch_interval_max": "1s",
            "log_report_interval": "2s",
            "log_report_max_latency": "1s",
            "state_report_interval": "1s",
            "labels": [LABEL],
        },
        # Jobs find the caches of their tools on this machine.
        "cache": {"enabled": False},
        # Jobs of one repository that run at once would share a folder else.
        "container": {"bind_workdir": True, "workdir_parent": str(folders.runner / "tasks")},
        "host": {"workdir_parent": str(folders.runner / "work")},
    }


def view(folders: Folders, environ: Mapping[str, str], program: Path, tools: Mapping[str, Path]) -> job.View:
    """What jobs are started with. A stranger sees no file of who started the forge but what running a job takes."""
    environment = jobs_environment(folders, environ)
    home = environ.get("HOME", "/root")
    # A registry's certificates or a folder of wheels may be the user's own.
    named = [
        one for name, one in environ.items() if KEPT.fullmatch(name) and one.startswith("/") and Path(one).exists()
    ]
    return job.View(
        program=str(program.resolve()),
        settings=configuration(folders),
        programs={name: str(path.resolve()) for name, path in tools.items()},
        hidden=job.outermost((home, str(cache_folder()), str(folders.root), str(PROJECT), *job.FOR_ALL)),
        shown=(sys.base_prefix, *_installed(environ), *named),
        uv=environment["UV_CACHE_DIR"],
        cache=environment["FLIGHTLINE_CACHE"],
    )


def _installed(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The folders that Go and Node are installed in."""
    found = (shutil.which(name, path=environ.get("PATH")) for name in ("go", "node"))
    return tuple(str(Path(one).resolve().parents[1]) for one in found if one)


def jobs_environment(folders: Folders, environ: Mapping[str, str]) -> dict[str, str]:
    """What every job sees: nothing of who started the forge but the way to registries, and caches that are warm."""
    kept = {name: value for name, value in environ.items() if KEPT.fullmatch(name)}
    home = Path(environ.get("HOME", "/root"))
    caches = Path(environ.get("XDG_CACHE_HOME", home / ".cache"))
    places = {
        "FLIGHTLINE_CACHE": cache_folder(),
        "UV_CACHE_DIR": environ.get("UV_CACHE_DIR", caches / "uv"),
        "PIP_CACHE_DIR": environ.get("PIP_CACHE_DIR", caches / "pip"),
        "GOCACHE": environ.get("GOCACHE", caches / "go-build"),
        "GOMODCACHE": environ.get("GOMODCACHE", Path(environ.get("GOPATH", home / "go")) / "pkg" / "mod"),
    }
    return {
        **kept,
        **(direct(environ) if kept else {}),
        **{name: str(place) for name, place in places.items()},
        "HOME": str(folders.runner / "home"),
        "TMPDIR": str(folders.runner / "tmp"),
        "PATH": os.pathsep.join(_path(folders, environ)),
        "LANG": "C.UTF-8",
    }


def _path(folders: Folders, environ: Mapping[str, str]) -> list[str]:
    """The forge's tools; the Python that this project's environment was made of; Go and Node where they are."""
    found = (shutil.which(name, path=environ.get("PATH")) for name in ("go", "node"))
    places = [folders.bin / "jobs", Path(sys.base_prefix) / "bin", *(Path(one).parent for one in found if one)]
    return list(dict.fromkeys([*map(str, places), *SYSTEM]))


def _prepare(folders: Folders, program: Path, tools: Mapping[str, Path]) -> None:
    shutil.rmtree(folders.runner / job.FOLDER, ignore_errors=True)  # of a runner that was killed
    for name in ("home", "tmp", "work", "tasks"):
        (folders.runner / name).mkdir(parents=True, exist_ok=True)
    (folders.bin / "jobs").mkdir(parents=True, exist_ok=True)
    links = {
        folders.bin / "gitea-runner": program,
        **{folders.bin / "jobs" / name: path for name, path in tools.items()},
    }
    for link, path in links.items():
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    view(folders, os.environ, program, tools).write(folders.runner)


def _register(folders: Folders, administrator: Person, environment: Mapping[str, str]) -> None:
    """For this one repository: what a user's own fork of it runs is not ours."""
    token = administrator.call("POST", f"repos/{gitea.OWNER}/{gitea.NAME}/actions/runners/registration-token")["token"]
    words = ("register", "--no-interactive", "--instance", gitea.ADDRESS, "--name", "local", "--labels", LABEL)
    command = [folders.bin / "gitea-runner", "--config", job.settings(folders.runner), *words, "--token", token]
    done = subprocess.run(command, cwd=folders.runner, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"the runner was not registered: {(done.stderr or done.stdout).strip()[-400:]}")


def _process_file(folders: Folders) -> Path:
    return folders.runner / "process.json"


def _children(pid: int) -> list[int]:
    """Whom a process started; none where it has ended."""
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _started(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks; None where there is none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
