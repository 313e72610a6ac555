from collections.abc import Callable
from pathlib import Path

import yaml

from pipeline.config import Settings
from pipeline.validate.renders import ALTERNATIVE, Rendered, variants
from tests.unit.pipeline.validate.conftest import PROJECT, Edit

Renders = Callable[[], Rendered]


def test_every_overlay_renders_with_every_combination_of_its_components(rendered: Renders) -> None:
    found = rendered()
    assert found.result.holds, found.result.failures
    assert found.result.counted.startswith("20 renders")


def test_what_is_applied_beside_the_overlays_is_rendered_with_its_own_components(rendered: Renders) -> None:
    found = {one.name: one for one in rendered().documents if one.where.startswith("k8s/log-shipping")}
    assert {"DaemonSet flightline-log-shipping", "PodMonitor flightline-log-shipping"} <= set(found)
    assert {one.metadata["namespace"] for one in found.values()} == {"monitoring"}
    assert found["PodMonitor flightline-log-shipping"].where == "k8s/log-shipping with prometheus-operator"


def test_a_component_that_is_elsewhere_is_part_of_every_combination(rendered: Renders) -> None:
    found = [one for one in rendered().documents if one.name == "Deployment flightline-observer"]
    assert [one.where for one in found] == ["k8s/monitoring as it is"]
    (container,) = found[0].body["spec"]["template"]["spec"]["containers"]
    assert "@sha256:" in container["image"]


def test_what_is_applied_beside_them_and_does_not_render_is_named(rendered: Renders, edit: Edit) -> None:
    edit("k8s/log-shipping/kustomization.yaml", "- daemonset.yaml", "- deamonset.yaml")
    failures = rendered().result.failures
    assert len(failures) == 3
    assert all(one.startswith("k8s/log-shipping ") and "deamonset.yaml" in one for one in failures)


def test_combinations_hold_one_of_a_group_at_most_and_what_every_overlay_has() -> None:
    chosen = {one.components for one in variants(PROJECT, ("staging", "production"))} - {None}
    assert ("gateway-api", "hpa", "prometheus-operator", "staging-traffic", "tuning") in chosen
    assert not any(one and {"hpa", "replicas"} <= set(one) for one in chosen)
    assert not any(one and {"traefik", "gateway-api"} <= set(one) for one in chosen)
    assert all(one and "tuning" in one for one in chosen)


def test_a_component_that_breaks_only_where_it_is_used_is_found(tree: Path, rendered: Renders) -> None:
    broken = tree / "k8s/components/broken"
    broken.mkdir()
    patch = {"target": {"kind": "Rollout"}, "patch": '[{"op": "remove", "path": "/spec/absent"}]'}
    (broken / "kustomization.yaml").write_text(
        yaml.safe_dump({"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "patches": [patch]})
    )
    failures = rendered().result.failures
    assert len(failures) == 12
    assert all("broken" in one and "/spec/absent" in one and "scratch" not in one for one in failures)


def test_an_overlay_with_two_of_a_group_is_refused(rendered: Renders, edit: Edit) -> None:
    edit("k8s/overlays/staging/kustomization.yaml", "components:\n", "components:\n  - ../../components/hpa\n")
    (failure,) = rendered().result.failures
    assert failure == "k8s/overlays/staging: uses hpa and replicas, of which at most one can be; take one away"
    assert ALTERNATIVE in (PROJECT / "k8s/components/hpa/kustomization.yaml").read_text()


def test_a_wrong_namespace_is_refused(rendered: Renders, edit: Edit, settings: Settings) -> None:
    edit("k8s/overlays/production/kustomization.yaml", "namespace: flightline-production", "namespace: flightline-prod")
    failures = rendered().result.failures
    assert failures
    assert all("'flightline-prod', expected 'flightline-production'" in one for one in failures)
