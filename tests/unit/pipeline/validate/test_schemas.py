from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.validate import schemas, sources
from pipeline.validate.places import objects
from pipeline.validate.renders import Document, Rendered
from pipeline.validate.results import Result
from tests.unit.pipeline.validate.conftest import PROJECT, Edit

META = {"name": "flightline", "namespace": "flightline-staging"}
POD = {"containers": [{"name": "server", "image": "a", "resources": {"limits": {"memory": "1Gi"}}}]}
ROLLOUT = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": META}
PDB = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": META}


@pytest.fixture
def judged(tmp_path: Path) -> Callable[[dict], Result]:
    return lambda body: schemas.check(PROJECT, [Document("k8s/overlays/staging as it is", body)], tmp_path / "schemas")


def test_what_is_rendered_follows_its_schemas(tree: Path, rendered: Callable[[], Rendered], tmp_path: Path) -> None:
    result = schemas.check(tree, rendered().documents, tmp_path / "schemas")
    assert result.holds, result.failures


def test_a_misspelt_field_is_refused(tree: Path, rendered: Callable[[], Rendered], tmp_path: Path, edit: Edit) -> None:
    edit("k8s/base/rollout.yaml", "progressDeadlineAbort: true", "progresDeadlineAbort: true")
    found = rendered()
    assert found.result.holds
    (failure,) = schemas.check(tree, found.documents, tmp_path / "schemas").failures
    assert failure.startswith("k8s/overlays/staging as it is and ")
    assert "Rollout flightline" in failure
    assert "'progresDeadlineAbort' not allowed" in failure


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (ROLLOUT | {"spec": {"template": {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}}}, "imagee"),
        (ROLLOUT | {"metadata": META | {"anotations": {}}, "spec": {"template": {"spec": POD}}}, "anotations"),
        (PDB | {"spec": {"maxUnavailabel": 1}}, "maxUnavailabel"),
        (PDB | {"spec": {"maxUnavailable": [1]}}, "/spec/maxUnavailable"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": META, "spec": {"ports": [{"name": "http"}]}}, "port"),
    ],
)
def test_strict_means_names_types_and_required_fields(judged: Callable, body: dict, named: str) -> None:
    (failure,) = judged(body).failures
    assert named in failure


def test_a_key_twice_is_refused_by_the_schemas_as_it_was_written(tmp_path: Path) -> None:
    written = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec:\n  maxUnavailable: 1\n"
    for place, text in enumerate((written, f"{written}  maxUnavailable: 2\n")):
        ((body, part),) = objects(f"# one\n{text}")
        result = schemas.check(PROJECT, [Document("argocd/one.yaml", body, part)], tmp_path / f"schemas{place}")
        assert result.holds == (text == written), result.failures
    assert "maxUnavailable" in result.failures[0]


def test_a_key_twice_is_refused_by_the_renders(rendered: Callable[[], Rendered], edit: Edit) -> None:
    twice = "progressDeadlineAbort: true\n  progressDeadlineAbort: false"
    edit("k8s/base/rollout.yaml", "progressDeadlineAbort: true", twice)
    assert any("progressDeadlineAbort" in one and "already" in one for one in rendered().result.failures)


@pytest.mark.parametrize("amount", [1, "50%"])
def test_a_number_or_text_passes_where_either_may_stand(judged: Callable, amount: object) -> None:
    assert judged(PDB | {"spec": {"maxUnavailable": amount}}).holds


def test_a_kind_without_a_schema_is_refused_with_the_fix(judged: Callable) -> None:
    (failure,) = judged({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": META}).failures
    assert "infra/schemas/sources.yaml" in failure
    assert "flightline schemas" in failure


def test_the_folder_holds_a_schema_for_each_kind_of_the_list_and_no_other() -> None:
    listed = {sources.file_of(kind) for source in sources.read_sources(PROJECT) for kind in source.kinds}
    kept = {
        path.relative_to(PROJECT / sources.FOLDER).as_posix() for path in (PROJECT / sources.FOLDER).rglob("*.json")
    }
    assert kept == listed | {"definitions.json"}


@pytest.mark.parametrize("tool", ["kubernetes", "argo-cd", "argo-rollouts"])
def test_schemas_are_of_the_versions_that_the_local_cluster_runs(tool: str) -> None:
    required = (PROJECT / "infra/tools" / tool / "go.mod").read_text()
    found = [one for one in sources.read_sources(PROJECT) if f"{one.module} {one.version}" in required]
    assert len(found) == 1
