"""Stand-ins for the actions of others that the workflows use: the local forge has no way to where these are kept.

A workflow names an action by the SHA of one of its commits. The forge looks for it on itself, in the repository of that
name, where a *branch* called like the SHA holds the stand-in: so no workflow is changed for the forge. What they are
pinned to is read from the workflows.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from infra.local import fork, gitea, members
from infra.local.components import ClusterError
from infra.local.gitea import Person

FOLDER = Path(__file__).parent / "standins"
_USES = re.compile(r"(?P<action>[\w.-]+/[\w.-]+)(?P<path>(/[\w.-]+)*)@(?P<sha>[0-9a-f]{40})")


def used(root: Path) -> Mapping[str, frozenset[str]]:
    """The actions of others in a checkout's `.github`, as `owner/name`, and the SHAs they are pinned to.

    Raises ClusterError for one that is not pinned: no stand-in could take its place.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((root / ".github").rglob("*.y*ml")):
        for use in _uses(yaml.safe_load(path.read_text())):
            if use.startswith("./"):
                continue
            if (pinned := _USES.fullmatch(use)) is None:
                raise ClusterError(f"{path.relative_to(root)}: `uses: {use}` is not pinned to a SHA of 40 hex digits")
            found[pinned["action"]].add(pinned["sha"])
    return {action: frozenset(shas) for action, shas in found.items()}


def provided() -> frozenset[str]:
    """The actions that have a stand-in."""
    return frozenset(str(path.parent.relative_to(FOLDER)) for path in FOLDER.glob("*/*/action.yml"))


def publish(administrator: Person, root: Path) -> None:
    """Put the stand-ins of what a checkout uses on the forge. Raises ClusterError where one is missing."""
    wanted = used(root)
    if missing := sorted(wanted.keys() - provided()):
        raise ClusterError(f"the workflows use {', '.join(missing)}, which have no stand-in; add one to {FOLDER}")
    for action, shas in wanted.items():
        owner, name = action.split("/")
        members.organisation(administrator, owner)
        members.repository(administrator, owner, name)
        _push(administrator, action, shas)


def _push(administrator: Person, action: str, shas: frozenset[str]) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "action")
        shutil.copytree(FOLDER / action, folder)
        fork.git(folder, "init", "-q", "-b", "main")
        fork.commit(folder, f"Stand-in for {action}")
        branches = [f"HEAD:refs/heads/{name}" for name in ("main", *sorted(shas))]
        authorized = fork.authorized(administrator)
        fork.git(folder, "push", "-q", "--force", f"{gitea.ADDRESS}/{action}", *branches, **authorized)


def _uses(document: Any) -> Iterator[str]:
    """Every `uses` in a workflow or an action, wherever it is."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "uses" and isinstance(value, str):
                yield value
            else:
                yield from _uses(value)
    elif isinstance(document, list):
        for one in document:
            yield from _uses(one)
