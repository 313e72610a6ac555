"""Releases through real git, real kustomize, real images: what reaches main, what never does, and who may go back."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import image
from pipeline.cli_delivery import delivery
from pipeline.delivery.checks import Finding, check_change, check_releases
from pipeline.delivery.history import HELD, MANIFESTS, RELEASE, folder
from pipeline.delivery.hold import hold, unhold
from pipeline.delivery.models import DeliveryError, read_holds, read_release
from pipeline.delivery.push import How
from pipeline.delivery.rollback import revert_aborted, rollback
from pipeline.errors import UnavailableError
from pipeline.oci import ImageError
from pipeline.verdict import Decision
from tests import deliveries
from tests.deliveries import BRANCH, PUSH, Fork, outcome_of, overlay, say, start_release

STAGING, PRODUCTION = folder("staging"), folder("production")
Again = Callable[[], Fork]


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fork with one bundle and no release yet."""
    where = tmp_path_factory.mktemp("began")
    deliveries.fork(where).train(1.0)
    return where


@pytest.fixture(scope="module")
def went_on(began: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after three releases to staging."""
    where = tmp_path_factory.mktemp("went-on")
    made = copied(began, where / "copy")
    made.release()
    made.pull()
    made.released(2.0)
    made.released(3.0)
    return where / "copy"


@pytest.fixture
def fork(began: Path, tmp_path: Path) -> Fork:
    return copied(began, tmp_path / "fork")


@pytest.fixture
def three(went_on: Path, tmp_path: Path) -> Fork:
    return copied(went_on, tmp_path / "three")


def copied(where: Path, to: Path) -> Fork:
    """A copy with its own remote."""
    shutil.copytree(where, to, symlinks=True)
    made = Fork(to / "clone", to / "remote.git")
    made.git("remote", "set-url", "origin", str(made.remote))
    return made


def identities(made: Fork, env: str = "staging") -> list[str]:
    """Identities released, oldest first."""
    return [one.identity for _, one in reversed([*made.timeline(env).releases()])]


def releases_of(made: Fork) -> list[str]:
    return [subject for subject in made.subjects() if subject.startswith("release(")]


def findings(found: tuple[Finding, ...]) -> str:
    return "\n".join(one.text for one in found)


# Releasing


def test_release_is_one_commit_that_names_all_it_is_made_of(fork: Fork) -> None:
    source, reference = fork.git("rev-parse", "HEAD"), fork.image()
    found = fork.release()
    assert (found.outcome, found.branch, found.exit_code) == ("pushed", "main", 0)
    made = fork.files()
    release = read_release(made[RELEASE], RELEASE)
    assert (release.source, release.identity) == (source, found.identity)
    assert release.image == f"{deliveries.REGISTRY}@{reference.partition('@')[2]}"
    assert release.code.image == image.inspect(reference).code
    assert release.expects.max_ks == 1
    assert fork.git("rev-parse", f"{found.commit}^") == source
    changed = fork.git("diff", "--name-only", source, str(found.commit)).splitlines()
    assert changed == [f"{STAGING}/{name}" for name in ("bundle.dvc", "manifests.yaml", "release.yaml")]
    trailers = fork.git("show", "-s", "--format=%(trailers:key=Identity,valueonly)", str(found.commit))
    assert trailers == release.identity


def test_same_release_twice_is_one_commit(fork: Fork) -> None:
    first, second = fork.release(), fork.release()
    assert (first.outcome, second.outcome) == ("pushed", "nothing")
    assert first.identity == second.identity
    assert len(releases_of(fork)) == 1


def test_ten_unrelated_commits_release_nothing(fork: Fork) -> None:
    fork.release()
    for at in range(10):
        fork.pull()
        fork.commit(f"unrelated {at}", {"docs/notes.md": str(at), "tests/test_x.py": f"# {at}\n"})
        if at in {0, 9}:
            assert fork.release().outcome == "nothing"
    assert len(releases_of(fork)) == 1


def test_change_of_the_base_alone_is_released_with_the_same_bundle(fork: Fork) -> None:
    first = fork.release()
    fork.pull()
    rollout = {**deliveries.rollout(), "metadata": {"name": "flightline", "labels": {"a": "b"}}}
    fork.commit("base", {"k8s/base/rollout.yaml": deliveries.dump(rollout)})
    second = fork.release()
    assert (second.outcome, second.version) == ("pushed", first.version)
    assert second.identity != first.identity
    assert read_release(fork.files()[RELEASE], RELEASE).expects.ks == 0


def test_expectations_are_measured_against_what_the_trusted_remote_gives_back(three: Fork) -> None:
    before, now = (version for _, version in reversed([(c, r.version) for c, r in three.timeline().releases()][:2]))
    release = read_release(three.files()[RELEASE], RELEASE)
    assert (release.version, release.expects.released, release.expects.ks) == (now, before, 0.0625)


def test_released_bundle_out_of_reach_stops_the_release_and_names_the_remote(three: Fork) -> None:
    three.train(4.0)
    shutil.rmtree(three.remote.parent / "trusted")
    with pytest.raises(UnavailableError, match="'trusted'"):
        three.release()


def test_dry_run_shows_what_would_be_committed(fork: Fork) -> None:
    before = fork.git("ls-remote", "origin")
    found = fork.release(How(push=True, dry_run=True))
    assert (found.outcome, fork.git("ls-remote", "origin")) == ("shown", before)
    assert '+    flightline/max-ks: "1"' in (found.diff or "")


def test_branch_is_prepared_once_and_main_stays(fork: Fork) -> None:
    main, first = fork.repository.fetch(), fork.release(BRANCH)
    assert (first.outcome, first.branch) == ("prepared", f"release/staging/{str(first.identity)[:12]}")
    assert fork.release(BRANCH).commit == first.commit
    assert fork.repository.fetch() == main
    fork.merge(str(first.branch))
    assert fork.release(BRANCH).outcome == "nothing"


def test_work_in_progress_is_neither_released_nor_touched(fork: Fork) -> None:
    (fork.root / "k8s/base/rollout.yaml").write_text("kind: Nonsense\n")
    before = fork.git("status", "--porcelain")
    assert fork.release().outcome == "pushed"
    assert fork.git("status", "--porcelain") == before


# What is refused


def unmerged(made: Fork) -> str:
    made.git("commit", "-q", "--allow-empty", "-m", "mine")
    return made.image()


def other_bundle(made: Fork) -> str:
    reference = made.image()
    made.train(9.0)
    return reference


def other_code(made: Fork) -> str:
    reference = made.image()
    made.commit("code", {"serving/__init__.py": "# new\n"})
    return reference


def by_tag(made: Fork) -> str:
    return made.image().partition("@")[0]


def elsewhere(made: Fork) -> str:
    return f"registry.example.com/other@{made.image().partition('@')[2]}"


def nowhere(made: Fork) -> str:
    return f"{made.image().partition('@')[0]}@sha256:{'0' * 64}"


def unlocked(made: Fork) -> str:
    lock = yaml.safe_load((made.root / "dvc.lock").read_text())
    lock["stages"]["bundle"]["outs"][0]["md5"] = f"{'0' * 32}.dir"
    made.commit("another lock", {"dvc.lock": deliveries.dump(lock)})
    return made.image()


def failed(made: Fork) -> str:
    version = image.inspect(made.image()).bundle
    made.judge(version, decision=Decision.FAIL, reason="worse by 3 %")
    return made.image()


def other_verdict(made: Fork) -> str:
    made.judge("0" * 64)
    return made.image()


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (unmerged, "is not on main"),
        (other_bundle, "holds bundle .*image append"),
        (other_code, "its code was made of inputs .*image build"),
        (by_tag, "by digest"),
        (elsewhere, "nodes pull from registry.example.com/flightline"),
        (nowhere, "0000 was asked for"),
        (unlocked, "dvc.lock at .* names 0000.*repro"),
        (failed, "worse by 3 %"),
        (other_verdict, "is about bundle 000000000000"),
    ],
)
def test_release_of_what_does_not_belong_together_names_what_and_the_fix(
    fork: Fork, prepare: Callable[[Fork], str], why: str
) -> None:
    reference, before = prepare(fork), fork.git("ls-remote", "origin")
    with pytest.raises((DeliveryError, ImageError), match=why):
        fork.release(PUSH, reference)
    assert fork.git("ls-remote", "origin") == before


def test_older_run_that_finishes_late_is_refused(fork: Fork, tmp_path: Path) -> None:
    late = fork.clone(tmp_path / "late")
    shutil.copytree(fork.remote.parent / "trusted", tmp_path / "trusted")
    fork.released(2.0)
    found = late.release()
    assert (found.outcome, found.exit_code) == ("refused", 1)
    assert "older run" in found.reason
    assert len(releases_of(fork)) == 1


def test_older_run_is_refused_after_a_rollback_too(three: Fork, tmp_path: Path) -> None:
    """Back at the first, the second's source builds on what is released, and still is no news."""
    second = three.clone(tmp_path / "second")
    (_, _), (_, between), (_, first) = three.timeline().releases()
    assert rollback(three.context, "staging", first.identity[:12], "", PUSH, say).outcome == "pushed"
    second.git("checkout", "-q", between.source)
    second.make(2.0)
    found = second.release()
    assert (found.outcome, "older run" in found.reason) == ("refused", True)


def test_release_that_was_reverted_is_refused_until_unhold(three: Fork) -> None:
    newest = identities(three)[-1]
    three.git("revert", "--no-edit", "HEAD")
    three.git("push", "-q", "origin", "HEAD:main")
    refused = three.release()
    assert (refused.outcome, "flightline unhold" in refused.reason) == ("refused", True)
    let_go = unhold(three.context, "staging", newest[:12], "the data was late, not the model", PUSH, say)
    assert let_go.outcome == "pushed"
    (line,) = read_holds(three.repository.files(three.repository.fetch(), STAGING)[HELD], HELD)
    assert line.permitted is not None
    assert (line.permitted.by, line.permitted.reason) == (
        "Test <test@example.com>",
        "the data was late, not the model",
    )
    assert three.release().outcome == "pushed"
    assert identities(three)[-1] == newest


def test_fix_is_released_after_a_revert(three: Fork) -> None:
    three.git("revert", "--no-edit", "HEAD")
    three.git("push", "-q", "origin", "HEAD:main")
    assert three.released(4.0).outcome == "pushed"


# Going back


def test_rollback_writes_the_very_files_and_holds_what_they_replace(three: Fork) -> None:
    newest, oldest = identities(three)[-1], [*three.timeline().releases()][-1]
    wanted = three.files(commit=oldest[0])
    found = rollback(three.context, "staging", oldest[1].version[:12], "latency", PUSH, say)
    assert (found.outcome, found.identity) == ("pushed", oldest[1].identity)
    assert three.files() == wanted
    (line,) = read_holds(three.repository.files(str(found.commit), STAGING)[HELD], HELD)
    assert (line.identity, line.reason, line.permitted) == (newest, "latency", None)
    assert three.release().outcome == "refused"
    assert rollback(three.context, "staging", newest[:12], "", PUSH, say).outcome == "refused"
    assert rollback(three.context, "staging", oldest[1].identity, "", PUSH, say).outcome == "nothing"


def test_rollback_crosses_a_merge_and_a_revert(three: Fork) -> None:
    oldest = [*three.timeline().releases()][-1]
    three.train(4.0)
    prepared = three.release(BRANCH)
    three.merge(str(prepared.branch))
    three.git("revert", "--no-edit", "-m", "1", "HEAD")
    three.git("push", "-q", "origin", "HEAD:main")
    assert len(identities(three)) == 5
    found = rollback(three.context, "staging", oldest[0][:12], "", PUSH, say)
    assert found.outcome == "pushed"
    assert three.files() == three.files(commit=oldest[0])
    assert len(three.timeline().held) == 2


def test_rollback_in_a_branch_holds_when_it_is_merged(three: Fork) -> None:
    newest = identities(three)[-1]
    found = rollback(three.context, "staging", identities(three)[0][:12], "", BRANCH, say)
    assert found.branch == f"rollback/staging/{newest[:12]}"
    assert newest not in three.timeline().held
    three.merge(str(found.branch))
    assert newest in three.timeline().held


def test_abort_reverts_and_holds_the_identity_that_is_still_released(three: Fork) -> None:
    _, middle, newest = identities(three)
    stale = revert_aborted(three.context, "staging", middle, "", BRANCH, say)
    assert (stale.outcome, stale.exit_code) == ("nothing", 0)
    found = revert_aborted(three.context, "staging", newest, "error ratio", BRANCH, say)
    assert (found.outcome, found.identity) == ("prepared", middle)
    assert revert_aborted(three.context, "staging", newest, "error ratio", BRANCH, say).commit == found.commit
    three.merge(str(found.branch))
    assert newest in three.timeline().held
    assert revert_aborted(three.context, "staging", newest, "", BRANCH, say).outcome == "nothing"


def test_hold_stops_a_promotion_before_it_starts(three: Fork) -> None:
    newest = identities(three)[-1]
    assert hold(three.context, "production", newest[:12], "not before Monday", PUSH, say).outcome == "pushed"
    refused = three.promote()
    assert (refused.outcome, "not before Monday" in refused.reason) == ("refused", True)
    assert unhold(three.context, "production", newest[:12], "it is Monday", PUSH, say).outcome == "pushed"
    assert three.promote().outcome == "prepared"


# Promotion


def test_promotion_is_the_same_image_in_production_s_overlay_on_a_branch(three: Fork) -> None:
    main, found = three.repository.fetch(), three.promote()
    assert (found.outcome, found.branch) == ("prepared", f"promote/{str(found.identity)[:12]}")
    assert three.repository.fetch() == main
    staging, production = three.files(), three.files("production", str(found.commit))
    one, other = (read_release(files[RELEASE], RELEASE) for files in (staging, production))
    assert (one.image, one.source, one.identity) == (other.image, other.source, other.identity)
    assert b"namespace: flightline-production" in production[MANIFESTS]
    assert b"flightline-traffic" not in production[MANIFESTS]
    assert (other.expects.released, one.expects.released is None) == (None, False)


def test_promotion_is_merged_once(three: Fork) -> None:
    three.promoted()
    assert three.promote().outcome == "nothing"
    assert len(identities(three, "production")) == 1


def test_change_of_production_s_overlay_reaches_it_by_a_release_and_a_promotion(three: Fork) -> None:
    three.promoted()
    three.pull()
    changed = overlay("production", commonAnnotations={"a": "b"})
    three.commit("production only", {"k8s/overlays/production/kustomization.yaml": changed})
    assert three.promote().outcome == "nothing"
    assert three.release().outcome == "pushed"
    three.promoted()
    assert b"    a: b" in three.files("production")[MANIFESTS]


def test_promotion_that_was_reverted_is_refused(three: Fork) -> None:
    three.promoted()
    three.git("revert", "--no-edit", "-m", "1", "HEAD")
    three.git("push", "-q", "origin", "HEAD:main")
    assert three.promote().outcome == "refused"


def test_staging_that_went_back_does_not_take_production_back(three: Fork) -> None:
    three.promoted()
    rollback(three.context, "staging", identities(three)[0][:12], "", PUSH, say)
    assert three.promote().outcome == "refused"


def test_promotion_takes_no_push(three: Fork) -> None:
    with pytest.raises(DeliveryError, match="pull request"):
        three.promote(PUSH)


def test_staging_edited_by_hand_is_not_promoted(three: Fork) -> None:
    path = three.root / STAGING / MANIFESTS
    three.commit("edit", {f"{STAGING}/{MANIFESTS}": path.read_text().replace("name: server", "name: sewer")})
    with pytest.raises(DeliveryError, match="sewer"):
        three.promote()


# Two at once, and killed


def test_two_releases_of_one_candidate_at_once_are_one_commit(fork: Fork, tmp_path: Path) -> None:
    """Within one second both make the very same commit, and then both may say that they pushed it."""
    other = fork.clone(tmp_path / "other")
    running = [(one, start_release(one, one.image())) for one in (fork, other)]
    found = [outcome_of(one, process) for one, process in running]
    assert "pushed" in found
    assert set(found) <= {"nothing", "pushed"}
    assert len(releases_of(fork)) == 1


def test_two_releases_of_two_candidates_at_once_end_with_the_newer(fork: Fork, tmp_path: Path) -> None:
    older = fork.clone(tmp_path / "older")
    shutil.copytree(fork.remote.parent / "trusted", tmp_path / "trusted")
    fork.train(2.0)
    running = [(one, start_release(one, one.image())) for one in (older, fork)]
    found = [outcome_of(one, process) for one, process in running]
    assert found in (["pushed", "pushed"], ["refused", "pushed"])
    assert fork.timeline().identity == identities(fork)[-1]
    assert read_release(fork.files()[RELEASE], RELEASE).source == fork.git("rev-parse", "HEAD")


def shim(folder: Path, name: str) -> Path:
    """A program of that name that counts its calls, and kills its caller once the n-th is done."""
    folder.mkdir()
    (folder / name).write_text(
        f"""#!/bin/bash
echo call >> "$SHIM_COUNT"
calls=$(wc -l < "$SHIM_COUNT")
{shutil.which(name)} "$@"
code=$?
[ "$calls" = "$SHIM_KILL" ] && kill -9 $PPID
exit $code
"""
    )
    (folder / name).chmod(0o755)
    return folder


def killed(made: Fork, reference: str, shims: Path, at: int) -> tuple[int | None, int]:
    """(exit code, calls of git) of a release that is killed after its n-th call of git; 0: never."""
    count = shims / f"count-{at}"
    path = f"{shims}{os.pathsep}{os.environ['PATH']}"
    process = start_release(made, reference, PATH=path, SHIM_COUNT=str(count), SHIM_KILL=str(at))
    process.join(120)
    return process.exitcode, len(count.read_text().splitlines())


@pytest.mark.slow
def test_release_killed_between_any_two_steps_is_finished_by_the_next(fork: Fork, tmp_path: Path) -> None:
    """Each call of git is a step: the run is killed after every one, and each time the next run must end it."""
    shims, main, reference = shim(tmp_path / "shims", "git"), fork.repository.fetch(), fork.image()
    code, steps = killed(fork, reference, shims, 0)
    assert (code, steps > 15) == (0, True)
    outcomes = []
    for at in range(1, steps + 1):
        fork.git("push", "-q", "--force", "origin", f"{main}:refs/heads/main")
        assert killed(fork, reference, shims, at)[0] == -signal.SIGKILL, f"step {at} did not come"
        outcomes.append(fork.release(PUSH, reference).outcome)
        assert len(releases_of(fork)) == 1, f"killed after step {at}"
        assert fork.git("status", "--porcelain") == ""
    assert outcomes == ["pushed"] * (steps - 1) + ["nothing"]


# Checks


def test_what_machines_wrote_passes_the_check(three: Fork) -> None:
    three.promoted()
    three.pull()
    rollback(three.context, "staging", identities(three)[0][:12], "", PUSH, say)
    three.pull()
    assert check_releases(three.context) == ()


def test_fork_without_releases_passes_the_check(fork: Fork) -> None:
    assert check_releases(fork.context) == ()


def replaced(name: str, old: str, new: str) -> Callable[[Fork], None]:
    def edit(made: Fork) -> None:
        path = made.root / STAGING / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def added(name: str, text: str) -> Callable[[Fork], None]:
    def edit(made: Fork) -> None:
        (made.root / STAGING / name).parent.mkdir(exist_ok=True)
        (made.root / STAGING / name).write_text(text)

    return edit


def removed(made: Fork) -> None:
    (made.root / STAGING / "bundle.dvc").unlink()


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (replaced("manifests.yaml", "name: server", "name: sewer"), r"line \d+ is '- ?name: sewer|name: sewer"),
        (replaced("manifests.yaml", "flightline/max-ks:", "flightline/maximum:"), "maximum"),
        (replaced("release.yaml", "max_ks: 0.1625", "max_ks: 0.9"), "0.9"),
        (replaced("release.yaml", "identity: ", "identity: 00"), "identity"),
        (replaced("release.yaml", "environment: staging", "environment: production"), "folder of 'staging'"),
        (replaced("release.yaml", "registry.example.com/", "evil.example.com/"), "evil.example.com"),
        (replaced("bundle.dvc", "nfiles: 8", "nfiles: 9"), "bundle.dvc"),
        (removed, "bundle.dvc missing"),
        (added("more.yaml", "kind: Secret\n"), "more.yaml does not belong"),
        (added("sub/more.yaml", "kind: Secret\n"), "sub/more.yaml does not belong"),
        (added("held.yaml", "- identity: x\n"), "held.yaml"),
    ],
)
def test_hand_edit_is_found_and_said(three: Fork, edit: Callable[[Fork], None], why: str) -> None:
    edit(three)
    found = check_releases(three.context)
    assert len(found) == 1
    assert found[0].path == STAGING
    assert re.search(why, found[0].problem)


def committed(made: Fork, edit: Callable[[Fork], None]) -> tuple[str, str]:
    """(base, head) of a branch with one edit."""
    base = made.git("rev-parse", "HEAD")
    made.git("checkout", "-q", "-b", "by-hand")
    edit(made)
    made.git("add", "-A")
    made.git("commit", "-qm", "by hand")
    return base, "HEAD"


def test_revert_of_the_newest_release_is_accepted_by_hand(three: Fork) -> None:
    base = three.git("rev-parse", "HEAD")
    three.git("revert", "--no-edit", "HEAD")
    assert check_change(three.context, base, "HEAD") == ()


def test_rollback_hold_and_unhold_are_accepted(three: Fork) -> None:
    base, newest = three.repository.fetch(), identities(three)[-1]
    found = rollback(three.context, "staging", identities(three)[0][:12], "", PUSH, say)
    assert check_change(three.context, base, str(found.commit)) == ()
    let_go = unhold(three.context, "staging", newest[:12], "sound after all", PUSH, say)
    assert check_change(three.context, str(found.commit), str(let_go.commit)) == ()


@pytest.mark.parametrize(
    "edit",
    [
        replaced("manifests.yaml", "name: server", "name: sewer"),
        replaced("release.yaml", "max_ks: 0.1625", "max_ks: 0.9"),
        removed,
        added("more.yaml", "kind: Secret\n"),
    ],
)
def test_anything_else_by_hand_is_refused(three: Fork, edit: Callable[[Fork], None]) -> None:
    base, head = committed(three, edit)
    assert findings(check_change(three.context, base, head))


def test_line_of_the_held_list_cannot_be_removed_by_hand(three: Fork) -> None:
    rollback(three.context, "staging", identities(three)[0][:12], "", PUSH, say)
    three.pull()
    base, head = committed(three, lambda made: (made.root / STAGING / HELD).unlink())
    assert "flightline unhold" in findings(check_change(three.context, base, head))


def test_promotion_is_accepted_for_what_it_holds_whatever_its_branch_is_called(three: Fork) -> None:
    base, found = three.repository.fetch(), three.promote(How(branch="a-person-s/branch"))
    assert check_change(three.context, base, str(found.commit)) == ()


def test_prepared_release_that_was_overtaken_is_refused(three: Fork) -> None:
    """Its branch was made before a newer one was released and reverted: merged now, it would bring an old one."""
    three.train(4.0)
    old = three.release(How(branch="old"))
    three.released(5.0)
    base = three.repository.fetch()
    assert "does not build" in findings(check_change(three.context, base, str(old.commit)))


def test_promotion_of_what_staging_has_held_since_is_refused(three: Fork) -> None:
    newest, found = identities(three)[-1], three.promote()
    hold(three.context, "staging", newest[:12], "drifts", PUSH, say)
    base = three.repository.fetch()
    assert "held in staging" in findings(check_change(three.context, base, str(found.commit)))


def test_prepared_release_stays_refused_once_the_newer_one_went_back(three: Fork) -> None:
    standing = identities(three)[-1]
    three.train(4.0)
    old = three.release(How(branch="old"))
    three.released(5.0)
    rollback(three.context, "staging", standing[:12], "slow", PUSH, say)
    base = three.repository.fetch()
    assert "older run" in findings(check_change(three.context, base, str(old.commit)))


def test_main_merged_into_a_branch_is_refused_since_it_would_hide_releases(three: Fork) -> None:
    began = three.git("rev-parse", "HEAD~2")
    three.git("checkout", "-q", "-b", "feature", began)
    three.git("commit", "-q", "--allow-empty", "-m", "a feature")
    assert check_change(three.context, "main", "HEAD") == ()
    three.git("merge", "-q", "--no-edit", "main")
    assert "git rebase main" in findings(check_change(three.context, "main", "HEAD"))


def test_branch_merged_into_main_is_accepted(three: Fork) -> None:
    base = three.git("rev-parse", "HEAD")
    three.git("checkout", "-q", "-b", "feature", "HEAD~2")
    three.git("commit", "-q", "--allow-empty", "-m", "a feature")
    three.git("checkout", "-q", "main")
    three.git("merge", "-q", "--no-ff", "--no-edit", "feature")
    assert check_change(three.context, base, "HEAD") == ()


def test_changes_elsewhere_are_not_looked_at(three: Fork) -> None:
    base = three.git("rev-parse", "HEAD")
    three.commit("elsewhere", {"k8s/base/rollout.yaml": "nonsense"})
    assert check_change(three.context, base, "HEAD") == ()


# The command line


def flightline(made: Fork, *words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    from typer.testing import CliRunner

    monkeypatch.chdir(made.root)
    done = CliRunner().invoke(delivery, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value or 0), done.stdout


def test_verbs_print_one_document_for_programs(three: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = identities(three)[-1]
    words = ("rollback", "--env", "staging", "--aborted", newest, "--reason", "slow", "--push", "--json")
    code, printed = flightline(three, *words, monkeypatch=monkeypatch)
    assert (code, json.loads(printed)["outcome"]) == (0, "pushed")
    code, printed = flightline(three, "release", "--image", three.image(), "--json", monkeypatch=monkeypatch)
    assert (code, json.loads(printed)["outcome"]) == (1, "refused")


def test_release_goes_to_the_first_environment_alone(three: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeliveryError, match="flightline promote"):
        flightline(three, "release", "--image", three.image(), "--env", "production", monkeypatch=monkeypatch)
    with pytest.raises(DeliveryError, match="canada"):
        flightline(three, "release", "--image", three.image(), "--env", "canada", monkeypatch=monkeypatch)
