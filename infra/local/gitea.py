"""The server of the local forge: Gitea, in the cluster's network so that Argo CD and Rollouts reach it by loopback.

It refuses to run as root, and its program, sources and data are where only root may go. So it gets its own view of the
machine, in which just those three are shown below /run, and becomes an account without rights before it starts.
`python -m infra.local.gitea FORGE WORD...` is that view; anything but `web` is one of Gitea's own commands.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import requests

from infra.local.components import PROJECT, ClusterError, Component, State, answers

COMPONENT = "gitea"
PORT = 3001
ADDRESS = f"http://127.0.0.1:{PORT}"
OWNER, NAME = "flightline", "flightline"
REPOSITORY = f"{ADDRESS}/{OWNER}/{NAME}"
REPOSITORY_API = f"{ADDRESS}/api/v1/repos/{OWNER}/{NAME}"
ADMIN = "forge-admin"
ACCOUNT = "nobody"
SECONDS = 30
# Where the server finds what is its own; the same wherever the forge's folder is.
INSIDE = Path("/run/forge")
_THERE = (409, 422)
_SAYS_SO = re.compile("exist|already")

CONFIGURATION = """\
    APP_NAME = Local forge
    RUN_MODE = prod
    WORK_PATH = $data
    [server]
    HTTP_ADDR = 127.0.0.1
    HTTP_PORT = $port
    ROOT_URL = $address/
    STATIC_ROOT_PATH = $static
    OFFLINE_MODE = true
    DISABLE_SSH = true
    [database]
    DB_TYPE = sqlite3
    PATH = $data/gitea.db
    # Jobs, pages and queues write at once: readers do not wait, writers do not give up.
    SQLITE_JOURNAL_MODE = WAL
    SQLITE_TIMEOUT = 20000
    [repository]
    ROOT = $data/repositories
    DEFAULT_BRANCH = main
    [security]
    INSTALL_LOCK = true
    SECRET_KEY = $secret
    INTERNAL_TOKEN = $internal
    [oauth2]
    JWT_SECRET = $jwt
    [service]
    DISABLE_REGISTRATION = true
    [actions]
    ENABLED = true
    # An action that a workflow names is looked for here: infra/local/standins.py.
    DEFAULT_ACTIONS_URL = self
    # A job whose runner ended says nothing more; until it is given up, its concurrency group waits.
    ZOMBIE_TASK_TIMEOUT = 2m
    [webhook]
    ALLOWED_HOST_LIST = loopback
    DELIVER_TIMEOUT = 10
    [indexer]
    ISSUE_INDEXER_TYPE = db
    [log]
    MODE = console
    LEVEL = error
    [cron.stop_zombie_tasks]
    SCHEDULE = @every 1m
    [mailer]
    ENABLED = false
    [picture]
    DISABLE_GRAVATAR = true
    [other]
    SHOW_FOOTER_VERSION = false
"""


@dataclass(frozen=True)
class Folders:
    """Everything of the local forge that is a file, beside the cluster's: `$FLIGHTLINE_CACHE/forge`."""

    root: Path

    @classmethod
    def of(cls, state: State) -> "Folders":
        """The forge that belongs to a cluster."""
        return cls(state.root.with_name("forge"))

    @property
    def server(self) -> Path:
        """Gitea's: configuration, database, repositories, logs of runs, artifacts."""
        return self.root / "gitea"

    @property
    def store(self) -> Path:
        """What the trusted DVC remote holds."""
        return self.root / "store"

    @property
    def runner(self) -> Path:
        """The runner's configuration, and the home, temporary files and workspaces of its jobs."""
        return self.root / "runner"

    @property
    def fork(self) -> Path:
        """The checkout that main was pushed from."""
        return self.root / "fork"

    @property
    def bin(self) -> Path:
        """Links to the programs and sources that the forge runs."""
        return self.root / "bin"

    @property
    def log(self) -> Path:
        """The runner's log; the server's and the store's are among the cluster's."""
        return self.root / "runner.log"

    @property
    def credentials(self) -> Path:
        """Users, passwords, tokens and keys; only its owner may read it."""
        return self.root / "credentials.json"


def components(state: State) -> tuple[Component, ...]:
    """The server; nothing but `flightline forge up` starts it."""
    folders = Folders.of(state)
    environment = {"PYTHONPATH": str(PROJECT)}
    return (Component(COMPONENT, command(folders, "web"), environment, answers(f"{ADDRESS}/api/healthz")),)


def command(folders: Folders, *words: str) -> tuple[str, ...]:
    """A command of Gitea's, in its own view of the machine."""
    return ("unshare", "--mount", sys.executable, "-m", "infra.local.gitea", str(folders.root), *words)


def install(folders: Folders, program: Path, sources: Path, secrets: dict[str, str]) -> None:
    """Write what the server reads; make its database and the administrator where they are not there yet.

    `secrets` has `secret`, `internal`, `jwt` and the administrator's `password`. Raises ClusterError.
    """
    account = pwd.getpwnam(ACCOUNT)
    folders.bin.mkdir(parents=True, exist_ok=True)
    _link(folders.bin / "gitea", program.parent)
    _link(folders.bin / "sources", sources)
    folders.server.mkdir(exist_ok=True)
    os.chown(folders.server, account.pw_uid, account.pw_gid)
    settings = folders.server / "app.ini"
    settings.touch(mode=0o600)
    settings.write_text(configuration(secrets))
    os.chown(settings, account.pw_uid, account.pw_gid)
    if not (folders.server / "gitea.db").exists():
        _run(folders, "migrate")
        person = ("--username", ADMIN, "--email", email(ADMIN), "--password", secrets["password"])
        _run(folders, "admin", "user", "create", "--admin", "--must-change-password=false", *person)


def email(name: str) -> str:
    """Nobody reads it; the forge wants one that could be true."""
    return f"{name}@example.com"


def configuration(secrets: dict[str, str]) -> str:
    """app.ini, with places as the server sees them."""
    places = {"data": INSIDE / "data", "static": INSIDE / "sources", "port": PORT, "address": ADDRESS}
    return Template(textwrap.dedent(CONFIGURATION)).substitute(places, **secrets)


@dataclass(frozen=True)
class Person:
    """Somebody who may use the API: `administrator.call("POST", "orgs", {"username": "actions"})`."""

    name: str
    password: str

    def call(self, method: str, path: str, body: Any = None, *, there: bool = False) -> Any:
        """The answer's JSON; None where it has none. With `there`, what is there already is no error: ClusterError."""
        asked = self._ask(method, path, body)
        if not asked.ok and not (there and asked.status_code in _THERE and _SAYS_SO.search(asked.text)):
            raise ClusterError(f"the local forge answered {asked.status_code} to {method} {path}: {asked.text[:300]}")
        return asked.json() if asked.headers.get("Content-Type", "").startswith("application/json") else None

    def find(self, path: str) -> Any:
        """What is at a path, None where nothing is."""
        asked = self._ask("GET", path)
        if asked.status_code == requests.codes.not_found:
            return None
        asked.raise_for_status()
        return asked.json()

    def _ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Never by a proxy, which would look for this machine elsewhere. Raises ClusterError."""
        with requests.Session() as session:
            session.trust_env = False
            address, who = f"{ADDRESS}/api/v1/{path}", (self.name, self.password)
            try:
                return session.request(method, address, json=body, auth=who, timeout=SECONDS)
            except requests.RequestException as error:
                raise ClusterError(f"the local forge does not answer ({type(error).__name__}); is it up?") from error


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _run(folders: Folders, *words: str) -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command(folders, *words), cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"`gitea {words[0]}` failed: {(done.stderr or done.stdout).strip()[-600:]}")


def main() -> None:
    """Show what is the server's own below /run, become its account, and run it."""
    forge, words = Path(sys.argv[1]), sys.argv[2:]
    folders, account = Folders(forge), pwd.getpwnam(ACCOUNT)
    git = shutil.which("git") or "/usr/bin/git"
    shown = {"data": folders.server, "bin": folders.bin / "gitea", "sources": folders.bin / "sources"}
    _mount("-t", "tmpfs", "-o", "mode=0755", "flightline", "/run")
    for name, folder in shown.items():
        (INSIDE / name).mkdir(parents=True)
        _mount("--bind", str(folder.resolve()), str(INSIDE / name))
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    os.umask(0o077)
    os.chdir(INSIDE / "data")
    home = str(INSIDE / "data" / "home")
    environment = {"PATH": f"{Path(git).parent}:/usr/bin:/bin", "HOME": home, "USER": ACCOUNT, "LANG": "C.UTF-8"}
    program = str(INSIDE / "bin" / "gitea")
    os.execve(program, [program, "--config", str(INSIDE / "data" / "app.ini"), *words], environment)  # noqa: S606 - itself


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    main()
