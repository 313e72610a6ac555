"""What each environment is at: what git says, what Argo CD synced, what the rollout does and why it waits, what runs.

`look` fetches; `judge` decides from what was fetched and is pure; `Status.text` shows it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pipeline import production
from pipeline.config import Frozen
from pipeline.context import Context
from pipeline.delivery.cluster import Cluster, ClusterError, Json, Names, Objects, connect
from pipeline.delivery.control import abort_reason, identity_of
from pipeline.delivery.git import Repository
from pipeline.delivery.history import timeline
from pipeline.delivery.models import DeliveryError
from pipeline.errors import UNAVAILABLE, GitError
from pipeline.text import plain

Standing = Literal["in step", "under way", "waiting", "broken", "unknown"]

VERSION, HASH, KIND = "flightline/version", "rollouts-pod-template-hash", "rollout-type"
SHORT = 12
# From the gravest: a script that looks at several environments gets the first of these that holds for any.
EXIT_CODES: Mapping[Standing, int] = {"unknown": UNAVAILABLE, "broken": 1, "waiting": 2, "under way": 3, "in step": 0}
_NOT_STARTING = {
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull"),
    *("CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
}
_POD_WARNINGS = {"Failed", "FailedScheduling", "FailedMount", "Unhealthy"}
_FAILED = {"Failed", "Error"}


class InGit(Frozen):
    """What main says: `commit` wrote the release; `held` is the reason where its identity may not be released."""

    main: str
    commit: str | None = None
    identity: str | None = None
    version: str | None = None
    source: str | None = None
    image: str | None = None
    held: str | None = None
    holds: int = 0


class Synced(Frozen):
    """What Argo CD says: the commit it compared with, and how its last operation ended."""

    revision: str
    sync: str
    health: str
    operation: str
    message: str


class Measured(Frozen):
    """One metric of an analysis: its phase, the last value and how often it was measured."""

    name: str
    phase: str
    value: str
    count: int
    message: str


class Analysis(Frozen):
    """An analysis of the version that rolls out: `kind` is Background or Step."""

    name: str
    kind: str
    phase: str
    message: str
    metrics: tuple[Measured, ...]


class Rolling(Frozen):
    """What the Rollout does: `step` of `steps` is counted from 1, 0 where it takes none; `why` is what it waits for."""

    identity: str
    version: str
    phase: str
    step: int
    steps: int
    doing: str
    why: str
    analyses: tuple[Analysis, ...]


class Pods(Frozen):
    """The pods of one ReplicaSet: `ready` of `count`; `problems` are what keeps others from starting."""

    role: Literal["stable", "canary", "old"]
    version: str
    digest: str
    ready: int
    count: int
    names: tuple[str, ...]
    problems: tuple[str, ...]


class Environment(Frozen):
    """One environment and the verdict on it; `reasons` say why it is not in step, most telling first."""

    name: str
    standing: Standing
    reasons: tuple[str, ...]
    git: InGit | None
    synced: Synced | None
    rollout: Rolling | None
    pods: tuple[Pods, ...]

    @property
    def text(self) -> str:
        """The environment as lines, each with what it is about."""
        lines = [(self.name, self.standing.upper()), *((" why", reason) for reason in self.reasons), *_lines(self)]
        return "\n".join(f"{about:<12}{plain(said)}" for about, said in lines)


class Status(Frozen):
    """Every environment that was asked about, and notes on what could not be asked."""

    environments: tuple[Environment, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 in step, 1 broken, 2 waiting for a human, 3 under way, 69 not known."""
        standings = {one.standing for one in self.environments}
        return next((code for standing, code in EXIT_CODES.items() if standing in standings), 0)

    @property
    def settled(self) -> bool:
        """Whether nothing moves by itself any more."""
        return all(one.standing in {"in step", "broken", "waiting"} for one in self.environments)

    @property
    def text(self) -> str:
        """All of it for a person."""
        return "\n\n".join([one.text for one in self.environments] + [f"note: {plain(note)}" for note in self.notes])


def look(context: Context, environments: Sequence[str], kubernetes_context: str = "") -> Status:
    """Ask git and the cluster. What cannot be asked, or read, becomes a note."""
    repository, main, notes = main_of(context)
    asked: list[tuple[str, InGit | None, Objects | None]] = []
    cluster: Cluster | None = None
    try:
        cluster = connect(kubernetes_context)
    except ClusterError as error:
        notes.append(str(error))
    for name in environments:
        said = None
        try:
            said = in_git(repository, main, name) if repository and main else None
        except (DeliveryError, GitError) as error:
            notes.append(str(error))
        try:
            found = cluster.environment(Names.of(context.settings, name)) if cluster else None
        except ClusterError as error:
            notes.append(str(error))
            cluster = found = None
        asked.append((name, said, found))
    judged = tuple(judge(name, said, found, has_release(repository, said, found)) for name, said, found in asked)
    return Status(environments=judged, notes=tuple(notes))


def main_of(context: Context) -> tuple[Repository | None, str | None, list[str]]:
    """The repository and main's commit: the remote's, or the last one seen where it cannot be asked."""
    try:
        repository = Repository.of(context)
    except GitError as error:
        return None, None, [str(error)]
    try:
        return repository, repository.fetch(), []
    except GitError as error:
        note = f"{error}; what git says is as of the last fetch"
    try:
        ref = production.main_ref(context)
        return repository, repository.text("rev-parse", ref) if ref else None, [note]
    except GitError:
        return repository, None, [note]


def in_git(repository: Repository, main: str, environment: str) -> InGit:
    """What a commit of main says of an environment. Raises DeliveryError, GitError."""
    found = timeline(repository, main, environment)
    if found.release is None:
        return InGit(main=main, holds=len(found.held))
    said = {name: getattr(found.release, name) for name in ("identity", "version", "source", "image")}
    commit = next((commit for commit, _ in found.releases()), main)
    return InGit(main=main, commit=commit, held=found.held.get(found.identity), holds=len(found.held), **said)


def has_release(repository: Repository | None, git: InGit | None, found: Objects | None) -> bool | None:
    """Whether the commit that Argo CD synced holds the release; None where git cannot tell."""
    synced = synced_of(found.application) if found and found.application else None
    if repository is None or git is None or git.commit is None or synced is None:
        return None
    return repository.contains(synced.revision, git.commit) if repository.knows(synced.revision) else None


def judge(name: str, git: InGit | None, found: Objects | None, has_release: bool | None = None) -> Environment:
    """The environment from what was fetched. Pure.

    `found` is None where the cluster cannot be asked; `has_release` is whether what Argo CD synced holds the release.
    """
    if found is None:
        return Environment(name=name, standing="unknown", reasons=(), git=git, synced=None, rollout=None, pods=())
    synced = synced_of(found.application) if found.application else None
    rollout, pods = rolling_of(found), pods_of(found)
    said = list(_findings(git, synced, rollout, pods, found, has_release))
    standing = next((one for one in EXIT_CODES if one in {grave for grave, _ in said}), "in step")
    order = list(EXIT_CODES)
    ordered = sorted(said, key=lambda one: order.index(one[0]))
    reasons = tuple(dict.fromkeys(why for _, why in ordered if why))
    return Environment(
        name=name, standing=standing, reasons=reasons, git=git, synced=synced, rollout=rollout, pods=pods
    )


_Finding = tuple[Standing, str]


def _findings(
    git: InGit | None,
    synced: Synced | None,
    rollout: Rolling | None,
    pods: Sequence[Pods],
    found: Objects,
    has_release: bool | None,
) -> Iterator[_Finding]:
    """Everything that keeps the environment from being in step."""
    yield from _of_git(git, synced, rollout, has_release)
    if synced is not None:
        yield from _of_sync(synced, rollout, released=git is None or git.identity is not None)
    if rollout is not None and found.rollout is not None:
        yield _of_rollout(rollout, found.rollout)
    yield from (("under way", problem) for group in pods for problem in group.problems)


def _of_git(
    git: InGit | None, synced: Synced | None, rollout: Rolling | None, has_release: bool | None
) -> Iterator[_Finding]:
    if git is None:
        yield "unknown", "what main says is not known here, as a note below says"
        return
    if git.held:
        yield "broken", f"main releases identity {_short(git.identity)}, which is held: {git.held}"
    if git.identity is None:
        if rollout is not None:
            yield "broken", f"main has no release, and identity {_short(rollout.identity)} runs here"
        return
    if synced is None:
        yield "broken", "main has a release, and Argo CD has no application here; install argocd/ (docs/operations.md)"
    elif has_release is False or rollout is None:
        yield "under way", f"Argo CD is at {_short(synced.revision)}, the release is in {_short(git.commit)}"
    elif rollout.identity != git.identity:
        yield "broken", f"main says identity {_short(git.identity)}, the rollout {_short(rollout.identity)}"


def _of_sync(synced: Synced, rollout: Rolling | None, *, released: bool) -> Iterator[_Finding]:
    if synced.operation in _FAILED:
        yield "broken", f"Argo CD could not sync: {synced.message}"
    elif synced.operation == "Running":
        yield "under way", f"Argo CD is syncing: {synced.message}"
    elif synced.sync != "Synced" and released:
        yield "broken", f"Argo CD says {synced.sync or 'nothing yet'}: {synced.message or 'the cluster is not as main'}"
    elif synced.health == "Degraded" and rollout is not None and rollout.phase == "Healthy":
        yield "broken", "Argo CD says Degraded though the rollout is healthy; look at the application's other objects"


def _of_rollout(rolling: Rolling, rollout: Json) -> _Finding:
    status = rollout.get("status", {})
    if status.get("abort") or rolling.phase in {"Degraded", "Aborted"}:
        return "broken", rolling.why
    if rolling.phase == "Paused" and _without_end(rollout):
        return "waiting", rolling.why
    return ("in step", "") if rolling.phase == "Healthy" else ("under way", rolling.why)


def synced_of(application: Json) -> Synced:
    """What Argo CD's Application says; a condition that is an error is the message."""
    status = application.get("status", {})
    operation = status.get("operationState", {})
    errors = [one for one in status.get("conditions", ()) if str(one.get("type", "")).endswith("Error")]
    return Synced(
        revision=str(status.get("sync", {}).get("revision", "")),
        sync=str(status.get("sync", {}).get("status", "")),
        health=str(status.get("health", {}).get("status", "")),
        operation="Error" if errors else str(operation.get("phase", "")),
        message=str(errors[0].get("message", "")) if errors else str(operation.get("message", "")),
    )


def rolling_of(found: Objects) -> Rolling | None:
    """What the Rollout does and what it waits for."""
    rollout = found.rollout
    if rollout is None:
        return None
    status, steps = rollout.get("status", {}), _steps(rollout)
    ended, index = _is_stable(status) or bool(status.get("abort")), int(status.get("currentStepIndex", 0))
    analyses = () if _is_stable(status) else tuple(_analyses(found.analyses, str(status.get("currentPodHash", ""))))
    seen = str(status.get("observedGeneration", "")) == str(rollout["metadata"].get("generation"))
    return Rolling(
        identity=identity_of(rollout),
        version=str(rollout["metadata"].get("annotations", {}).get(VERSION, "")),
        phase=str(status.get("phase", "")) if seen else "Progressing",
        step=0 if ended else min(index + 1, len(steps)),
        steps=len(steps),
        doing="" if ended or index >= len(steps) else _step(steps[index]),
        why=_why(found, rollout, analyses) if seen else "the Rollouts controller has not seen the newest change",
        analyses=analyses,
    )


def _why(found: Objects, rollout: Json, analyses: Sequence[Analysis]) -> str:
    """What the Rollout waits for, or why it ended, in a sentence."""
    status = rollout.get("status", {})
    if status.get("abort"):
        return _aborted(rollout, analyses, _never_ready(found.warnings, rollout))
    if status.get("phase") == "Paused":
        return _paused(rollout, analyses)
    if status.get("phase") == "Healthy":
        return ""
    running = [one for one in analyses if one.phase == "Running" and one.kind == "Step"]
    return f"analysis under way: {_results(running)}" if running else str(status.get("message", ""))


def _aborted(rollout: Json, analyses: Sequence[Analysis], never_ready: str) -> str:
    said = [one for one in rollout["status"].get("conditions", ()) if one.get("reason") == "RolloutAborted"]
    given = abort_reason(rollout)
    failed = [one for one in analyses if one.phase in _FAILED]
    parts = (
        "aborted",
        given and f"reason given: {given}",
        str(said[0].get("message", "")) if said else "",
        never_ready,
        _results(failed),
    )
    return "; ".join(part for part in parts if part)


def _never_ready(warnings: Iterable[Json], rollout: Json) -> str:
    """What events, which live for an hour, tell of pods that were not ready in time and are gone by now."""
    replicaset = f"{rollout['metadata']['name']}-{rollout['status'].get('currentPodHash', '')}"
    ours = [one for one in warnings if _concerns(one, replicaset)]
    late = [one for one in ours if one["involvedObject"]["kind"] == "Rollout" and "timed out" in one["message"]]
    pods = [one for one in ours if one["involvedObject"]["kind"] == "Pod"] if late else []
    return "; ".join(dict.fromkeys(str(one["message"]) for one in (*late, *pods)))


def _concerns(event: Json, replicaset: str) -> bool:
    """Whether an event is about the pods of a ReplicaSet: one of theirs, or the Rollout's that names it."""
    about = event.get("involvedObject", {})
    if about.get("kind") == "Pod":
        return str(about.get("name", "")).startswith(f"{replicaset}-") and event.get("reason") in _POD_WARNINGS
    return about.get("kind") == "Rollout" and f'"{replicaset}"' in str(event.get("message", ""))


def _paused(rollout: Json, analyses: Sequence[Analysis]) -> str:
    reasons = [str(one.get("reason", "")) for one in rollout["status"].get("pauseConditions", ())]
    if "InconclusiveAnalysisRun" in reasons:
        doubtful = [one for one in analyses if one.phase == "Inconclusive"]
        return f"inconclusive, waiting for a human (`flightline resume` or `abort`): {_results(doubtful)}"
    if _without_end(rollout):
        return "paused without end, waiting for a human (`flightline resume` or `abort`)"
    since = rollout["status"]["pauseConditions"][0].get("startTime", "")
    return f"{_step(_steps(rollout)[int(rollout['status'].get('currentStepIndex', 0))])} since {since}"


def _without_end(rollout: Json) -> bool:
    """Whether only a person can end the pause: any but a pause step with a duration."""
    status, steps = rollout.get("status", {}), _steps(rollout)
    index = int(status.get("currentStepIndex", 0))
    timed = index < len(steps) and (steps[index].get("pause") or {}).get("duration") is not None
    reasons = {str(one.get("reason", "")) for one in status.get("pauseConditions", ())}
    return bool(rollout["spec"].get("paused")) or not (timed and reasons == {"CanaryPauseStep"})


def _results(analyses: Iterable[Analysis]) -> str:
    """The metrics of analyses with their last values; where none was measured, the analysis' own message."""
    said = [f"{one.name}: {_metrics(one) or one.message or one.phase}" for one in analyses]
    return "; ".join(said)


def _metrics(one: Analysis) -> str:
    telling = [metric for metric in one.metrics if metric.phase == one.phase] or list(one.metrics)
    return ", ".join(
        f"{metric.name} {metric.phase} at {metric.value or 'no value'} after {metric.count}"
        + (f" ({metric.message})" if metric.message else "")
        for metric in telling
    )


def _analyses(runs: Iterable[Json], pod_hash: str) -> Iterator[Analysis]:
    """The newest analysis of each kind for the pods that roll out."""
    newest: dict[str, Json] = {}
    for run in sorted(runs, key=lambda one: str(one["metadata"].get("creationTimestamp", ""))):
        labels = run["metadata"].get("labels", {})
        if labels.get(HASH) == pod_hash:
            newest[str(labels.get(KIND, ""))] = run
    yield from (_analysis(kind, run) for kind, run in newest.items())


def _analysis(kind: str, run: Json) -> Analysis:
    status = run.get("status", {})
    return Analysis(
        name=str(run["metadata"]["name"]),
        kind=kind,
        phase=str(status.get("phase", "Pending")),
        message=str(status.get("message", "")),
        metrics=tuple(_measured(one) for one in status.get("metricResults", ())),
    )


def _measured(result: Json) -> Measured:
    last = (result.get("measurements") or [{}])[-1]
    return Measured(
        name=str(result["name"]),
        phase=str(result.get("phase", "")),
        value=str(last.get("value", "")),
        count=int(result.get("count", 0)),
        message=str(result.get("message") or last.get("message") or ""),
    )


def pods_of(found: Objects) -> tuple[Pods, ...]:
    """The server's pods by ReplicaSet, the stable ones first."""
    status = (found.rollout or {}).get("status", {})
    versions = {hash_of(one): _annotation(one, VERSION) for one in found.replicasets}
    groups: dict[str, list[Json]] = {}
    for pod in found.pods:
        groups.setdefault(hash_of(pod), []).append(pod)
    made = [_group(pods, _role(name, status), versions.get(name, "")) for name, pods in groups.items()]
    order = ("stable", "canary", "old")
    return tuple(sorted(made, key=lambda group: (order.index(group.role), group.version)))


def _role(pod_hash: str, status: Json) -> Literal["stable", "canary", "old"]:
    if pod_hash == status.get("stableRS"):
        return "stable"
    return "canary" if pod_hash == status.get("currentPodHash") else "old"


def _group(pods: Sequence[Json], role: Literal["stable", "canary", "old"], version: str) -> Pods:
    problems = dict.fromkeys(problem for pod in pods for problem in _problems(pod))
    return Pods(
        role=role,
        version=version,
        digest=digest_of(pods[0]),
        ready=sum(map(_is_ready, pods)),
        count=len(pods),
        names=tuple(sorted(str(pod["metadata"]["name"]) for pod in pods)),
        problems=tuple(problems),
    )


def digest_of(pod: Json) -> str:
    """The digest of the image that a pod asks for, "" where it asks by tag."""
    return str(pod["spec"]["containers"][0].get("image", "")).partition("@")[2]


def _problems(pod: Json) -> Iterator[str]:
    """What keeps a pod from starting, as Kubernetes says it."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    for one in status.get("conditions", ()):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            yield f"a pod cannot be placed: {one.get('message', one.get('reason', ''))}"
    for one in status.get("containerStatuses", ()):
        waiting = one.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _NOT_STARTING:
            yield f"pod {name} does not start: {waiting['reason']}: {waiting.get('message') or _ended(one)}"


def _ended(container: Json) -> str:
    last = container.get("lastState", {}).get("terminated") or {}
    return (
        f"{last.get('reason', 'it ended')} with exit code {last['exitCode']}"
        if "exitCode" in last
        else "no reason given"
    )


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _is_stable(status: Json) -> bool:
    return bool(status.get("stableRS")) and status.get("stableRS") == status.get("currentPodHash")


def _steps(rollout: Json) -> Sequence[Json]:
    steps: Sequence[Json] = rollout["spec"].get("strategy", {}).get("canary", {}).get("steps", ())
    return steps


def _step(step: Json) -> str:
    """A canary step in words."""
    if "setWeight" in step:
        return f"{step['setWeight']} % of traffic to the canary"
    if "pause" in step:
        duration = (step["pause"] or {}).get("duration")
        return f"pause of {duration}" if duration is not None else "pause without end"
    if "analysis" in step:
        return f"analysis {', '.join(one['templateName'] for one in step['analysis'].get('templates', ()))}"
    return next(iter(step), "nothing")


def _lines(environment: Environment) -> Iterator[tuple[str, str]]:
    if environment.git is not None:
        yield " git", _git_line(environment.git)
    if environment.synced is not None:
        one = environment.synced
        yield " argo cd", f"{one.sync} at {_short(one.revision)}, {one.health}; last sync {one.operation or 'none'}"
    if environment.rollout is not None:
        yield from _rollout_lines(environment.rollout)
    for group in environment.pods:
        runs = f"{_short(group.version)} ({group.digest[:19]})"
        yield " pods", f"{group.ready} of {group.count} ready, {group.role}, run {runs}"


def _git_line(git: InGit) -> str:
    holds = f"; {git.holds} held" if git.holds else ""
    if git.identity is None:
        return f"no release yet on main at {_short(git.main)}{holds}"
    made = f"version {_short(git.version)} from source {_short(git.source)}"
    return f"identity {_short(git.identity)}, {made}, released by {_short(git.commit)}{holds}"


def _rollout_lines(rollout: Rolling) -> Iterator[tuple[str, str]]:
    step = f", step {rollout.step} of {rollout.steps}: {rollout.doing or 'done'}" if rollout.step else ""
    yield " rollout", f"identity {_short(rollout.identity)}, {rollout.phase}{step}"
    for one in rollout.analyses:
        yield " analysis", f"{one.kind.lower()}, {one.phase}: {_metrics(one) or one.message or 'not measured yet'}"


def _short(value: str | None) -> str:
    return (value or "none")[:SHORT]


def hash_of(one: Json) -> str:
    """The ReplicaSet that Rollouts says a pod or ReplicaSet belongs to, "" for none."""
    return str(one["metadata"].get("labels", {}).get(HASH, ""))


def _annotation(one: Json, name: str) -> str:
    annotations: Mapping[str, Any] = one["metadata"].get("annotations") or {}
    return str(annotations.get(name, ""))
