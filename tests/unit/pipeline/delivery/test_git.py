"""Git, really: a commit beside the work tree, a push that takes nothing from anybody, merges and reverts."""

import subprocess
from pathlib import Path

import pytest

from pipeline.delivery.git import Repository
from pipeline.delivery.history import RELEASE, folder, timeline
from pipeline.delivery.models import DeliveryError, write_release
from pipeline.delivery.push import Change, Decision, How, Plan, Settled, deliver
from pipeline.errors import GitError
from tests.deliveries import Fork, configure, say
from tests.unit.pipeline.delivery.releases import release

WHERE = folder("staging")


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    """A clone of a remote whose main has one file."""
    remote, root = tmp_path / "remote.git", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    subprocess.run(["git", "clone", "-q", str(remote), str(root)], check=True, capture_output=True)
    configure(root)
    made = Fork(root, remote)
    made.git("checkout", "-q", "-b", "main")
    made.commit("first", {"README.md": "hello\n"})
    return made


@pytest.fixture
def repository(fork: Fork) -> Repository:
    return Repository(fork.root, "main", "flightline")


def put(fork: Fork, letter: str) -> str:
    """Release something, as a commit on main."""
    return fork.commit(f"release {letter}", {f"{WHERE}/{RELEASE}": write_release(release(letter)).decode()})


def history(repository: Repository) -> str:
    found = timeline(repository, repository.fetch(), "staging").releases()
    return "".join(bytes.fromhex(one.identity[:2]).decode() for _, one in reversed([*found]))


def test_commit_touches_neither_work_tree_nor_index(fork: Fork, repository: Repository) -> None:
    (fork.root / "README.md").write_text("half done\n")
    (fork.root / "staged.md").write_text("staged\n")
    fork.git("add", "staged.md")
    before = fork.git("status", "--porcelain=v2", "--branch")
    made = repository.commit(fork.git("rev-parse", "HEAD"), {"README.md": None, "deep/er/file": b"new\n"}, "made\n")
    assert fork.git("status", "--porcelain=v2", "--branch") == before
    assert fork.git("show", "--name-status", "--format=%s", made) == "made\n\nD\tREADME.md\nA\tdeep/er/file"


def test_snapshot_has_another_checkout_as_it_is_and_changes_nothing_of_it(fork: Fork, tmp_path: Path) -> None:
    fork.commit("more", {"gone.md": "gone\n", ".gitignore": "ignored/\n"})
    (fork.root / "README.md").write_text("half done\n")
    (fork.root / "gone.md").unlink()
    (fork.root / "run.sh").write_text("#!/bin/sh\n")
    (fork.root / "run.sh").chmod(0o755)
    (fork.root / "ignored").mkdir()
    (fork.root / "ignored/big").write_text("big\n")
    before = fork.git("status", "--porcelain=v2", "--branch"), fork.git("count-objects", "-v")
    subprocess.run(["git", "clone", "-q", "--shared", str(fork.root), str(tmp_path / "copy")], check=True)
    there = Repository(tmp_path / "copy", "main", "flightline")
    made = there.snapshot(fork.root, there.head(), "as it is\n")
    assert (fork.git("status", "--porcelain=v2", "--branch"), fork.git("count-objects", "-v")) == before
    assert there.text("show", "--raw", "--no-abbrev", "--format=%s", made).count("100755") == 1
    assert there.text("show", "--name-status", "--format=%s", made) == "as it is\n\nM\tREADME.md\nD\tgone.md\nA\trun.sh"
    assert there.text("status", "--porcelain") == ""


def test_commit_of_somebody_whom_git_does_not_know_is_the_project_s(
    fork: Fork, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork.git("config", "--unset", "user.email")
    fork.git("config", "user.useConfigOnly", "true")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.delenv("EMAIL", raising=False)
    made = repository.commit(repository.head(), {"a": b"b"}, "made\n")
    assert fork.git("show", "-s", "--format=%cn <%ce>", made) == "flightline <flightline@localhost>"


def test_fetch_brings_main_and_moves_no_ref(fork: Fork, repository: Repository, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(fork.remote), str(other)], check=True)
    configure(other)
    there = Fork(other, fork.remote).commit("theirs", {"theirs": "x"})
    refs = fork.git("for-each-ref")
    assert repository.fetch() == there
    assert repository.contains(there, repository.head())
    assert fork.git("for-each-ref") == refs


def test_files_of_a_commit_are_read_byte_for_byte(fork: Fork, repository: Repository) -> None:
    fork.commit("binary", {"a/b.txt": "missing\nline without end", "a/empty": "", "a/c/deeper": "x"})
    assert repository.files("HEAD", "a") == {
        "b.txt": b"missing\nline without end",
        "c/deeper": b"x",
        "empty": b"",
    }
    assert repository.blobs(["HEAD:a/b.txt", "HEAD:nope", "HEAD:a/empty"]) == [b"missing\nline without end", None, b""]
    assert repository.files("HEAD", "nowhere") == {}


def test_history_is_main_s_own_line(fork: Fork, repository: Repository) -> None:
    """What a branch tried on the way is not what was released; its merge is."""
    put(fork, "A")
    fork.git("checkout", "-q", "-b", "promote")
    for letter in "XYB":
        (fork.root / WHERE / RELEASE).write_bytes(write_release(release(letter)))
        fork.git("commit", "-qam", letter)
    fork.git("checkout", "-q", "main")
    fork.commit("unrelated", {"README.md": "more\n"})
    fork.git("merge", "-q", "--no-ff", "-m", "Merge promote", "promote")
    fork.git("push", "-q", "origin", "main")
    assert history(repository) == "AB"


def test_reverts_of_a_commit_and_of_a_merge_are_steps_back(fork: Fork, repository: Repository) -> None:
    put(fork, "A")
    put(fork, "B")
    fork.git("revert", "--no-edit", "HEAD")
    fork.git("checkout", "-q", "-b", "next")
    (fork.root / WHERE / RELEASE).write_bytes(write_release(release("C")))
    fork.git("commit", "-qam", "C")
    fork.git("checkout", "-q", "main")
    fork.git("merge", "-q", "--no-ff", "-m", "Merge next", "next")
    fork.git("revert", "--no-edit", "-m", "1", "HEAD")
    fork.git("push", "-q", "origin", "main")
    found = timeline(repository, repository.fetch(), "staging")
    assert history(repository) == "ABACA"
    assert sorted(one[:2] for one in found.held) == ["42", "43"]


def test_release_that_cannot_be_read_stops_only_where_it_stands(fork: Fork, repository: Repository) -> None:
    put(fork, "A")
    fork.commit("spoilt", {f"{WHERE}/{RELEASE}": "identity: {"})
    with pytest.raises(ValueError, match="on main: not YAML"):
        timeline(repository, repository.fetch(), "staging")
    put(fork, "B")
    assert history(repository) == "AB"


def test_clone_with_part_of_the_history_is_refused(fork: Fork, tmp_path: Path) -> None:
    fork.commit("second", {"pyproject.toml": ""})
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{fork.remote}", str(shallow)], check=True)
    with pytest.raises(GitError, match="--unshallow"):
        Repository.of(Shallow(shallow))  # type: ignore[arg-type]


class Shallow:
    """A context whose settings are not what is tested."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = type("Settings", (), {"branch": "main", "name": "flightline"})


OURS = f"ours\n\nbody\n\nIdentity: {'1' * 64}\n"


def plan_of(*competing: Fork) -> tuple[list[str], Plan]:
    """A plan that adds a file; while it decides for the n-th time, the n-th competitor pushes."""
    seen: list[str] = []

    def plan(main: str) -> Decision:
        seen.append(main)
        if len(seen) <= len(competing):
            competing[len(seen) - 1].commit(f"theirs {len(seen)}", {f"theirs{len(seen)}": "x"})
        return Change("staging", "1" * 64, "2" * 64, {"held.yaml": b"[]\n"}, OURS, "branch/of/ours")

    return seen, plan


def test_push_onto_a_main_that_moved_is_decided_anew(fork: Fork, repository: Repository) -> None:
    seen, plan = plan_of(fork, fork)
    found = deliver(repository, "staging", plan, How(push=True), say)
    assert found.outcome == "pushed"
    assert len(set(seen)) == 3
    assert fork.git("log", "--format=%s", repository.fetch()).splitlines() == ["ours", "theirs 2", "theirs 1", "first"]


def test_remote_that_takes_no_push_is_named_after_a_few_attempts(fork: Fork, repository: Repository) -> None:
    hook = fork.remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho main is protected >&2\nexit 1\n")
    hook.chmod(0o755)
    _, plan = plan_of()
    with pytest.raises(GitError, match=r"main is protected.*prepare a branch"):
        deliver(repository, "staging", plan, How(push=True), say)


def test_branch_that_says_the_same_is_left_alone(fork: Fork, repository: Repository) -> None:
    _, plan = plan_of()
    first = deliver(repository, "staging", plan, How(), say)
    fork.commit("unrelated", {"README.md": "more\n"})
    again = deliver(repository, "staging", plan, How(), say)
    assert (first.outcome, first.branch) == ("prepared", "branch/of/ours")
    assert again.commit == first.commit == repository.tip("branch/of/ours")


def test_branch_that_would_no_longer_merge_is_made_anew(fork: Fork, repository: Repository) -> None:
    _, plan = plan_of()
    first = deliver(repository, "staging", plan, How(), say)
    moved = fork.commit("another release", {f"{WHERE}/held.yaml": "# other\n"})
    again = deliver(repository, "staging", plan, How(), say)
    assert again.commit != first.commit
    assert fork.git("rev-parse", f"{again.commit}^") == moved


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("a person's work", f"{WHERE}/held.yaml"),
        (OURS, "README.md"),  # ours, with other work squashed into it
    ],
)
def test_branch_with_work_that_is_not_ours_is_never_replaced(
    fork: Fork, repository: Repository, message: str, name: str
) -> None:
    theirs = repository.commit(repository.fetch(), {name: b"theirs\n"}, message)
    assert repository.push(theirs, "feature") is None
    with pytest.raises(DeliveryError, match="another name with --branch"):
        deliver(repository, "staging", plan_of()[1], How(branch="feature"), say)
    assert repository.tip("feature") == theirs


def test_branch_of_a_person_that_has_nothing_beside_main_is_not_replaced_either(
    fork: Fork, repository: Repository
) -> None:
    began = repository.fetch()
    assert repository.push(began, "stable") is None
    with pytest.raises(DeliveryError, match="did not prepare"):
        deliver(repository, "staging", plan_of()[1], How(branch="stable"), say)
    assert repository.tip("stable") == began


def test_main_is_no_branch_to_prepare(repository: Repository) -> None:
    before = repository.fetch()
    with pytest.raises(DeliveryError, match="production changes by pull request"):
        deliver(repository, "staging", plan_of()[1], How(branch="main"), say)
    assert repository.fetch() == before


def test_dry_run_shows_the_diff_and_writes_nothing(fork: Fork, repository: Repository) -> None:
    _, plan = plan_of()
    before = fork.git("ls-remote", "origin")
    found = deliver(repository, "staging", plan, How(push=True, dry_run=True), say)
    assert "+[]" in (found.diff or "")
    assert fork.git("ls-remote", "origin") == before


def test_settled_plan_writes_nothing(fork: Fork, repository: Repository) -> None:
    before = fork.git("ls-remote", "origin")
    found = deliver(repository, "staging", lambda _: Settled("refused", "no"), How(push=True), say)
    assert (found.outcome, found.exit_code) == ("refused", 1)
    assert fork.git("ls-remote", "origin") == before


@pytest.mark.parametrize("branch", ["reports", "main"])
def test_branch_whose_name_ends_like_another_s_ref_is_not_that_one(
    fork: Fork, repository: Repository, branch: str
) -> None:
    """Git lists every ref that ends so, and this one first: whoever may push a branch could name it."""
    main = repository.fetch()
    fork.git("checkout", "-q", "-b", "work")
    fork.git("commit", "-q", "--allow-empty", "-m", "planted")
    fork.git("push", "-q", "origin", f"HEAD:refs/heads/a/refs/heads/{branch}", f"HEAD:refs/heads/refs/heads/{branch}")
    assert len(fork.git("ls-remote", "origin", f"refs/heads/{branch}").splitlines()) > 1
    assert repository.tip(branch) == (main if branch == "main" else None)
    assert repository.tip(f"refs/heads/{branch}") == fork.git("rev-parse", "HEAD")


def test_remote_without_main_is_named(fork: Fork) -> None:
    with pytest.raises(GitError, match="trunk"):
        Repository(fork.root, "trunk", "flightline").fetch()
