"""What status makes of an environment, from what git says and what a cluster held (recorded/README.md)."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.context import Context
from pipeline.delivery import status
from pipeline.delivery.cluster import Objects
from pipeline.delivery.models import write_holds, write_release
from pipeline.delivery.standing import Environment, InGit, Status, judge
from pipeline.delivery.status_text import environment_text, text
from tests.unit.pipeline.delivery import api, releases
from tests.unit.pipeline.delivery.recorded import objects, rollout

RELEASED_IN = "5" * 40


def released(letter: str, **changed: Any) -> InGit:
    """What main says after a release of an identity in the recordings."""
    image = f"registry.example.com/flightline@sha256:{letter * 64}"
    said = {"identity": letter * 64, "version": f"{letter * 63}0", "source": letter * 40, "image": image}
    return InGit(**{"main": "6" * 40, "commit": RELEASED_IN, **said, **changed})


def application(
    sync: str = "Synced", health: str = "Healthy", phase: str = "Succeeded", **changed: Any
) -> dict[str, Any]:
    """An Application as Argo CD 3.5 writes its status."""
    operation = {"phase": phase, "message": "successfully synced (all tasks run)"}
    said = {"sync": {"status": sync, "revision": "6" * 40}, "health": {"status": health}, "operationState": operation}
    return {"metadata": {"name": "flightline-staging"}, "status": {**said, **changed}}


def seen(scene: str, letter: str, *, has_release: bool = True, **changed: Any) -> Environment:
    found = objects(scene, **{"application": application(), **changed})
    return judge("staging", released(letter), found, has_release)


@pytest.mark.parametrize(
    ("scene", "letter", "standing", "why"),
    [
        ("healthy", "a", "in step", ""),
        ("reverted", "b", "in step", ""),
        ("timed-pause", "b", "under way", "pause of 8s since 2026-"),
        ("analysing", "b", "under way", "analysis under way: .*score-distance Running at \\[0.03\\] after 1"),
        ("pause-without-end", "b", "waiting", "paused without end, waiting for a human"),
        (
            "inconclusive",
            "c",
            "waiting",
            "inconclusive, waiting for a human .*score-distance Inconclusive at \\[\\] after 3",
        ),
        ("aborted-by-hand", "c", "broken", "aborted; reason given: answers look odd to me; Rollout aborted update"),
        ("aborted-fast-failure", "e", "broken", "Background analysis phase.*error-ratio Failed at \\[0.2\\]"),
        ("aborted-distance", "f", "broken", "Step-based analysis phase.*score-distance Failed at \\[0.4\\]"),
        ("image-missing", "8", "under way", "more replicas need to be updated"),
        ("aborted-deadline", "8", "broken", "has timed out progressing.*Failed to pull image .*sha256:8888.*not found"),
    ],
)
def test_rollout_says_where_it_stands_and_why(scene: str, letter: str, standing: str, why: str) -> None:
    found = seen(scene, letter)
    assert found.standing == standing
    assert bool(found.reasons) == bool(why)
    assert_matches(why, found.reasons[0] if why else "")


def assert_matches(pattern: str, text: str) -> None:
    import re

    assert re.search(pattern, text), text


def test_step_is_counted_and_named() -> None:
    found = seen("inconclusive", "c").rollout
    assert found is not None
    assert (found.step, found.steps, found.doing) == (3, 5, "analysis flightline-promotion")


def test_pods_are_told_apart_by_version_digest_and_role() -> None:
    stable, canary = seen("inconclusive", "c").pods
    assert (stable.role, stable.version, stable.ready, stable.count) == ("stable", f"{'b' * 63}0", 2, 2)
    assert (canary.role, canary.version, canary.digest) == ("canary", f"{'c' * 63}0", f"sha256:{'c' * 64}")


def test_image_that_cannot_be_pulled_is_a_reason_while_the_rollout_still_tries() -> None:
    found = seen("image-missing", "8")
    assert_matches("does not start: ImagePullBackOff: .*not found", found.reasons[1])
    assert [(group.role, group.ready) for group in found.pods] == [("stable", 2), ("canary", 0)]


def test_change_that_the_rollouts_controller_has_not_seen_is_under_way_whatever_its_old_status_says() -> None:
    newer = rollout("healthy")
    newer["metadata"]["generation"] += 1
    found = seen("healthy", "a", rollout=newer)
    assert (found.standing, found.reasons) == (
        "under way",
        ("the Rollouts controller has not seen the newest change",),
    )


def test_reason_that_was_given_for_another_identity_is_not_shown() -> None:
    other = rollout("aborted-by-hand")
    other["metadata"]["annotations"]["flightline/abort-reason"] = f"{'d' * 12} of another time"
    assert "reason given" not in seen("aborted-by-hand", "c", rollout=other).reasons[0]


def test_release_that_argo_cd_has_not_seen_yet_is_under_way() -> None:
    found = seen("healthy", "b", has_release=False)
    assert found.standing == "under way"
    assert found.reasons == (f"Argo CD is at {'6' * 12}, the release is in {RELEASED_IN[:12]}",)


def test_other_identity_than_released_is_out_of_step_once_argo_cd_has_the_release() -> None:
    found = seen("healthy", "b")
    assert (found.standing, found.reasons) == ("broken", (f"main says identity {'b' * 12}, the rollout {'a' * 12}",))


@pytest.mark.parametrize(
    ("argo", "standing", "why"),
    [
        ({"phase": "Failed", "sync": "OutOfSync"}, "broken", "Argo CD could not sync: successfully"),
        ({"phase": "Running", "sync": "OutOfSync"}, "under way", "Argo CD is syncing"),
        ({"sync": "OutOfSync"}, "broken", "Argo CD says OutOfSync"),
        ({"health": "Degraded"}, "broken", "Argo CD says Degraded though the rollout is healthy"),
        ({"conditions": [{"type": "ComparisonError", "message": "no git"}]}, "broken", "could not sync: no git"),
    ],
)
def test_argo_cds_own_trouble_is_shown(argo: dict[str, Any], standing: str, why: str) -> None:
    found = seen("healthy", "a", application=application(**argo))
    assert found.standing == standing
    assert_matches(why, found.reasons[0])


def test_health_degraded_of_a_rollout_under_way_is_no_finding_of_its_own() -> None:
    """It flashes at a first sync and while an image is pulled."""
    assert seen("timed-pause", "b", application=application(health="Degraded")).standing == "under way"


def test_gravest_finding_decides_and_is_said_first() -> None:
    found = seen("inconclusive", "c", application=application(phase="Failed"))
    assert found.standing == "broken"
    assert [reason.split()[0] for reason in found.reasons] == ["Argo", "inconclusive,"]


def test_released_though_held_is_out_of_step() -> None:
    held = released("a", held="held since 2013-06-01: answers slowly", holds=1)
    found = judge("staging", held, objects("healthy", application=application()), has_release=True)
    assert found.standing == "broken"
    assert_matches("is held: .*answers slowly", found.reasons[0])


def test_environment_without_release_and_without_rollout_is_in_step() -> None:
    found = judge("staging", InGit(main="6" * 40), Objects(application=application("OutOfSync", "Missing")))
    assert (found.standing, found.reasons) == ("in step", ())


def test_rollout_without_a_release_is_out_of_step() -> None:
    found = judge("staging", InGit(main="6" * 40), objects("healthy", application=application()))
    assert_matches("main has no release, and identity aaaaaaaaaaaa runs", found.reasons[0])


def test_release_without_an_application_is_out_of_step() -> None:
    assert_matches("Argo CD has no application here", judge("staging", released("a"), Objects()).reasons[0])


@pytest.mark.parametrize(
    ("scenes", "code"),
    [
        (("healthy",), 0),
        (("healthy", "timed-pause"), 3),
        (("timed-pause", "inconclusive"), 2),
        (("inconclusive", "aborted-by-hand", "healthy"), 1),
    ],
)
def test_exit_code_is_that_of_the_gravest_environment(scenes: tuple[str, ...], code: int) -> None:
    letters = {"healthy": "a", "timed-pause": "b"}
    found = tuple(seen(scene, letters.get(scene, "c")) for scene in scenes)
    assert Status(environments=found).exit_code == code


def test_environment_is_not_known_where_what_main_says_is_not() -> None:
    found = judge("staging", None, objects("healthy", application=application()))
    assert (found.standing, Status(environments=(found,)).exit_code) == ("unknown", 69)
    assert "what main says is not known" in found.reasons[0]


def test_text_shows_every_line_of_an_environment() -> None:
    shown = environment_text(seen("inconclusive", "c"))
    assert [line.split()[0] for line in shown.splitlines()] == [
        *("staging", "why", "git", "argo", "rollout", "analysis", "analysis", "pods", "pods")
    ]


@pytest.fixture
def clone(tmp_path: Path) -> Context:
    """A clone whose origin has a release in staging, with another identity held."""
    origin, root = tmp_path / "origin", tmp_path / "clone"
    git(tmp_path, "init", "-q", "-b", "main", str(origin))
    folder = origin / "k8s/releases/staging"
    folder.mkdir(parents=True)
    (origin / "pyproject.toml").write_text((Path(__file__).parents[4] / "pyproject.toml").read_text())
    (folder / "release.yaml").write_bytes(write_release(releases.release("A")))
    (folder / "held.yaml").write_bytes(write_holds((releases.held("B"),)))
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "a release")
    git(tmp_path, "clone", "-q", str(origin), str(root))
    return Context(root)


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, check=True)


def test_without_a_cluster_git_is_shown_and_the_rest_is_not_known(clone: Context, tmp_path: Path) -> None:
    with api.configured(tmp_path / "none"):
        found = status.look(clone, ["staging", "production"])
    staging, production = found.environments
    assert staging.git is not None
    assert (staging.standing, staging.git.identity, staging.git.holds) == ("unknown", releases.name("A"), 1)
    assert production.git is not None
    assert production.git.identity is None
    assert found.exit_code == 69
    assert "no cluster to ask" in text(found)


def test_without_the_remote_the_last_fetch_is_shown_with_a_note(clone: Context, tmp_path: Path) -> None:
    git(clone.root, "remote", "set-url", "origin", str(tmp_path / "gone"))
    with api.configured(tmp_path / "none"):
        found = status.look(clone, ["staging"])
    assert found.environments[0].git is not None
    assert found.environments[0].git.identity == releases.name("A")
    assert "what git says is as of the last fetch" in found.notes[0]


def healthy(clone: Context) -> dict[str, Any]:
    """What a cluster serves where the recorded rollout is healthy, and Argo CD is at the clone's main."""
    space, argo, kept = "namespaces/flightline-staging", application(), objects("healthy")
    argo["status"]["sync"]["revision"] = clone.git("rev-parse", "origin/main")
    return {
        "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/flightline-staging": argo,
        f"/apis/argoproj.io/v1alpha1/{space}/rollouts/flightline": kept.rollout,
        f"/api/v1/{space}/pods": {"items": list(kept.pods)},
        f"/apis/apps/v1/{space}/replicasets": {"items": list(kept.replicasets)},
    }


def test_clone_with_part_of_the_history_knows_nothing_of_a_healthy_environment(clone: Context, tmp_path: Path) -> None:
    git(tmp_path / "origin", "commit", "-q", "--allow-empty", "-m", "more")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path / 'origin'}", str(tmp_path / "shallow"))
    with api.serving(healthy(clone), tmp_path):
        found = status.look(Context(tmp_path / "shallow"), ["staging"])
    assert (found.environments[0].standing, found.exit_code) == ("unknown", 69)
    assert "--unshallow" in text(found)


def test_release_that_cannot_be_read_is_a_note_and_the_environment_not_known(clone: Context, tmp_path: Path) -> None:
    (tmp_path / "origin/k8s/releases/staging/release.yaml").write_text("identity: {")
    git(tmp_path / "origin", "commit", "-q", "-a", "-m", "spoilt")
    with api.serving(healthy(clone), tmp_path):
        found = status.look(clone, ["staging"])
    assert (found.environments[0].standing, found.exit_code) == ("unknown", 69)
    assert "release.yaml on main: not YAML" in text(found)


def test_cluster_and_git_are_brought_together(clone: Context, tmp_path: Path) -> None:
    with api.serving(healthy(clone), tmp_path):
        found = status.look(clone, ["staging"])
    (staging,) = found.environments
    assert staging.reasons == (f"main says identity {releases.name('A')[:12]}, the rollout {'a' * 12}",)
    assert (staging.pods[0].ready, found.exit_code) == (2, 1)
