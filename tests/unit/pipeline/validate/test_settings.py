import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import Settings, read_settings
from pipeline.validate import settings as agreement
from pipeline.validate.renders import Rendered
from tests.unit.pipeline.validate.conftest import Edit

SIGNATURES = str(agreement.SIGNATURES)


def test_the_template_agrees_with_its_settings(tree: Path, settings: Settings) -> None:
    result = agreement.check(tree, settings)
    assert result.holds, result.failures


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "argocd/project.yaml",
            "- https://github.com/example/flightline",
            "- https://github.com/other/it",
            "repository",
        ),
        (
            "argocd/applications.yaml",
            "https://github.com/example/flightline",
            "https://github.com/other/it",
            "repository",
        ),
        ("argocd/applications.yaml", "targetRevision: main", "targetRevision: develop", "branch"),
        ("argocd/project.yaml", "namespace: flightline-staging", "namespace: other-staging", "name"),
        ("k8s/overlays/staging/kustomization.yaml", "flightline-staging", "flightline-stagign", "name"),
        ("k8s/base/rollout.yaml", "canaryService: flightline-canary", "canaryService: other-canary", "name"),
        ("k8s/base/serviceaccount.yaml", "  name: flightline", "  name: server", "name"),
        ("k8s/base/rollout.yaml", "app.kubernetes.io/part-of: flightline", "app.kubernetes.io/part-of: other", "name"),
        (".github/CODEOWNERS", "@example/ml-platform", "@other/team", "owners"),
        ("SECURITY.md", "security@example.com", "me@other.org", "security_contact"),
        ("k8s/admission/policy.yaml", "registry.example.com/flightline", "registry.example.com/other", "registry"),
        ("k8s/admission/binding.yaml", "policyName: flightline-images", "policyName: other-images", "name"),
        ("k8s/admission/binding.yaml", "- flightline-staging", "- other-staging", "name"),
        (
            "k8s/log-shipping/config/collector.yaml",
            "/flightline-production_*/server/*.log\n",
            "/other-production_*/server/*.log\n",
            "name",
        ),
        ("k8s/monitoring/settings.yaml", "example/flightline", "example/other", "repository"),
        ("k8s/monitoring/settings.yaml", "BRANCH: main", "BRANCH: develop", "branch"),
        (SIGNATURES, "glob: registry.example.com/flightline", "glob: registry.example.com/other", "registry"),
        (SIGNATURES, "github.com/example/flightline/.github", "github.com/other/it/.github", "signing.identity"),
        (SIGNATURES, "token.actions.githubusercontent.com", "token.example.com", "signing.issuer"),
        ("argocd/notifications/configmap.yaml", '"ref" "main"', '"ref" "develop"', "branch"),
    ],
)
def test_a_foreign_value_is_named_with_file_line_and_what_is_expected(
    tree: Path, settings: Settings, edit: Edit, file: str, old: str, new: str, expected: str
) -> None:
    edit(file, old, new)
    (failure, *more) = agreement.check(tree, settings).failures
    line = int(re.match(rf"{re.escape(file)}:(\d+): found ", failure)[1])
    found = re.search(r"found '([^']*)'", failure)[1]
    assert found in (tree / file).read_text().splitlines()[line - 1]
    assert f"(`{expected}`)" in failure
    assert all(file in one for one in more)


def test_an_environment_without_an_overlay_or_a_line_for_argo_cd_is_named(tree: Path, settings: Settings) -> None:
    more = settings.model_copy(update={"environments": (*settings.environments, "canada")})
    failures = agreement.check(tree, more).failures
    places = ["k8s/overlays", "argocd/applications.yaml", "k8s/admission/binding.yaml"]
    assert [one.partition(":")[0] for one in failures] == places


def test_a_fork_changes_its_settings_and_one_verb_does_the_rest(
    tree: Path, edit: Edit, rendered: Callable[[], Rendered], tmp_path: Path
) -> None:
    for old, new in (
        ('name = "flightline"\ntitle', 'name = "harbour"\ntitle'),
        ('branch = "main"', 'branch = "trunk"'),
        ("https://github.com/example/flightline", "https://git.example.org/port/harbour"),
        ("registry.example.com/flightline", "registry.example.org/port/harbour"),
        ("@example/ml-platform", "@port/pilots"),
        ("security@example.com", "pilots@example.org"),
    ):
        edit("pyproject.toml", old, new)
    mine = read_settings(tree)
    assert not agreement.check(tree, mine).holds

    changed = agreement.apply(tree, mine)

    assert Path("k8s/base/rollout.yaml") in changed
    result = agreement.check(tree, mine)
    assert result.holds, result.failures
    assert agreement.apply(tree, mine) == ()


def test_a_renamed_fork_renders_and_nothing_of_the_old_name_is_left_but_contracts(
    tree: Path, edit: Edit, tmp_path: Path
) -> None:
    from pipeline.validate import renders

    edit("pyproject.toml", 'name = "flightline"\ntitle', 'name = "harbour"\ntitle')
    mine = read_settings(tree)
    agreement.apply(tree, mine)
    found = renders.render(tree, mine, tmp_path / "scratch")
    assert found.result.holds, found.result.failures
    names = {one.metadata["name"] for one in found.documents if not one.name.startswith("Job ")}
    assert all(one == "harbour" or one.startswith("harbour-") for one in names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flightline", "harbour"),
        ("flightline-canary", "harbour-canary"),
        ("http://flightline.flightline-staging.svc", "http://harbour.harbour-staging.svc"),
        ("metadata.annotations['flightline/max-ks']", "metadata.annotations['flightline/max-ks']"),
        ("flightline_requests_total", "flightline_requests_total"),
        ("flightline:slo_p95_seconds", "flightline:slo_p95_seconds"),
        ("my-flightline", "my-flightline"),
    ],
)
def test_a_name_is_replaced_where_it_stands_as_one(text: str, expected: str) -> None:
    assert agreement.renamed(text, "flightline", "harbour") == expected


def test_comments_and_quotes_survive(tree: Path, edit: Edit, settings: Settings) -> None:
    edit("k8s/base/rollout.yaml", "canaryService: flightline-canary", 'canaryService: "other-canary"  # ours')
    agreement.apply(tree, settings)
    assert 'canaryService: "flightline-canary"  # ours' in (tree / "k8s/base/rollout.yaml").read_text()


def test_a_fork_that_signs_with_a_key_has_nothing_to_change_for_it(tree: Path, edit: Edit) -> None:
    text = (tree / "pyproject.toml").read_text()
    start = text.index("[tool.flightline.signing]")
    section = text[start : text.index("\n\n", start)]
    edit("pyproject.toml", section, '[tool.flightline.signing]\nkey = "cosign.pub"')
    result = agreement.check(tree, read_settings(tree))
    assert result.holds, result.failures
