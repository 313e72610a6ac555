import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local import argocd
from infra.local.components import PROJECT, State
from pipeline.config import Settings, read_settings
from pipeline.tools import Workshop

BOOTSTRAP = PROJECT / "argocd" / "bootstrap"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return read_settings(PROJECT)


@pytest.fixture(scope="module")
def project() -> Any:
    return yaml.safe_load((PROJECT / "argocd" / "project.yaml").read_text())


@pytest.fixture(scope="module")
def applications() -> Any:
    return yaml.safe_load((PROJECT / "argocd" / "applications.yaml").read_text())


@pytest.fixture(scope="module")
def template(applications: Any) -> Any:
    return applications["spec"]["template"]["spec"]


def test_project_agrees_with_the_settings(project: Any, settings: Settings) -> None:
    namespaces = [f"{settings.name}-{one}" for one in settings.environments]
    assert project["metadata"]["name"] == settings.name
    assert project["spec"]["sourceRepos"] == [settings.repository]
    assert [one["namespace"] for one in project["spec"]["destinations"]] == namespaces
    assert [one["name"] for one in project["spec"]["clusterResourceWhitelist"]] == namespaces


def test_applications_agree_with_the_settings(applications: Any, template: Any, settings: Settings) -> None:
    (generator,) = applications["spec"]["generators"]
    assert [one["environment"] for one in generator["list"]["elements"]] == [*settings.environments]
    assert (template["source"]["repoURL"], template["source"]["targetRevision"]) == (
        settings.repository,
        settings.branch,
    )
    assert template["project"] == settings.name
    assert template["destination"]["namespace"] == f"{settings.name}-{{{{ .environment }}}}"


def test_project_names_every_kind_and_only_namespaces_of_the_cluster(project: Any) -> None:
    kinds = project["spec"]["namespaceResourceWhitelist"]
    assert "*" not in {value for one in kinds for value in one.values()}
    assert {one["kind"] for one in project["spec"]["clusterResourceWhitelist"]} == {"Namespace"}
    refused = {"Pod", "Secret", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Ingress", "AnalysisRun"}
    assert not refused & {one["kind"] for one in kinds}


def test_releases_of_the_checkout_use_permitted_kinds(project: Any) -> None:
    permitted = {(one["group"], one["kind"]) for one in project["spec"]["namespaceResourceWhitelist"]}
    rendered = [*(PROJECT / "k8s" / "releases").glob("*/manifests.yaml")]
    documents = [one for path in rendered for one in yaml.safe_load_all(path.read_text())]
    used = {(one["apiVersion"].rpartition("/")[0], one["kind"]) for one in documents}
    assert used <= permitted


def test_deleting_an_application_deletes_nothing_else(applications: Any, template: Any) -> None:
    assert applications["spec"]["syncPolicy"] == {
        "preserveResourcesOnDeletion": True,
        "applicationsSync": "create-update",
    }
    assert "finalizers" not in applications["spec"]["template"]["metadata"]
    assert template["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True, "allowEmpty": False}


def test_retries_follow_main(template: Any) -> None:
    assert template["syncPolicy"]["retry"]["refresh"] is True


def test_namespaces_are_restricted(template: Any) -> None:
    labels = template["syncPolicy"]["managedNamespaceMetadata"]["labels"]
    modes = {key.rpartition("/")[2]: value for key, value in labels.items() if key.startswith("pod-security")}
    assert modes == dict.fromkeys(("enforce", "warn", "audit"), "restricted")


def test_only_the_repository_is_replaced(settings: Settings) -> None:
    address = "http://127.0.0.1:3000/flightline.git"
    project, applications = yaml.safe_load_all(argocd.applications(PROJECT, address))
    assert project["spec"]["sourceRepos"] == [address]
    assert applications["spec"]["template"]["spec"]["source"]["repoURL"] == address
    written = [
        yaml.safe_load((PROJECT / "argocd" / f"{name}.yaml").read_text()) for name in ("project", "applications")
    ]
    unchanged = yaml.safe_load_all(argocd.applications(PROJECT, settings.repository))
    assert [*unchanged] == written


@pytest.mark.parametrize("name", ["argo-cd", "argo-rollouts"])
def test_bootstrap_installs_the_version_that_is_tried_here(name: str) -> None:
    workshop = Workshop()
    version = workshop.version(workshop.find(name))
    text = (BOOTSTRAP / name / "kustomization.yaml").read_text()
    pinned = re.search(
        r"# The commit that tag (\S+) names\.\n\s+- https://github\.com/argoproj/\S+\?ref=([0-9a-f]{40})\n", text
    )
    assert pinned is not None
    assert pinned[1] == version
    assert f"| {version} | `{pinned[2]}` |" in (BOOTSTRAP / "README.md").read_text()


def test_rollouts_image_is_the_pinned_version() -> None:
    workshop = Workshop()
    component = yaml.safe_load((BOOTSTRAP / "argo-rollouts" / "settings" / "kustomization.yaml").read_text())
    assert [one["newTag"] for one in component["images"]] == [workshop.version(workshop.find("argo-rollouts"))]


def test_every_process_runs_with_its_own_account(tmp_path: Path) -> None:
    state = State(tmp_path)
    processes = {one.name: one for one in argocd.components(state)}
    for account in argocd.ACCOUNTS:
        assert processes[account.name].environment["KUBECONFIG"] == str(state.kubeconfig_of(account.name))
    assert {*processes} == {"argocd-redis", *(account.name for account in argocd.ACCOUNTS)}


def test_repo_server_forgets_branches_as_fast_as_the_controller_polls(tmp_path: Path) -> None:
    processes = argocd.components(State(tmp_path))
    polling = {one.environment.get("ARGOCD_RECONCILIATION_TIMEOUT") for one in processes if one.name != "argocd-redis"}
    assert polling == {argocd.POLLING}


def test_waves_follow_each_other_at_once_here_and_there(tmp_path: Path) -> None:
    written = yaml.safe_load((argocd.SETTINGS / "argocd-cmd-params-cm.yaml").read_text())["data"]
    processes = argocd.components(State(tmp_path))
    (controller,) = (one for one in processes if one.name == "argocd-application-controller")
    assert controller.environment["ARGOCD_SYNC_WAVE_DELAY"] == written["controller.sync.wave.delay.seconds"] == "0"


def test_nothing_but_metrics_listens_beyond_loopback(tmp_path: Path) -> None:
    server = next(one for one in argocd.components(State(tmp_path)) if one.name == "argocd-server")
    assert {"--address=127.0.0.1", "--disable-auth=true"} <= {*server.command}
