"""k8s/ as the pinned kustomize renders it: the overlays, and any choice of components on top of base."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from pipeline.tools import tool

K8S = Path(__file__).resolve().parents[3] / "k8s"
ENVIRONMENTS = ("staging", "production")
NEEDED = ("tuning",)
# One of each row at most; None is without.
CHOICES = (
    ("replicas", "hpa"),
    (None, "staging-traffic"),
    (None, "prometheus-operator", "grafana"),
    (None, "traefik", "gateway-api"),
)

Objects = dict[tuple[str, str], dict[str, Any]]


@cache
def overlay(environment: str) -> Objects:
    """Every object of an overlay by kind and name."""
    return build(K8S / "overlays" / environment)


@cache
def composed(components: Sequence[str], environment: str = "staging") -> Objects:
    """Base, an environment's numbers and these components, as a fork's overlay would choose them."""
    with TemporaryDirectory() as scratch:
        copy = shutil.copytree(K8S, Path(scratch) / "k8s")
        folder = copy / "overlays" / "chosen"
        folder.mkdir()
        shutil.copy(K8S / "overlays" / environment / "analysis.yaml", folder)
        (folder / "kustomization.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "kustomize.config.k8s.io/v1beta1",
                    "kind": "Kustomization",
                    "namespace": f"flightline-{environment}",
                    "resources": ["../../base", "analysis.yaml"],
                    "components": [f"../../components/{name}" for name in (*NEEDED, *components)],
                }
            )
        )
        return build(folder)


def build(folder: Path) -> Objects:
    """Run kustomize; its complaint is the assertion's message."""
    done = subprocess.run([tool("kustomize"), "build", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    documents = [one for one in yaml.safe_load_all(done.stdout) if one]
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    assert len(found) == len(documents)
    return found


def of_kind(objects: Objects, kind: str) -> list[dict[str, Any]]:
    return [one for (found, _), one in objects.items() if found == kind]


def pod_templates(objects: Objects) -> Iterator[dict[str, Any]]:
    """Whatever runs a pod: Rollout and Job directly, CronJob by its Job."""
    for kind in ("Rollout", "Job"):
        yield from (one["spec"]["template"] for one in of_kind(objects, kind))
    yield from (one["spec"]["jobTemplate"]["spec"]["template"] for one in of_kind(objects, "CronJob"))


def rollout(objects: Objects) -> dict[str, Any]:
    return objects["Rollout", "flightline"]


def template(objects: Objects, name: str) -> dict[str, Any]:
    return objects["AnalysisTemplate", name]


def given(objects: Objects, name: str) -> dict[str, str | None]:
    """The arguments of an AnalysisTemplate with their values, None where the Rollout gives it."""
    return {one["name"]: one.get("value") for one in template(objects, name)["spec"]["args"]}
