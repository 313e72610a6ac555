"""Main of the local forge, protected as `.github/settings.yaml` says, as far as Gitea has the rules.

Two differ. Gitea asks code owners for a review and needs none, so a merge waits for every review that was asked for.
And its code owners are regular expressions in a file of its own, which the fork gets beside GitHub's.
"""

import re
from pathlib import Path
from typing import Any, Literal, TypeAlias

from infra.local import gitea
from infra.local.gitea import Person
from infra.local.members import BOT
from pipeline.config import read_yaml

Mode: TypeAlias = Literal["bypass", "pull-request"]

SETTINGS = ".github/settings.yaml"
OWNERS, OWNERS_HERE = ".github/CODEOWNERS", ".gitea/CODEOWNERS"
BRANCH = "main"
# The names of ways to merge, as the settings have them, in Gitea's.
METHODS = {"merge": "allow_merge_commits", "squash": "allow_squash_merge", "rebase": "allow_rebase"}


def apply(administrator: Person, root: Path, mode: Mode) -> None:
    """Protect main with the rules of a checkout. Raises ClusterError, ConfigError."""
    repository = f"repos/{gitea.OWNER}/{gitea.NAME}"
    wanted = read_yaml(root / SETTINGS)[BRANCH]
    administrator.call("PATCH", repository, merging(wanted))
    path = f"{repository}/branch_protections"
    if administrator.find(f"{path}/{BRANCH}") is None:
        administrator.call("POST", path, {"rule_name": BRANCH, **rules(wanted, mode)})
    else:
        administrator.call("PATCH", f"{path}/{BRANCH}", rules(wanted, mode))


def rules(wanted: dict[str, Any], mode: Mode) -> dict[str, Any]:
    """Branch protection in Gitea's words. In bypass mode the bot alone pushes; else nobody does."""
    bypass = mode == "bypass" and "app" in wanted["bypass"]
    return {
        "enable_push": bypass,
        "enable_push_whitelist": bypass,
        "push_whitelist_usernames": [BOT] if bypass else [],
        "enable_force_push": wanted["force_push"],
        "enable_status_check": True,
        "status_check_contexts": contexts(wanted, mode),
        "required_approvals": wanted["approvals"],
        "block_on_rejected_reviews": True,
        "block_on_official_review_requests": wanted["code_owner_review"],
        "dismiss_stale_approvals": wanted["dismiss_stale_approvals"],
        "block_admin_merge_override": wanted["include_administrators"],
    }


def merging(wanted: dict[str, Any]) -> dict[str, Any]:
    """The repository's ways to merge, in Gitea's words."""
    allowed = {name: method in wanted["merge_methods"] for method, name in METHODS.items()}
    return {**allowed, "allow_rebase_explicit": False, "default_merge_style": wanted["merge_methods"][0]}


def contexts(wanted: dict[str, Any], mode: Mode) -> list[str]:
    """The required checks as Gitea calls them.

    A run that was dispatched leaves no status here, and in pull-request mode machines' are: jobs are left out there.
    """
    checks = wanted["required_checks"]
    statuses = [check["status"] for check in checks if "status" in check]
    jobs = [f"{check['workflow']} / {check['job']} (pull_request)" for check in checks if "job" in check]
    return [*(jobs if mode == "bypass" else ()), *statuses]


def name_owners(root: Path) -> None:
    """Write a checkout's code owners as Gitea reads them."""
    target = root / OWNERS_HERE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(owners((root / OWNERS).read_text()))


def owners(text: str) -> str:
    """GitHub's last line that matches a path counts, Gitea's all do: so a line here leaves out what later ones have."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    patterns = [_expression(words[0]) for words in lines]
    written = []
    for place, words in enumerate(lines):
        later = "|".join(patterns[place + 1 :])
        if len(words) > 1:
            but = f"(?!({later})$)" if later else ""
            written.append(" ".join([but + patterns[place], *words[1:]]))
    return "".join(f"{line}\n" for line in written)


def _expression(pattern: str) -> str:
    """A path pattern of CODEOWNERS as a regular expression over whole paths."""
    anchored = "/" in pattern.rstrip("/")
    text = re.escape(pattern.strip("/")).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    # The backslash is this file's own escape sign, too.
    below = "/.*" if pattern.endswith("/") else "(/.*)?"
    return (("" if anchored else "(.*/)?") + text + below).replace("\\", "\\\\")
