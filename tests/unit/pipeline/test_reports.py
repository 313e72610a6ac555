"""The branch `reports`: it grows from nothing, loses nobody's work, and stays small."""

import json
import subprocess
import threading
from pathlib import Path

import pytest

from pipeline import reports
from pipeline.delivery.git import Repository
from pipeline.errors import GitError
from pipeline.reports import Folder, keep
from tests.deliveries import Fork, begun, configure


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    """A clone of a remote whose main has one file."""
    return begun(tmp_path)


@pytest.fixture
def repository(fork: Fork) -> Repository:
    return Repository(fork.root, "main", "flightline")


def listed(fork: Fork) -> list[str]:
    done = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", reports.BRANCH],
        cwd=fork.remote,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in done.stdout.split() if path not in (reports.INDEX, reports.README)]


def commits(fork: Fork) -> int:
    counted = ["git", "rev-list", "--count", reports.BRANCH]
    return int(subprocess.run(counted, cwd=fork.remote, capture_output=True, check=True).stdout)


def test_first_report_makes_a_branch_that_shares_nothing_with_main(fork: Fork, repository: Repository) -> None:
    before = fork.git("status", "--porcelain=v2", "--branch")
    reports.publish(repository, "commits/abc", {"verdict.json": b"{}", "plots/x.png": b"\x89PNG\x00"})
    assert listed(fork) == ["commits/abc/plots/x.png", "commits/abc/verdict.json"]
    assert reports.read(repository, "commits/abc/plots/x.png") == b"\x89PNG\x00"
    tip = repository.tip(reports.BRANCH)
    assert repository.run("merge-base", "HEAD", str(tip)).returncode == 1
    assert fork.git("status", "--porcelain=v2", "--branch") == before


def test_reading_what_is_not_there_gives_nothing(repository: Repository) -> None:
    assert reports.read(repository, "commits/abc/verdict.json") is None
    reports.publish(repository, "commits/abc", {"x": b""})
    assert reports.read(repository, "commits/abc/verdict.json") is None


def test_later_reports_go_on_from_earlier_ones(fork: Fork, repository: Repository) -> None:
    for at in range(3):
        reports.publish(repository, f"commits/{at}", {"x": b"%d" % at})
    assert listed(fork) == ["commits/0/x", "commits/1/x", "commits/2/x"]
    assert commits(fork) == 3


def test_same_folder_is_replaced_whole(fork: Fork, repository: Repository) -> None:
    reports.publish(repository, "commits/a", {"x": b"1", "y": b"1"})
    reports.publish(repository, "commits/a", {"x": b"2"})
    assert listed(fork) == ["commits/a/x"]
    assert reports.read(repository, "commits/a/x") == b"2"


def test_newer_report_of_a_pull_request_takes_the_place_of_older_ones(fork: Fork, repository: Repository) -> None:
    reports.publish(repository, "pulls/1/aaa", {"x": b"1"}, instead_of="pulls/1")
    reports.publish(repository, "pulls/12/aaa", {"x": b"1"}, instead_of="pulls/12")
    reports.publish(repository, "pulls/1/bbb", {"x": b"2"}, instead_of="pulls/1")
    assert listed(fork) == ["pulls/1/bbb/x", "pulls/12/aaa/x"]


def test_two_who_publish_at_once_both_get_through(tmp_path: Path, fork: Fork) -> None:
    clones = [fork.root, *(tmp_path / name for name in ("b", "c"))]
    for root in clones[1:]:
        subprocess.run(["git", "clone", "-q", str(fork.remote), str(root)], check=True)
        configure(root)
    faults: list[Exception] = []

    def publish(root: Path) -> None:
        try:
            for at in range(3):
                reports.publish(Repository(root, "main", "x"), f"commits/{root.name}-{at}", {"x": b"1"})
        except Exception as error:  # noqa: BLE001 - told below
            faults.append(error)

    threads = [threading.Thread(target=publish, args=(root,)) for root in clones]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert faults == []
    assert len(listed(fork)) == 9


def test_branch_that_holds_too_much_begins_anew_with_the_newest(
    fork: Fork, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_FOLDERS", 4)
    for at in range(6):
        reports.publish(repository, f"pulls/{at}/a", {"x": b"1"})
    reports.publish(repository, "commits/a", {"x": b"1"})
    assert listed(fork) == ["commits/a/x", "pulls/3/a/x", "pulls/4/a/x", "pulls/5/a/x"]
    assert commits(fork) == 3  # anew with 3 and 4, on with 5, on with the commit
    index = json.loads(reports.read(repository, reports.INDEX) or b"")
    assert [name for name, _ in index] == ["pulls/3/a", "pulls/4/a", "pulls/5/a", "commits/a"]


def test_beginning_anew_takes_nothing_from_whoever_pushed_meanwhile(
    tmp_path: Path, fork: Fork, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_FOLDERS", 2)
    for at in range(2):
        reports.publish(repository, f"pulls/{at}/a", {"x": b"1"})
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(fork.remote), str(other)], check=True)
    configure(other)
    pushes = iter([True])
    push = Repository.push

    def late(
        self: Repository, commit: str, branch: str, expected: str | None = None, *, replace: bool = False
    ) -> str | None:
        if next(pushes, False):
            reports.publish(Repository(other, "main", "x"), "commits/theirs", {"x": b"theirs"})
        return push(self, commit, branch, expected, replace=replace)

    monkeypatch.setattr(Repository, "push", late)
    reports.publish(repository, "pulls/9/a", {"x": b"1"})
    assert "commits/theirs/x" in listed(fork)
    assert "pulls/9/a/x" in listed(fork)


def test_remote_that_takes_no_push_is_said_after_few_tries(fork: Fork, repository: Repository) -> None:
    hook = fork.remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitError, match=r"'reports' takes no push: .*protected"):
        reports.publish(repository, "commits/a", {"x": b"1"})


@pytest.mark.parametrize("index", [b"not json", b'{"a": 1}', b"[1]"])
def test_index_that_somebody_broke_is_written_anew(fork: Fork, repository: Repository, index: bytes) -> None:
    reports.publish(repository, "commits/a", {"x": b"1"})
    tip = repository.tip(reports.BRANCH)
    assert tip is not None
    assert repository.push(repository.commit(tip, {reports.INDEX: index}, "broken"), reports.BRANCH) is None
    reports.publish(repository, "commits/b", {"x": b"1"})
    assert json.loads(reports.read(repository, reports.INDEX) or b"") == [["commits/b", 1]]
    assert listed(fork) == ["commits/b/x"]


@pytest.mark.parametrize("path", ["", "/x", "../x", "a/../b", "a//b", "a b", "a/.", "ä/x", "a\nb", "-/\t"])
def test_path_that_leads_elsewhere_is_refused(repository: Repository, path: str) -> None:
    for folder, files in ((path, {"x": b""}), ("commits/a", {path: b""})):
        with pytest.raises(ValueError, match="is no path on branch"):
            reports.publish(repository, folder, files)
    with pytest.raises(ValueError, match="is no path on branch"):
        reports.read(repository, path)


def folders(kind: str, sizes: list[int]) -> list[Folder]:
    return [Folder(f"{kind}/{at}", size) for at, size in enumerate(sizes)]


def test_size_counts_as_well_as_number() -> None:
    third = reports.MOST_BYTES // 3
    kept = keep(folders("pulls", [third, third]), Folder("pulls/new", third + 10), "pulls/new")
    assert kept.anew
    assert [one.name for one in kept.folders] == ["pulls/new"]


def test_many_pull_requests_do_not_push_out_reports_of_commits() -> None:
    there = [*folders("commits", [10] * 5), *folders("pulls", [10] * reports.MOST_FOLDERS)]
    kept = keep(there, Folder("pulls/new", 10), "pulls/new")
    assert kept.anew
    assert sum(one.name.startswith("commits/") for one in kept.folders) == 5
    assert sum(one.name.startswith("pulls/") for one in kept.folders) == reports.MOST_FOLDERS // 2
