import json
import re
from pathlib import Path

import pytest

from infra.local import protection
from infra.local.components import PROJECT
from infra.local.members import BOT
from pipeline.config import read_yaml


def asked(owners: str, path: str) -> set[str]:
    """Whom Gitea asks: of every line whose pattern is the whole path, once its backslashes are taken away."""
    rules = [line.replace("\\\\", "\\").split() for line in protection.owners(owners).splitlines()]
    return {who for pattern, *whom in rules if re.fullmatch(pattern, path) for who in whom}


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", "deep/in/a/file", True),
        ("/k8s/releases/production/", "k8s/releases/production/held.yaml", True),
        ("/k8s/releases/production/", "k8s/releases/staging/held.yaml", False),
        ("/k8s/releases/production", "k8s/releases/production/held.yaml", True),
        ("docs/", "other/docs/page.md", True),
        ("*.py", "pipeline/cli.py", True),
        ("*.py", "pipeline/clipy", False),
        ("/model/*.py", "model/deep/one.py", False),
        ("/model/**/one.py", "model/deep/er/one.py", True),
    ],
)
def test_pattern_of_github_means_the_same_here(pattern: str, path: str, matches: bool) -> None:
    assert asked(f"{pattern} @one", path) == ({"@one"} if matches else set())


def test_last_line_that_matches_counts() -> None:
    owners = "# who\n* @all\n/k8s/ @cluster\n/k8s/releases/staging/\n"
    assert asked(owners, "README.md") == {"@all"}
    assert asked(owners, "k8s/base/slo.yaml") == {"@cluster"}
    assert asked(owners, "k8s/releases/staging/release.yaml") == set()


def test_the_forks_own_owners_are_written_where_gitea_reads_them(tmp_path: Path) -> None:
    (tmp_path / ".github").mkdir()
    (tmp_path / protection.OWNERS).write_text("* @reviewer\n")
    protection.name_owners(tmp_path)
    assert (tmp_path / protection.OWNERS_HERE).read_text().split()[1] == "@reviewer"


WANTED = read_yaml(PROJECT / protection.SETTINGS)["main"]


def test_bot_alone_pushes_in_bypass_mode_and_nobody_else_ever() -> None:
    bypass, pull = (protection.rules(WANTED, mode) for mode in ("bypass", "pull-request"))
    assert (bypass["enable_push"], bypass["enable_push_whitelist"]) == (True, True)
    assert bypass["push_whitelist_usernames"] == [BOT]
    assert not pull["enable_push"]
    assert not protection.rules({**WANTED, "bypass": []}, "bypass")["enable_push"]


def test_merge_waits_for_checks_and_reviews_whoever_merges() -> None:
    rules = protection.rules(WANTED, "bypass")
    assert rules["status_check_contexts"] == ["pr / gate-summary (pull_request)", "flightline/gates"]
    assert rules["required_approvals"] == WANTED["approvals"] == 1
    assert rules["block_on_official_review_requests"]
    assert rules["block_admin_merge_override"]
    assert not rules["enable_force_push"]


def test_every_rule_that_is_sent_is_in_the_docs_with_the_checks_in_gitea_s_words() -> None:
    page = (PROJECT / "docs/repository-settings.md").read_text().partition("## The same in Gitea")[2]
    sent = protection.rules(WANTED, "bypass")
    said = set(re.findall(r"`(\w+)[`:]", page))
    assert {*sent, *protection.merging(WANTED)} - said == set()
    assert json.dumps(sent["status_check_contexts"]) in page


def test_dispatched_runs_leave_no_status_so_none_is_waited_for() -> None:
    assert protection.contexts(WANTED, "pull-request") == ["flightline/gates"]


def test_merges_alone_keep_the_history_that_delivery_reads() -> None:
    allowed = protection.merging(WANTED)
    assert allowed["default_merge_style"] == "merge"
    assert [name for name in protection.METHODS.values() if allowed[name]] == ["allow_merge_commits"]
