"""The project as a team on the local cluster would fork it: with settings of its own and a test cluster's patience."""

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from infra.local import gitea, patience
from infra.local.components import PROJECT, ClusterError, direct
from infra.local.gitea import Person
from pipeline.config import read_settings

REGISTRY = "127.0.0.1:5000/flightline"
# Where a fork keeps the public key that its images are verified with.
KEY = "cosign.pub"
BRANCH = "main"
_AUTHOR = {"GIT_AUTHOR_NAME": "Local forge", "GIT_AUTHOR_EMAIL": "forge@example.com"}
_IDENTITY = {**_AUTHOR, **{name.replace("AUTHOR", "COMMITTER"): value for name, value in _AUTHOR.items()}}


def make(root: Path, *, uncommitted: bool) -> str:
    """Clone what this checkout has committed; with `uncommitted`, its files as they are. The commit it starts from."""
    shutil.rmtree(root, ignore_errors=True)
    head = git(PROJECT, "rev-parse", "HEAD")
    git(PROJECT, "clone", "-q", "--no-checkout", str(PROJECT), str(root))
    git(root, "checkout", "-q", "-B", BRANCH, head)
    git(root, "remote", "remove", "origin")
    if uncommitted:
        copy_files(root)
        commit(root, "The files as they are")
    return head


def copy_files(root: Path) -> None:
    """Bring every file of this checkout that git would take, and take away what is no more."""
    listed = git(PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        (root / name).unlink(missing_ok=True)
        if (PROJECT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, root / name, follow_symlinks=False)


def settle(root: Path, repository: str, registry: str = REGISTRY, *, owner: str = "", key: str = "") -> None:
    """Give a checkout its settings, render what follows from them, and make it patient.

    `key` is the public key of who signs there; without one nobody does, for the template's own signer cannot.
    """
    project = root / "pyproject.toml"
    text = project.read_text()
    for name, value in (("repository", repository), ("registry", registry)):
        text = re.sub(rf'(?m)^{name} = ".*"$', f'{name} = "{value}"', text)
    if owner:
        text = re.sub(r"(?m)^owners = .*$", f'owners = ["@{owner}"]', text)
    signing = f'[tool.flightline.signing]\nkey = "{KEY}"\n\n' if key else ""
    text = re.sub(r"(?ms)^(?:#[^\n]*\n)*\[tool\.flightline\.signing\]\n.*?(?=^\[)", signing, text)
    if key:
        (root / KEY).write_text(key)
    project.write_text(text)
    patience.shorten(root, read_settings(root).environments)
    flightline(root, "settings", "apply")


def use_store(root: Path, address: str) -> None:
    """Make the trusted DVC remote one over HTTP, which everybody may read."""
    config = root / ".dvc" / "config"
    name = read_settings(root).trusted_remote
    remote = f"['remote \"{name}\"']"
    config.write_text(
        re.sub(rf"(?m)(^{re.escape(remote)}\n)[ \t]*url = .*$", rf"\g<1>    url = {address}", config.read_text())
    )


def flightline(root: Path, *words: str) -> str:
    """The checkout's own command line. Raises ClusterError."""
    program = Path(sys.executable).with_name("flightline")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([program, *words], cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`flightline {' '.join(words)}` failed in {root}: {done.stderr.strip()[-600:]}")
    return done.stdout


def commit(root: Path, message: str) -> None:
    """Commit everything there is."""
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", message)


def git(root: Path, *words: str, **environment: str) -> str:
    """What git prints. Raises ClusterError."""
    own = {**os.environ, **direct(os.environ), **_IDENTITY, **environment}
    done = subprocess.run(["git", *words], cwd=root, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`git {words[0]}` failed in {root}: {done.stderr.strip()[-600:]}")
    return done.stdout.strip()


def authorized(person: Person) -> dict[str, str]:
    """An environment in which git reaches the forge as somebody; in no argument and no file."""
    secret = base64.b64encode(f"{person.name}:{person.password}".encode()).decode()
    value = f"Authorization: Basic {secret}"
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{gitea.ADDRESS}/.extraHeader",
        "GIT_CONFIG_VALUE_0": value,
    }
