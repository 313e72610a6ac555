"""Rendering with the real kustomize: what a release puts into an overlay, and what an identity is made of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.delivery.identity import identity
from pipeline.delivery.models import DeliveryError
from pipeline.delivery.render import Values, decimal, images, placeholders, render
from tests.deliveries import REGISTRY, dump, overlay, rollout, sources

VALUES = Values(REGISTRY, f"sha256:{'a' * 64}", "b" * 64, "c" * 64, "d" * 40, 0.0625, 1)
ENVIRONMENTS = ("staging", "production")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The sources of a small fork."""
    for name, text in sources(ENVIRONMENTS).items():
        write(tmp_path / "tree", name, text)
    return tmp_path / "tree"


def write(tree: Path, name: str, text: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text)


def rendered(tree: Path, env: str, kind: str) -> Any:
    documents = yaml.safe_load_all(render(tree, env, VALUES))
    return next((one for one in documents if one["kind"] == kind), None)


def test_rollout_runs_the_image_by_digest_and_carries_what_the_analysis_reads(tree: Path) -> None:
    found = rendered(tree, "staging", "Rollout")
    assert list(images(found)) == [f"{REGISTRY}@sha256:{'a' * 64}"]
    assert found["metadata"]["annotations"] == {
        "flightline/identity": "b" * 64,
        "flightline/version": "c" * 64,
        "flightline/source": "d" * 40,
        "flightline/expected-ks": "0.0625",
        "flightline/max-ks": "1",
    }


def test_pods_carry_the_identity_and_nothing_else_so_that_another_one_is_another_replicaset(tree: Path) -> None:
    found = rendered(tree, "staging", "Rollout")
    assert found["spec"]["template"]["metadata"]["annotations"] == {"flightline/identity": "b" * 64}


def test_annotations_that_the_pods_have_already_stay(tree: Path) -> None:
    annotated: Any = rollout()
    annotated["spec"]["template"]["metadata"] = {"annotations": {"a": "b"}}
    write(tree, "k8s/base/rollout.yaml", dump(annotated))
    found = rendered(tree, "staging", "Rollout")["spec"]["template"]["metadata"]["annotations"]
    assert found == {"a": "b", "flightline/identity": "b" * 64}


def test_traffic_job_has_a_name_of_its_own_in_each_release(tree: Path) -> None:
    assert rendered(tree, "staging", "Job")["metadata"]["name"] == f"flightline-traffic-{'b' * 10}"


def test_environment_without_traffic_renders_too(tree: Path) -> None:
    assert rendered(tree, "production", "Job") is None


def test_same_sources_and_values_are_the_same_bytes_and_leave_no_trace(tree: Path) -> None:
    before = sorted(tree.rglob("*"))
    assert render(tree, "staging", VALUES) == render(tree, "staging", VALUES)
    assert sorted(tree.rglob("*")) == before


def test_release_that_stands_does_not_change_the_next(tree: Path) -> None:
    before = render(tree, "staging", VALUES)
    write(tree, "k8s/releases/staging/manifests.yaml", "kind: Secret\n")
    assert render(tree, "staging", VALUES) == before


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("k8s/base/rollout.yaml", dump({**rollout(), "kind": "Deployment"}), "0 Rollouts"),
        ("k8s/base/rollout.yaml", dump(rollout()).replace("flightline-server", "nginx"), "no container of the Rollout"),
        ("k8s/base/traffic/job.yaml", "kind: [", "does not render"),
        ("k8s/overlays/staging/kustomization.yaml", overlay("staging", images=[{"name": "x"}], oops=1), "oops"),
    ],
)
def test_sources_that_cannot_be_released_are_refused_and_named(tree: Path, name: str, text: str, why: str) -> None:
    write(tree, name, text)
    with pytest.raises(DeliveryError, match=why) as caught:
        render(tree, "staging", VALUES)
    assert "k8s/overlays/staging" in str(caught.value)


def test_image_beside_ours_needs_a_digest(tree: Path) -> None:
    beside: Any = rollout()
    beside["spec"]["template"]["spec"]["initContainers"] = [{"name": "init", "image": "busybox:1.36"}]
    write(tree, "k8s/base/rollout.yaml", dump(beside))
    with pytest.raises(DeliveryError, match=r"busybox:1\.36"):
        render(tree, "staging", VALUES)


def test_environment_without_an_overlay_is_named(tree: Path) -> None:
    with pytest.raises(DeliveryError, match="k8s/overlays/canada"):
        render(tree, "canada", VALUES)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1, "1"), (0.0625, "0.0625"), (0.00001, "0.00001"), (0.5, "0.5")]
)
def test_distances_are_written_without_an_exponent(value: float, text: str) -> None:
    assert decimal(value) == text


def identify(tree: Path, version: str = "1" * 64, inputs: str = "2" * 64) -> str:
    return identity(tree, ENVIRONMENTS, REGISTRY, version, inputs)


def test_identity_is_the_same_for_the_same_sources(tree: Path) -> None:
    assert identify(tree) == identify(tree)


def production(tree: Path) -> None:
    write(tree, "k8s/overlays/production/kustomization.yaml", overlay("production", namePrefix="x-"))


def base(tree: Path) -> None:
    write(tree, "k8s/base/rollout.yaml", dump({**rollout(), "metadata": {"name": "flightline", "labels": {"a": "b"}}}))


@pytest.mark.parametrize("change", [production, base])
def test_change_of_any_environment_is_a_new_identity(tree: Path, change: Callable[[Path], None]) -> None:
    before = identify(tree)
    change(tree)
    assert identify(tree) != before


def test_bundle_and_code_are_part_of_it(tree: Path) -> None:
    found = {identify(tree), identify(tree, version="3" * 64), identify(tree, inputs="3" * 64)}
    assert len(found) == 3


def test_what_a_release_is_called_or_expects_is_not(tree: Path) -> None:
    """Placeholders stand for all of it: a change of one of them alone would show in the bytes."""
    stood = render(tree, "staging", placeholders(REGISTRY))
    for change in ({"digest": f"sha256:{'9' * 64}"}, {"source": "9" * 40}, {"max_ks": 0.5}, {"identity": "9" * 64}):
        assert render(tree, "staging", replace(placeholders(REGISTRY), **change)) != stood


def test_comment_in_an_overlay_is_no_change(tree: Path) -> None:
    before = identify(tree)
    write(tree, "k8s/overlays/production/kustomization.yaml", f"# why\n{overlay('production')}")
    assert identify(tree) == before
