"""Rendering: an overlay of one commit, with an image and what a canary should look like, as one list of objects.

The kustomization is generated beside a copy of that commit's k8s/; the same commit and values give the same bytes.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.delivery.kustomize import KustomizeError, build
from pipeline.delivery.models import DeliveryError

IMAGE = "flightline-server"
TRAFFIC = "flightline-traffic"
HEADER = b"# Written by `flightline`, which re-renders and compares it: change k8s/overlays or k8s/base instead.\n"
_GENERATED = "rendered"


@dataclass(frozen=True)
class Values:
    """What a release puts into an overlay. Distances are shares between 0 and 1."""

    registry: str
    digest: str
    identity: str
    version: str
    source: str
    expected_ks: float
    max_ks: float

    @property
    def annotations(self) -> dict[str, str]:
        """What the Rollout carries: for the analysis, the notifications and people."""
        return {
            "flightline/identity": self.identity,
            "flightline/version": self.version,
            "flightline/source": self.source,
            "flightline/expected-ks": decimal(self.expected_ks),
            "flightline/max-ks": decimal(self.max_ks),
        }


def placeholders(registry: str) -> Values:
    """What stands for the values in an identity: nothing that names an image, a version, a commit or a canary."""
    none = "0" * 64
    return Values(registry, f"sha256:{none}", none, none, none[:40], 0, 0)


def decimal(value: float) -> str:
    """Without exponent or trailing zeros: "0.0625", "1"."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def render(tree: Path, env: str, values: Values) -> bytes:
    """The overlay `env` of the sources in `tree`, rendered whole. Raises DeliveryError, UnavailableError."""
    overlay = tree / "k8s" / "overlays" / env
    if not (overlay / "kustomization.yaml").is_file():
        raise DeliveryError(
            f"k8s/overlays/{env} has no kustomization.yaml at the source commit; write the overlay first"
        )
    with tempfile.TemporaryDirectory(prefix="flightline-") as scratch:
        copy = Path(scratch) / "k8s"
        shutil.copytree(tree / "k8s", copy, ignore=shutil.ignore_patterns("releases"))
        (copy / _GENERATED).mkdir()
        document = yaml.safe_dump(kustomization(env, values), sort_keys=False)
        (copy / _GENERATED / "kustomization.yaml").write_text(document)
        rendered = _built(copy / _GENERATED, env)
    check(rendered, env, values)
    return HEADER + rendered


def kustomization(env: str, values: Values) -> dict[str, Any]:
    """What is laid over the overlay."""
    annotated = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "any", "annotations": values.annotations},
        # On the pods too: a new identity is a new ReplicaSet, which no rollback window lets past the analysis.
        "spec": {"template": {"metadata": {"annotations": {"flightline/identity": values.identity}}}},
    }
    # A Job cannot be changed, so each release brings one of its own name.
    renamed = [{"op": "replace", "path": "/metadata/name", "value": f"{TRAFFIC}-{values.identity[:10]}"}]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../overlays/{env}"],
        "images": [{"name": IMAGE, "newName": values.registry, "digest": values.digest}],
        "patches": [
            {"target": {"kind": "Rollout"}, "patch": yaml.safe_dump(annotated, sort_keys=False)},
            {
                "target": {"kind": "Job", "labelSelector": "app.kubernetes.io/component=traffic"},
                "patch": yaml.safe_dump(renamed, sort_keys=False),
            },
        ],
    }


def _built(folder: Path, env: str) -> bytes:
    from pipeline.tools import tool

    try:
        return build(tool("kustomize"), folder)
    except KustomizeError as error:
        said = " ".join(str(error).replace(str(folder.parent), "k8s").split())
        raise DeliveryError(f"k8s/overlays/{env} does not render: {said}") from error


def check(rendered: bytes, env: str, values: Values) -> None:
    """Raise DeliveryError unless there is one Rollout, it runs this image, and every image is named by digest."""
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    rollouts = [one for one in documents if one.get("kind") == "Rollout"]
    where = f"k8s/overlays/{env}"
    if len(rollouts) != 1:
        raise DeliveryError(f"{where} renders {len(rollouts)} Rollouts; it must be one, which carries the release")
    if f"{values.registry}@{values.digest}" not in images(rollouts[0]):
        raise DeliveryError(f"{where}: no container of the Rollout uses image {IMAGE!r}; name it so, without a tag")
    for image in images(documents):
        if "@sha256:" not in image:
            raise DeliveryError(f"{where}: image {image!r} has no digest; name it as NAME@sha256:...")


def images(node: Any) -> Iterator[str]:
    """Every container image in a document, wherever its pod template is."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("containers", "initContainers", "ephemeralContainers") and isinstance(value, list):
                yield from (str(one["image"]) for one in value if isinstance(one, dict) and "image" in one)
            elif key == "container" and isinstance(value, dict) and "image" in value:  # a template of Argo Workflows
                yield str(value["image"])
            else:
                yield from images(value)
    elif isinstance(node, list):
        for one in node:
            yield from images(one)
