"""The chain from a release commit to running pods: a real repository, a real registry, pods as the API gives them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import image, oci
from pipeline.context import Context
from pipeline.delivery.models import DeliveryError, write_release
from pipeline.dvcfiles import dvc_hash
from pipeline.frames import TableError
from pipeline.registry import Registry
from pipeline.supply import provenance, sbom
from pipeline.supply.cosign import Signer
from pipeline.supply.provenance import Materials
from pipeline.trace import Chain, Link, trace
from serving import bundle
from tests import bundles, images, supply
from tests.unit.pipeline.delivery import api, releases

PROJECT = Path(__file__).resolve().parents[3]
PODS = "/api/v1/namespaces/flightline-staging/pods"


@dataclass
class Released:
    """A checkout with a bundle that is released in staging, and the release's own words."""

    context: Context
    version: str
    image: str
    folder: Path

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        done = subprocess.run(["git", *who, *words], cwd=self.context.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def rewrite(self, name: str, old: str, new: str) -> None:
        """Change the release's files after the fact, in another commit."""
        path = self.folder / name
        path.write_text(path.read_text().replace(old, new))
        self.commit(f"another {name}")

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


@pytest.fixture
def released(tmp_path: Path) -> Iterator[Released]:
    """Bundle, image in a registry, and two commits: the source, and the release that names it."""
    with images.registry(tmp_path / "server") as host:
        yield release(tmp_path, host)


def release(tmp_path: Path, host: str) -> Released:
    root = tmp_path / "checkout"
    (root / "requirements").mkdir(parents=True)
    for name in ("params.yaml", "requirements/train.txt"):
        shutil.copy(PROJECT / name, root / name)
    supply.write_settings(root, {})
    (root / ".gitignore").write_text("/build\n")
    bundles.write(root / "build/bundle")
    (root / "build/bundle/inputs.json").write_text(
        json.dumps(dict.fromkeys(("code", "data", "parameters", "requirements"), "0"))
    )
    version = bundle.seal(root / "build/bundle")
    images.write_code(tmp_path / "code")
    store, code = Registry(host, "flightline"), oci.read(oci.Layout(tmp_path / "code"), "")
    oci.copy(code, oci.Layout(tmp_path / "code"), store)
    made = image.append(
        f"{host}/flightline@{code.manifest.descriptor.digest}", root / "build/bundle", f"{host}/flightline"
    )
    folder = root / "k8s/releases/staging"
    found = Released(Context(root), version, made.reference, folder)
    found.git("init", "-q", "-b", "main")
    out = {"md5": dvc_hash(root / "build/bundle"), "path": "build/bundle"}
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"bundle": {"outs": [out]}}}))
    source = found.commit("source")
    folder.mkdir(parents=True)
    written = releases.release("A").model_copy(
        update={
            "version": version,
            "source": source,
            "image": made.reference,
            "code": releases.Code(image=made.code, inputs="e" * 64),
        }
    )
    (folder / "release.yaml").write_bytes(write_release(written))
    (folder / "bundle.dvc").write_text(yaml.safe_dump({"outs": [out]}))
    pod = {"spec": {"containers": [{"name": "server", "image": made.reference}]}}
    (folder / "manifests.yaml").write_text(yaml.safe_dump({"kind": "Rollout", "spec": {"template": pod}}))
    found.commit("release")
    return found


def pod(released: Released, name: str = "flightline-abc-1", runs: str = "") -> dict[str, Any]:
    """A pod that asks for the released image, as the API gives it once its container started."""
    status = {"containerStatuses": [{"name": "server", "imageID": runs or released.image}]}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "server", "image": released.image}]},
        "status": status,
    }


def followed(released: Released, what: str, tmp_path: Path, *pods: dict[str, Any]) -> Chain:
    served = {PODS: {"items": list(pods)}, **{f"{PODS}/{one['metadata']['name']}": one for one in pods}}
    with api.serving(served, tmp_path):
        return trace(released.context, what)


def held(chain: Chain) -> dict[str, bool | None]:
    """The links from the image on, by name."""
    return {link.name: link.holds for link in chain.links[6:]}


SOUND = {"image": True, "signature": None, "manifests": True, "release": True, "pod": True}


@pytest.mark.parametrize("what", ["staging", "digest", "version", "pod", "environment and pod", "here"])
def test_chain_reaches_the_running_pod_from_wherever_one_begins(released: Released, what: str, tmp_path: Path) -> None:
    name = "flightline-abc-1"
    asked = {"digest": released.digest, "version": released.version[:12], "pod": name, "here": ""}
    chain = followed(
        released, asked.get(what, what.replace("environment and pod", f"staging/{name}")), tmp_path, pod(released)
    )
    assert held(chain) == SOUND
    assert chain.links[0].value == released.version
    assert {link.name: link.value for link in chain.links}["pod"] == name


def test_signature_is_an_open_link_where_the_settings_name_no_signer(released: Released, tmp_path: Path) -> None:
    chain = followed(released, "staging", tmp_path, pod(released))
    assert "open    signature     unsigned" in chain.text


def signature(chain: Chain) -> Link:
    (found,) = (link for link in chain.links if link.name == "signature")
    return found


def prove(released: Released, source: str) -> None:
    """Sign the released image and say that it was made from this commit."""
    signer = Signer.of(released.context.settings, released.context.root)
    assert signer is not None
    materials = Materials(source, released.version, "", f"sha256:{'1' * 64}", "", f"sha256:{'2' * 64}", "", {})
    cosign = supply.cosign()
    document = {"metadata": {"component": {"version": released.digest}}}
    cosign.attest(released.image, signer, sbom.TYPE, document)
    cosign.attest(
        released.image,
        signer,
        provenance.TYPE,
        provenance.predicate(materials, released.context.settings, {}),
    )
    cosign.sign(released.image, signer)


@pytest.fixture
def signer(released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> supply.Keys:
    """The settings name a key whose private half is in the environment."""
    keys = supply.make_keys(tmp_path)
    supply.as_signer(monkeypatch, keys)
    root = released.context.root
    (root / "cosign.pub").write_text(keys.public("ours"))
    supply.write_settings(root, {"key": "cosign.pub"})
    released.context = Context(root)
    return keys


def test_signature_provenance_and_sbom_are_verified(released: Released, signer: supply.Keys, tmp_path: Path) -> None:
    prove(released, released.git("rev-parse", "HEAD~1"))
    chain = followed(released, "staging", tmp_path, pod(released))
    assert held(chain) == {**SOUND, "signature": True}
    assert signature(chain).value == "cosign.pub"


def test_unsigned_image_breaks_the_chain_where_the_settings_name_a_signer(
    released: Released, signer: supply.Keys, tmp_path: Path
) -> None:
    chain = followed(released, "staging", tmp_path, pod(released))
    assert signature(chain).proof.startswith("unsigned: ")
    assert not chain.holds


def test_provenance_of_another_commit_than_the_release_names_breaks_the_chain(
    released: Released, signer: supply.Keys, tmp_path: Path
) -> None:
    prove(released, "0" * 40)
    found = signature(followed(released, "staging", tmp_path, pod(released)))
    assert found.holds is False
    assert found.proof.startswith(f"provenance: names commit {'0' * 40}, expected ")


def test_signature_is_an_open_link_where_there_is_no_cosign(
    released: Released, signer: supply.Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTLINE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", str(Path(shutil.which("git") or "").parent))
    found = signature(followed(released, "staging", tmp_path, pod(released)))
    assert found.holds is None
    assert "flightline tools build cosign" in found.proof


def test_pod_that_runs_something_else_breaks_the_chain(released: Released, tmp_path: Path) -> None:
    chain = followed(
        released, "staging", tmp_path, pod(released), pod(released, "flightline-abc-2", f"other@sha256:{'0' * 64}")
    )
    assert [link.holds for link in chain.links if link.name == "pod"] == [True, False]
    assert not chain.holds


def test_pod_that_has_not_started_is_an_open_link(released: Released, tmp_path: Path) -> None:
    waiting = pod(released)
    waiting["status"] = {}
    assert held(followed(released, "staging", tmp_path, waiting))["pod"] is None


def other(released: Released, **labels: str) -> dict[str, Any]:
    """A pod of the environment that runs another image than main names."""
    found = pod(released, "flightline-old-1")
    found["spec"]["containers"][0]["image"] = f"other@sha256:{'0' * 64}"
    found["metadata"]["labels"] = labels
    return found


def rolling(phase: str, pod_hash: str = "new") -> dict[str, Any]:
    """The Rollout of the release, and Argo CD's word that it has synced."""
    metadata = {"name": "flightline", "generation": 1, "annotations": {"flightline/identity": releases.name("A")}}
    status = {"phase": phase, "observedGeneration": "1", "stableRS": "old", "currentPodHash": pod_hash}
    argo = {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}}
    return {
        "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/flightline-staging": {"status": argo},
        "/apis/argoproj.io/v1alpha1/namespaces/flightline-staging/rollouts/flightline": {
            "metadata": metadata,
            "spec": {},
            "status": status,
        },
    }


@pytest.mark.parametrize(
    ("served", "expected"),
    [({}, False), (rolling("Healthy", "old"), False), (rolling("Degraded"), False), (rolling("Progressing"), None)],
)
def test_pods_that_run_another_image_than_main_names_break_the_chain_unless_a_rollout_is_under_way(
    released: Released, tmp_path: Path, served: dict[str, Any], expected: bool | None
) -> None:
    with api.serving({**served, PODS: {"items": [other(released)]}}, tmp_path):
        chain = trace(released.context, "staging")
    assert held(chain)["pod"] is expected
    assert "staging: runs sha256:000000000000, main names" in chain.text


def test_pods_that_a_finished_rollout_keeps_for_some_seconds_are_left_out(released: Released, tmp_path: Path) -> None:
    labels = {"rollouts-pod-template-hash": "old"}
    kept = {"labels": labels, "annotations": {"scale-down-deadline": "2026-01-01T00:00:00Z"}}
    sets = "/apis/apps/v1/namespaces/flightline-staging/replicasets"
    served = {PODS: {"items": [pod(released), other(released, **labels)]}, sets: {"items": [{"metadata": kept}]}}
    with api.serving(served, tmp_path):
        assert held(trace(released.context, "staging")) == SOUND


def test_only_the_pod_asked_about_is_listed(released: Released, tmp_path: Path) -> None:
    chain = followed(released, "flightline-abc-2", tmp_path, pod(released), pod(released, "flightline-abc-2"))
    assert [link.value for link in chain.links if link.name == "pod"] == ["flightline-abc-2"]


def test_manifests_that_run_another_image_break_the_chain(released: Released, tmp_path: Path) -> None:
    released.rewrite("manifests.yaml", released.digest, f"sha256:{'0' * 64}")
    chain = followed(released, "staging", tmp_path)
    assert held(chain)["manifests"] is False
    assert "staging: run sha256:000000000000" in chain.text


def test_source_that_did_not_make_the_bundle_breaks_the_chain(released: Released, tmp_path: Path) -> None:
    released.rewrite("bundle.dvc", dvc_hash(released.context.root / "build/bundle"), f"{'0' * 32}.dir")
    assert held(followed(released, "staging", tmp_path))["release"] is False


def test_image_that_holds_another_bundle_breaks_the_chain(released: Released, tmp_path: Path) -> None:
    text = (released.folder / "release.yaml").read_text()
    changed = text.replace(released.version, "1a" * 32)
    (released.folder / "release.yaml").write_text(changed)
    released.commit("another version")
    chain = followed(released, "staging", tmp_path)
    assert {link.name: link.holds for link in chain.links}["image"] is False
    assert f"it holds bundle {released.version[:12]}, the release says {'1a' * 6}" in chain.text


def test_image_that_the_registry_does_not_have_breaks_the_chain(released: Released, tmp_path: Path) -> None:
    text = (released.folder / "release.yaml").read_text()
    changed = text.replace(released.digest, f"sha256:{'0' * 64}")
    (released.folder / "release.yaml").write_text(changed)
    released.commit("another digest")
    assert held(followed(released, "staging", tmp_path))["image"] is False


def test_registry_and_cluster_that_cannot_be_asked_leave_links_open(tmp_path: Path) -> None:
    with images.registry(tmp_path / "server") as host:
        released = release(tmp_path, host)
    with api.configured(tmp_path / "none"):
        chain = trace(released.context, "staging")
    assert (held(chain)["image"], held(chain)["pods"]) == (None, None)
    assert "the registry cannot be reached" in chain.text
    assert "no cluster to ask" in chain.text


def test_released_bundle_that_is_not_to_be_had_leaves_the_rest_to_be_followed(
    released: Released, tmp_path: Path
) -> None:
    shutil.rmtree(released.context.root / "build")
    links = {link.name: link.holds for link in followed(released, "staging", tmp_path, pod(released)).links}
    assert links == {"bundle": None, **SOUND}


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("production", DeliveryError, "production has no release on main yet"),
        (f"sha256:{'0' * 64}", DeliveryError, "no release on main has image digest sha256:000"),
        ("flightline-none", TableError, "no bundle 'flightline-none' here"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    released: Released, tmp_path: Path, what: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        followed(released, what, tmp_path)
