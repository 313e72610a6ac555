"""`[tool.flightline]` says once whose fork this is: a check that files agree with it, a verb that makes them agree."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.config import ConfigError, Settings, Signing, read_yaml
from pipeline.delivery.render import IMAGE
from pipeline.supply.cosign import identity_of
from pipeline.validate.places import Place, replaced, scalars
from pipeline.validate.results import Result, several

NAME = "settings"
BASE = Path("k8s/base/kustomization.yaml")
APPLICATIONS = Path("argocd/applications.yaml")
OVERLAYS = Path("k8s/overlays")
ADMISSION = Path("k8s/admission")
RUNBOOKS = Path("docs/runbooks")
BINDING, SIGNATURES = ADMISSION / "binding.yaml", ADMISSION / "policy-controller/clusterimagepolicy.yaml"
TRAINING = Path("k8s/retraining/image/kustomization.yaml")
# Of what runs main's own code: where that is.
TRAINED_BY, OBSERVED_BY = Path("k8s/retraining/base/settings.yaml"), Path("k8s/monitoring/settings.yaml")
RETRAINING = "retraining"
COLLECTOR = Path("k8s/log-shipping/config/collector.yaml")
WORKFLOW = Signing(
    identity="{repository}/.github/workflows/deliver.yml@refs/heads/{branch}",
    issuer="https://token.actions.githubusercontent.com",
)
_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of")
_NAMED = frozenset({"AppProject", "Application", "ApplicationSet"})
_REFERENCES = frozenset(
    "canaryService stableService serviceAccountName templateName serviceName weightedTraefikServiceName httpRoute "
    "project policyName kubernetes.io/service-account.name".split()
)
_NAMELESS = frozenset({"", "Kustomization", "Component"})
_PLATFORM = frozenset("argocd argo-rollouts monitoring gateway kube-system default".split())

Expected = Callable[[Settings, Place], str | None]


@dataclass(frozen=True)
class Disagreement:
    """A place whose value is not the one that a setting asks for."""

    place: Place
    setting: str
    expected: str

    @property
    def sentence(self) -> str:
        """File, line, found, expected, fix."""
        at = f"{self.place.path}:{self.place.line}"
        fix = f"(`{self.setting}`); run `flightline settings apply`"
        return f"{at}: found {self.place.value!r}, expected {self.expected!r} {fix}"


def _keyless(settings: Settings) -> Signing:
    """The workflow that signs; the template's own where a key does, since policy-controller is no use then."""
    return settings.signing if settings.signing and settings.signing.identity else WORKFLOW


def _subject(settings: Settings) -> str:
    return identity_of(settings, _keyless(settings).identity)


@dataclass(frozen=True)
class Line:
    """A value that YAML does not name, wherever it stands in a file: the group of the pattern."""

    path: Path
    pattern: str
    setting: str
    expected: Callable[[Settings], str]


LINES = (
    Line(Path(".github/CODEOWNERS"), r"^\* (.+)$", "owners", lambda settings: " ".join(settings.owners)),
    Line(Path("SECURITY.md"), r"(\S+@\S+\.\w+)", "security_contact", lambda settings: settings.security_contact),
    Line(Path("Dockerfile"), r'image\.title="([^"]*)"', "name", lambda settings: settings.name),
    Line(Path("argocd/notifications/configmap.yaml"), r'"ref" "([^"]*)"', "branch", lambda settings: settings.branch),
    Line(ADMISSION / "policy.yaml", r"""expression: '"([^"]*)"'""", "registry", lambda settings: settings.registry),
    Line(TRAINING, r"newName: (\S+)-training", "registry", lambda settings: settings.registry),
    Line(TRAINED_BY, r"FLIGHTLINE_REPOSITORY: (\S+)", "repository", lambda settings: settings.repository),
    Line(TRAINED_BY, r"FLIGHTLINE_BRANCH: (\S+)", "branch", lambda settings: settings.branch),
    Line(OBSERVED_BY, r"FLIGHTLINE_REPOSITORY: (\S+)", "repository", lambda settings: settings.repository),
    Line(OBSERVED_BY, r"FLIGHTLINE_BRANCH: (\S+)", "branch", lambda settings: settings.branch),
    Line(COLLECTOR, r"/var/log/pods\}/([\w-]+)-\w+_", "name", lambda settings: settings.name),
    Line(SIGNATURES, r"glob: (\S+)@sha256:", "registry", lambda settings: settings.registry),
    Line(SIGNATURES, r"subject: (\S+)", "signing.identity", _subject),
    Line(SIGNATURES, r"issuer: (\S+)", "signing.issuer", lambda settings: _keyless(settings).issuer),
    Line(Path(".github/workflows/deliver.yml"), r"branches:\n +- (\S+)", "branch", lambda settings: settings.branch),
    Line(Path(".github/workflows/security.yml"), r"branches:\n +- (\S+)", "branch", lambda settings: settings.branch),
)


def check(root: Path, settings: Settings) -> Result:
    """Every place that a setting decides, and the environments' folders and lists."""
    found = list(_judged(root, settings))
    failures = [one.sentence for one in found if isinstance(one, Disagreement)]
    failures += _environments(root, settings)
    return Result(NAME, several(len(found), "place"), tuple(failures))


def apply(root: Path, settings: Settings) -> tuple[Path, ...]:
    """Rewrite every place that disagrees; returns the files that changed. Raises ConfigError."""
    old = _name_in_manifests(root)
    changed = [path for path in _manifests(root) if _rewrite(root, path, _changes(root, path, settings, old))]
    changed += [line.path for line in LINES if _rewrite(root, line.path, _line_changes(root, line, settings))]
    return tuple(changed)


def _judged(root: Path, settings: Settings) -> Iterator[Place | Disagreement]:
    """Each place that a setting decides: itself where it agrees."""
    for path in _manifests(root):
        for place in scalars(path, (root / path).read_text()):
            yield from _judge(place, settings)
    for line in LINES:
        wanted = line.expected(settings)
        for place in _on_lines(root, line):
            yield place if place.value == wanted else Disagreement(place, line.setting, wanted)


def _judge(place: Place, settings: Settings) -> Iterator[Place | Disagreement]:
    for setting, expected in RULES:
        wanted = expected(settings, place)
        if wanted is not None:
            yield place if place.value == wanted else Disagreement(place, setting, wanted)
            return


def _repository(settings: Settings, place: Place) -> str | None:
    return settings.repository if place.keys[-1:] in (("repoURL",), ("sourceRepos",)) else None


def _runbook(settings: Settings, place: Place) -> str | None:
    return page(settings, f"{RUNBOOKS}/{Path(place.value).name}") if place.keys[-1:] == ("runbook_url",) else None


def page(settings: Settings, path: str) -> str:
    """Where people read a file of the branch: as GitHub has it where the host says so, else as Gitea and Forgejo do."""
    kind = "blob" if "github" in (urlsplit(settings.repository).hostname or "") else "src/branch"
    return f"{settings.repository.removesuffix('.git')}/{kind}/{settings.branch}/{path}"


def _branch(settings: Settings, place: Place) -> str | None:
    return settings.branch if place.keys[-1:] == ("targetRevision",) else None


def _label(settings: Settings, place: Place) -> str | None:
    return settings.name if set(_LABELS) & set(place.keys[-1:]) else None


def _namespace(settings: Settings, place: Place) -> str | None:
    """`NAME-ENVIRONMENT`: the overlay's own; elsewhere the one whose environment it names, or else the first."""
    whitelisted = place.keys[-2:] == ("clusterResourceWhitelist", "name")
    selected = place.path == BINDING and place.keys[-1:] == ("values",)
    if not (whitelisted or selected or place.keys[-1:] == ("namespace",)) or place.value in _PLATFORM | {""}:
        return None
    if "{{ .environment }}" in place.value:
        return f"{settings.name}-{{{{ .environment }}}}"
    if place.path.is_relative_to(OVERLAYS):
        return f"{settings.name}-{place.path.relative_to(OVERLAYS).parts[0]}"
    known = [f"{settings.name}-{environment}" for environment in settings.environments]
    spaces = (*settings.environments, RETRAINING)
    environment = next((one for one in spaces if place.value.endswith(f"-{one}")), None)
    return known[0] if environment is None else f"{settings.name}-{environment}"


def _object(settings: Settings, place: Place) -> str | None:
    """Names of objects and references to them are NAME or NAME-something; what follows the first word stays."""
    if place.keys != ("metadata", "name") and not _REFERENCES & set(place.keys[-1:]):
        return None
    if place.kind in _NAMELESS or (place.path.parts[0] == "argocd" and place.kind not in _NAMED):
        return None
    if place.value == settings.name or place.value.startswith(f"{settings.name}-"):
        return place.value
    return settings.name + "".join(place.value.partition("-")[1:])


RULES: tuple[tuple[str, Expected], ...] = (
    ("repository", _repository),
    ("repository", _runbook),
    ("branch", _branch),
    ("name", _label),
    ("name", _namespace),
    ("name", _object),
)


def _manifests(root: Path) -> list[Path]:
    """People's YAML, relative to the root: k8s/ without releases, and argocd/."""
    found = [*(root / "k8s").rglob("*.yaml"), *(root / "argocd").rglob("*.yaml")]
    relative = sorted(path.relative_to(root) for path in found)
    return [path for path in relative if path.parts[:2] != ("k8s", "releases")]


def _on_lines(root: Path, line: Line) -> list[Place]:
    text = (root / line.path).read_text()
    matches = [*re.finditer(line.pattern, text, re.MULTILINE)]
    if not matches:
        raise ConfigError(f"{line.path}: nothing like {line.pattern}, where `{line.setting}` belongs; write it there")
    return [Place(line.path, text.count("\n", 0, one.start(1)) + 1, one.span(1), one[1]) for one in matches]


def _line_changes(root: Path, line: Line, settings: Settings) -> dict[tuple[int, int], str]:
    wanted = line.expected(settings)
    return {place.span: wanted for place in _on_lines(root, line) if place.value != wanted}


def _changes(root: Path, path: Path, settings: Settings, old: str) -> dict[tuple[int, int], str]:
    """What a rule decides, as it decides; elsewhere the old name, where it stands as a name."""
    text = (root / path).read_text()
    changes: dict[tuple[int, int], str] = {}
    for place in scalars(path, text):
        start, end = place.span
        judged = next(_judge(place, settings), None)
        written = text[start:end]
        if isinstance(judged, Disagreement):
            changes[place.span] = written.replace(place.value, judged.expected)
        elif judged is None and _is_ours(place):
            changes[place.span] = renamed(written, old, settings.name)
    return {span: new for span, new in changes.items() if text[slice(*span)] != new}


def _is_ours(place: Place) -> bool:
    """Not the placeholder of the image, and not the platform's own settings, whose names are contracts."""
    return place.value != IMAGE and (place.path.parts[0] == "k8s" or len(place.path.parts) == 2)  # noqa: PLR2004


def renamed(text: str, old: str, new: str) -> str:
    """The text with the old name, alone or before a hyphen, replaced; `old/`, `old_` and `old:` begin contracts."""
    return re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w:/])", new, text) if old != new else text


def _name_in_manifests(root: Path) -> str:
    """What the manifests are called now."""
    for place in scalars(BASE, (root / BASE).read_text()):
        if place.keys[-1:] == (_LABELS[0],):
            return place.value
    raise ConfigError(f"{BASE}: no label {_LABELS[0]}, which says what the objects are called; write it there")


def _rewrite(root: Path, path: Path, changes: Mapping[tuple[int, int], str]) -> bool:
    if changes:
        (root / path).write_text(replaced((root / path).read_text(), changes))
    return bool(changes)


def _selected(root: Path) -> list[str]:
    """The namespaces that the admission policy is bound to."""
    (expression,) = read_yaml(root / BINDING)["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    found: list[str] = expression["values"]
    return found


def _environments(root: Path, settings: Settings) -> Iterator[str]:
    """Overlays, Argo CD's list and the admission policy name the environments of the settings, no more and no fewer."""
    wanted = sorted(settings.environments)
    listed = read_yaml(root / APPLICATIONS)["spec"]["generators"][0]["list"]["elements"]
    for where, found in (
        (OVERLAYS, sorted(path.parent.name for path in (root / OVERLAYS).glob("*/kustomization.yaml"))),
        (APPLICATIONS, sorted(one["environment"] for one in listed)),
        (BINDING, sorted(one.removeprefix(f"{settings.name}-") for one in _selected(root))),
    ):
        if found != wanted:
            names = ", ".join(found) or "none"
            yield f"{where}: found environments {names}, expected {', '.join(wanted)} (`environments`)"
