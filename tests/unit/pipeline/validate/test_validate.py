"""The whole of `flightline validate`, on a checkout with one fault for each check."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli_validate import register
from tests.checkouts import checkout
from tests.unit.pipeline.validate.conftest import LEFT_OUT, PROJECT
from tests.unit.pipeline.validate.test_security import needs_checkov

FAULTS = {
    "alerts": ("k8s/base/slo.yaml", 'p95_seconds: "0.050"', 'p95_seconds: "0.030"'),
    "analyses": ("k8s/overlays/production/analysis.yaml", 'good-in-a-row: "5"', 'good-in-a-row: "0"'),
    "renders": ("k8s/overlays/production/kustomization.yaml", "components/hpa", "components/absent"),
    "retraining": ("k8s/retraining/job/cronjob.yaml", "concurrencyPolicy: Forbid", "concurrencyPolicy: Allow"),
    "schemas": ("k8s/base/poddisruptionbudget.yaml", "maxUnavailable", "maxUnavailabel"),
    "security": ("k8s/base/rollout.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    "digests": ("k8s/base/deadline/cronjob.yaml", "image: flightline-server", "image: docker.io/library/python:3.12"),
    "workflows": (".github/workflows/deliver.yml", "permissions: {}\n", ""),
    "settings": (
        "argocd/applications.yaml",
        "repoURL: https://github.com/example",
        "repoURL: https://github.com/other",
    ),
}
TWICE = ("argocd/project.yaml", "kind: AppProject\n", "kind: AppProject\nkind: AppProject\n")


@needs_checkov
def test_each_fault_is_refused_by_the_check_it_belongs_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = checkout(tmp_path / "clone")
    for file, old, new in (*FAULTS.values(), TWICE):
        text = (made.root / file).read_text()
        assert old in text
        (made.root / file).write_text(text.replace(old, new))
    for name in LEFT_OUT:
        made.run("rm", "-r", f"k8s/components/{name}")
    (made.root / "k8s/releases/staging/release.yaml").write_text("schema_version: 1\n")
    (made.root / ".venv-scan").symlink_to(PROJECT / ".venv-scan")
    monkeypatch.chdir(made.root)
    app = typer.Typer()
    register(app)

    done = CliRunner().invoke(app, ["validate", "--json"], standalone_mode=False)

    assert done.return_value == 1, done.output
    failures = {one["check"]: one["failures"] for one in json.loads(done.stdout)}
    assert set(failures) == {*FAULTS, "releases"}
    assert any("absent" in one for one in failures["renders"])
    assert all("flightline retraining manifests" in one for one in failures["retraining"])
    assert all("maxUnavailabel" in one or "already" in one for one in failures["schemas"])
    assert {one.partition("/")[0] for one in failures["schemas"]} == {"k8s", "argocd"}
    assert any("Rollout flightline: CKV_K8S_22" in one for one in failures["security"])
    assert all("AnalysisTemplate flightline-promotion" in one for one in failures["analyses"])
    assert all("p95_seconds" in one for one in failures["alerts"])
    assert all("python:3.12" in one for one in failures["digests"])
    assert all("argocd/applications.yaml" in one for one in failures["settings"])
    assert all(".github/workflows/deliver.yml" in one for one in failures["workflows"])
    assert all("k8s/releases/staging" in one for one in failures["releases"])
    assert all(failures.values())
    assert done.stderr.count("FAIL ") == 10
