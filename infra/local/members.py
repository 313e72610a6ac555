"""Who is on the local forge, what each may do, and the secrets they do it with.

`developer` pushes branches and opens pull requests, `reviewer` owns the code, `flightline-bot` is the App.
`cluster` is whom the cluster's notifications come from: it may start workflows and read, and nothing else.
"""

import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from infra.local import gitea
from infra.local.gitea import NAME, OWNER, Folders, Person
from pipeline.config import Frozen

DEVELOPER, REVIEWER, BOT, CLUSTER = "developer", "reviewer", "flightline-bot", "cluster"
WRITERS = (DEVELOPER, REVIEWER, BOT)
PEOPLE = (*WRITERS, CLUSTER)
TEAM = "notifications"
TOKEN = "flightline"  # noqa: S105 - the name of each token
# What each token may be used for at all; the user's own rights bound it further.
SCOPES = {**dict.fromkeys(WRITERS, ("write:repository", "write:issue", "read:user")), CLUSTER: ("write:repository",)}
# A token has no scope for workflows alone, so the user has no rights but these.
CLUSTER_UNITS = {"repo.code": "read", "repo.actions": "write"}


class KeyPair(Frozen):
    """What images are signed with. `public` goes into the fork, `private` is encrypted with `password`."""

    public: str
    private: str
    password: str


class Credentials(Frozen):
    """Everything that must stay secret about one local forge."""

    server: dict[str, str]
    passwords: dict[str, str]
    store: str
    signing: KeyPair
    tokens: dict[str, str]

    def person(self, name: str) -> Person:
        """A user, the administrator too, with the password."""
        return Person(name, self.passwords[name])


def read(folders: Folders) -> Credentials | None:
    """Those of the forge that is there, or was until its cluster went down with `--keep-state`."""
    path = folders.credentials
    return Credentials.model_validate_json(path.read_text()) if path.is_file() else None


def write(folders: Folders, credentials: Credentials) -> None:
    """Replace the file in one step; only its owner may read it, from its first byte on."""
    descriptor, scratch = tempfile.mkstemp(dir=folders.root)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(credentials.model_dump(), indent=2))
    Path(scratch).replace(folders.credentials)


def new() -> Credentials:
    """Random ones."""
    return Credentials(
        server={"secret": secrets.token_hex(32), "internal": secrets.token_hex(32), "jwt": secrets.token_urlsafe(32)},
        passwords={name: secrets.token_urlsafe(18) for name in (gitea.ADMIN, *PEOPLE)},
        store=secrets.token_urlsafe(24),
        signing=_key_pair(secrets.token_urlsafe(18)),
        tokens={},
    )


def settle(credentials: Credentials) -> Credentials:
    """Have every user, the repository and each one's rights and token; what is there stays as it is. ClusterError."""
    administrator = credentials.person(gitea.ADMIN)
    for name in PEOPLE:
        person = {"username": name, "email": gitea.email(name), "password": credentials.passwords[name]}
        administrator.call("POST", "admin/users", {**person, "must_change_password": False}, there=True)
    organisation(administrator, OWNER)
    repository(administrator, OWNER, NAME)
    for name in WRITERS:
        administrator.call("PUT", f"repos/{OWNER}/{NAME}/collaborators/{name}", {"permission": "write"})
    _join(administrator, TEAM, CLUSTER_UNITS, (CLUSTER,))
    missing = (name for name in PEOPLE if name not in credentials.tokens)
    tokens = {**credentials.tokens, **{name: _token(credentials.person(name)) for name in missing}}
    return credentials.model_copy(update={"tokens": tokens})


def organisation(administrator: Person, name: str) -> None:
    """Have it."""
    administrator.call("POST", "orgs", {"username": name, "visibility": "public"}, there=True)


def repository(administrator: Person, owner: str, name: str) -> None:
    """Have it, empty where it is new; merges keep their commits, as the delivery reads main by first parents."""
    wanted = {"name": name, "private": False, "auto_init": False, "default_branch": "main"}
    administrator.call("POST", f"orgs/{owner}/repos", wanted, there=True)


def _join(administrator: Person, team: str, units: dict[str, str], names: Iterable[str]) -> None:
    wanted = {"name": team, "permission": "read", "units_map": units, "includes_all_repositories": True}
    administrator.call("POST", f"orgs/{OWNER}/teams", wanted, there=True)
    teams = {one["name"]: one["id"] for one in administrator.find(f"orgs/{OWNER}/teams")}
    for name in names:
        administrator.call("PUT", f"teams/{teams[team]}/members/{name}")


def _token(person: Person) -> str:
    """A new token. One of that name whose value was lost is taken away first."""
    if any(one["name"] == TOKEN for one in person.find(f"users/{person.name}/tokens")):
        person.call("DELETE", f"users/{person.name}/tokens/{TOKEN}")
    made = person.call("POST", f"users/{person.name}/tokens", {"name": TOKEN, "scopes": SCOPES[person.name]})
    return str(made["sha1"])


def _key_pair(password: str) -> KeyPair:
    from pipeline.tools import tool

    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COSIGN_PASSWORD": password}
        subprocess.run(
            [tool("cosign"), "generate-key-pair"], cwd=folder, env=environment, check=True, capture_output=True
        )
        public, private = (Path(folder, f"cosign.{kind}").read_text() for kind in ("pub", "key"))
    return KeyPair(public=public, private=private, password=password)
