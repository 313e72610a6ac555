from pathlib import Path

import pytest
import yaml

from infra.local import standins
from infra.local.components import PROJECT, ClusterError

SHA = "0123456789abcdef0123456789abcdef01234567"


def workflow(root: Path, *uses: str) -> Path:
    path = root / ".github/workflows/one.yml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"jobs": {"one": {"steps": [{"uses": use} for use in uses]}}}))
    return root


def test_every_action_that_is_used_has_a_stand_in_and_no_other_has() -> None:
    assert standins.provided() == standins.used(PROJECT).keys()


def test_no_stand_in_says_what_it_is_pinned_to() -> None:
    known = set().union(*standins.used(PROJECT).values())
    texts = [path.read_text() for path in standins.FOLDER.rglob("*") if path.is_file()]
    assert not [sha for sha in known for text in texts if sha in text]


def test_actions_are_found_in_workflows_and_in_actions_of_our_own(tmp_path: Path) -> None:
    root = workflow(tmp_path, f"actions/checkout@{SHA}", "./.github/actions/setup", f"github/codeql/init@{SHA}")
    action = root / ".github/actions/setup/action.yml"
    action.parent.mkdir(parents=True)
    action.write_text(yaml.safe_dump({"runs": {"steps": [{"uses": f"actions/cache@{SHA}"}]}}))
    assert standins.used(root) == {one: {SHA} for one in ("actions/cache", "actions/checkout", "github/codeql")}


@pytest.mark.parametrize("use", ["actions/checkout@v6", "docker://alpine:3", f"actions/checkout@{SHA[:12]}"])
def test_action_that_is_not_pinned_is_named(tmp_path: Path, use: str) -> None:
    with pytest.raises(ClusterError, match=r"one\.yml: `uses: .*` is not pinned"):
        standins.used(workflow(tmp_path, use))


def test_action_without_a_stand_in_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="use example/unknown, which have no stand-in"):
        standins.publish(None, workflow(tmp_path, f"example/unknown@{SHA}"))  # type: ignore[arg-type]
