import os
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.local import upstream
from pipeline.tools import tool


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module's folder as upstream lays it out."""
    folder = tmp_path / "mod" / "argo@v1" / "manifests" / "cluster-install"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (folder / "all.yaml").write_text(yaml.safe_dump_all([document("ConfigMap", "settings"), document("Secret", "s")]))
    return folder.parents[1]


def document(kind: str, name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def own(folder: Path, kind: str, version: str, **fields: object) -> Path:
    folder.mkdir(parents=True)
    text = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind, **fields}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder


def rendered(folder: Path) -> dict[str, dict[str, object]]:
    done = subprocess.run([tool("kustomize"), "build", folder], capture_output=True, text=True, check=True)
    return {one["kind"] + "/" + one["metadata"]["name"]: one for one in yaml.safe_load_all(done.stdout)}


def test_own_folders_come_on_top_of_the_module(module: Path, tmp_path: Path) -> None:
    patch = {"patch": yaml.safe_dump({**document("ConfigMap", "settings"), "data": {"polling": "60s"}})}
    settings = own(tmp_path / "own" / "settings", "Component", "v1alpha1", patches=[patch])
    more = own(tmp_path / "own" / "more", "Kustomization", "v1beta1", resources=["more.yaml"])
    (more / "more.yaml").write_text(yaml.safe_dump(document("ConfigMap", "more")))
    folder = tmp_path / "state" / "config" / "argo"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text(upstream.kustomization(folder, "argo", module, [settings, more]))
    found = rendered(folder)
    assert sorted(found) == ["ConfigMap/more", "ConfigMap/settings", "Secret/s"]
    assert found["ConfigMap/settings"]["data"] == {"polling": "60s"}
    assert {one["metadata"]["namespace"] for one in found.values()} == {"argo"}


def test_folders_behind_a_link_are_found(module: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    text = upstream.kustomization(tmp_path / "link", "argo", module, [])
    (relative,) = yaml.safe_load(text)["resources"]
    assert os.path.normpath(tmp_path / "deep" / "er" / relative) == str(module / "manifests" / "cluster-install")


def test_what_would_run_as_pods_is_left_out() -> None:
    kinds = ("ServiceAccount", "Deployment", "ClusterRole", "StatefulSet", "NetworkPolicy", "Service", "ConfigMap")
    text = "\n---\n".join(yaml.safe_dump(document(kind, "x")).strip() for kind in kinds)
    kept = [one["kind"] for one in yaml.safe_load_all(upstream.without_pods(text))]
    assert kept == ["ServiceAccount", "ClusterRole", "ConfigMap"]


def test_kind_named_within_a_document_is_not_its_own() -> None:
    schema = {**document("CustomResourceDefinition", "rollouts"), "spec": {"names": {"kind": "Deployment"}}}
    assert list(yaml.safe_load_all(upstream.without_pods(yaml.safe_dump(schema)))) == [schema]
