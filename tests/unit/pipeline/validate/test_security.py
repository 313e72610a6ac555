from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UnavailableError
from pipeline.validate import security
from pipeline.validate.renders import Document
from pipeline.validate.results import Result
from tests.unit.pipeline.validate.conftest import PROJECT

needs_checkov = pytest.mark.skipif(
    not (PROJECT / security.CHECKOV).exists(), reason="`make validate` has not installed checkov here yet"
)


def rollout(name: str, **annotations: str) -> Document:
    container = {"name": "server", "image": f"a@sha256:{'0' * 64}", "securityContext": {"privileged": True}}
    metadata = {"name": name, "namespace": "somewhere", "annotations": annotations}
    body: dict[str, Any] = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata}
    return Document("k8s/base", body | {"spec": {"template": {"spec": {"containers": [container]}}}})


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One run for the tests below: checkov takes seconds to start."""
    root = tmp_path_factory.mktemp("tree")
    (root / ".venv-scan").symlink_to(PROJECT / ".venv-scan")
    (root / ".checkov.yaml").write_text("skip-check: [CKV_K8S_16, CKV_K8S_20]\n")
    (root / "Dockerfile").write_text("FROM scratch\n# checkov:skip=CKV_DOCKER_2:no\nCOPY a b\n")
    documents = [
        rollout("privileged"),
        rollout("reasoned", **{"checkov.io/skip1": "CKV_K8S_16=it has to load a kernel module"}),
        rollout("unreasoned", **{"checkov.io/skip1": "CKV_K8S_16"}),
    ]
    return security.check(root, documents, tmp_path_factory.mktemp("scratch") / "security")


@needs_checkov
def test_the_pods_of_a_rollout_are_checked(result: Result) -> None:
    assert any("Rollout privileged: CKV_K8S_16" in one for one in result.failures)


@needs_checkov
def test_a_skip_on_the_object_with_its_reason_is_accepted(result: Result) -> None:
    assert not any("Rollout reasoned: CKV_K8S_16" in one for one in result.failures)
    assert any("Rollout reasoned: CKV_K8S_20" in one for one in result.failures)


@needs_checkov
def test_a_skip_without_a_reason_is_refused(result: Result) -> None:
    assert any("Rollout unreasoned: checkov.io/skip1" in one and "say why" in one for one in result.failures)
    assert any(one.startswith("Dockerfile: CKV_DOCKER_2 is skipped without a reason") for one in result.failures)


@needs_checkov
def test_a_configuration_file_skips_nothing(result: Result) -> None:
    assert any("CKV_K8S_20" in one for one in result.failures)


def test_without_checkov_the_fix_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(UnavailableError, match="make validate"):
        security.check(tmp_path, (), tmp_path / "scratch")
