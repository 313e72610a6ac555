import shutil
from pathlib import Path

import pytest

from pipeline.validate import workflows
from tests.unit.pipeline.validate.conftest import PROJECT, Edit

needs_zizmor = pytest.mark.skipif(
    not (PROJECT / workflows.ZIZMOR).exists(), reason="`make validate` has not installed zizmor here yet"
)
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="actionlint is built with Go")
DELIVER = Path(".github/workflows/deliver.yml")


def findings(path: Path, text: str) -> str:
    return "\n".join(f"{where}: {what}" for where, what in workflows.rules(path, text))


def changed(old: str, new: str, path: Path = DELIVER) -> str:
    text = (PROJECT / path).read_text()
    assert old in text
    return findings(path, text.replace(old, new))


@needs_go
@needs_zizmor
def test_the_workflows_of_this_project_hold(tree: Path) -> None:
    found = workflows.check(tree)
    assert found.holds, found.failures
    assert found.counted.endswith("files")


@needs_go
@needs_zizmor
def test_what_the_tools_find_names_file_line_and_rule(tree: Path, edit: Edit) -> None:
    edit(".github/workflows/pr.yml", "run: exit 1", "run: echo ${{ github.head_ref }}")
    edit(".github/workflows/gate.yml", "runs-on: ubuntu-latest", "runs-on: ${{ matrix.nothing }}")
    failures = "\n".join(workflows.check(tree).failures)
    assert "zizmor template-injection" in failures
    assert ".github/workflows/gate.yml:" in failures
    assert 'actionlint: property "nothing" is not defined' in failures


@needs_go
@needs_zizmor
def test_zizmor_is_told_to_ignore_nothing_without_a_reason(tree: Path, edit: Edit) -> None:
    reason = " checks out main alone, runs nothing of the artifact"
    edit(".github/workflows/report.yml", f"ignore[dangerous-triggers]{reason}", "ignore[dangerous-triggers]")
    assert any("without a reason" in one for one in workflows.check(tree).failures)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("permissions: {}\n", "", "no `permissions: {}` at the top"),
        (" # the signature", "", "grants `id-token: write` without a reason"),
        ("  push:\n", "  pull_request_target:\n  push:\n", "pull_request_target"),
        ("    timeout-minutes: 120\n", "", "job train: has no timeout-minutes"),
        ("          persist-credentials: false\n", "", "persist-credentials"),
        ("    environment: main\n", "", "secrets without an environment"),
        ("concurrency:", "was-concurrency:", "no concurrency group"),
        (" # v6.0.3", "", "write `# v1.2.3` after it"),
        ("actions/checkout@", "somebody/checkout@", "uses somebody/checkout, which is not among the actions"),
        ("environments: deliver\n", "environments: deliver\n          cache: true\n", "restores a cache"),
        ("name: deliver ", "name: deliver\n" + "#\n" * 100, "more than 120 lines"),
    ],
)
def test_a_rule_of_this_project_is_broken(old: str, new: str, said: str) -> None:
    assert said in changed(old, new)


def test_a_pin_is_a_commit_and_not_a_tag() -> None:
    text = "jobs: {}\nuses: actions/cache@v5.0.5 # v5.0.5\n"
    assert "pin the commit's 40 digits" in findings(Path(".github/actions/x/action.yml"), text)
