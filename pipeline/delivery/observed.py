"""What Argo CD's Application, the Rollout, its analyses and its pods say, read from the objects of a cluster. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pipeline.config import Frozen
from pipeline.delivery.cluster import Json, Objects
from pipeline.delivery.control import abort_reason, identity_of

VERSION, HASH, KIND = "flightline/version", "rollouts-pod-template-hash", "rollout-type"
FAILED = frozenset({"Failed", "Error"})
_NOT_STARTING = {
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull"),
    *("CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
}
_POD_WARNINGS = {"Failed", "FailedScheduling", "FailedMount", "Unhealthy"}


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

    @property
    def figures(self) -> str:
        """The metrics that explain its phase, with their last values; empty where none was measured."""
        telling = [metric for metric in self.metrics if metric.phase == self.phase] or list(self.metrics)
        return ", ".join(
            f"{metric.name} {metric.phase} at {metric.value or 'no value'} after {metric.count}"
            + (f" ({metric.message})" if metric.message else "")
            for metric in telling
        )


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
    failed = [one for one in analyses if one.phase in FAILED]
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
    if without_end(rollout):
        return "paused without end, waiting for a human (`flightline resume` or `abort`)"
    since = rollout["status"]["pauseConditions"][0].get("startTime", "")
    return f"{_step(_steps(rollout)[int(rollout['status'].get('currentStepIndex', 0))])} since {since}"


def without_end(rollout: Json) -> bool:
    """Whether only a person can end the pause: any but a pause step with a duration."""
    status, steps = rollout.get("status", {}), _steps(rollout)
    index = int(status.get("currentStepIndex", 0))
    timed = index < len(steps) and (steps[index].get("pause") or {}).get("duration") is not None
    reasons = {str(one.get("reason", "")) for one in status.get("pauseConditions", ())}
    return bool(rollout["spec"].get("paused")) or not (timed and reasons == {"CanaryPauseStep"})


def _results(analyses: Iterable[Analysis]) -> str:
    """The metrics of analyses with their last values; where none was measured, the analysis' own message."""
    said = [f"{one.name}: {one.figures or one.message or one.phase}" for one in analyses]
    return "; ".join(said)


def analyses_of(found: Objects) -> tuple[Analysis, ...]:
    """The newest analysis of each kind for the version that rolls out, or that did and is stable now."""
    status = (found.rollout or {}).get("status", {})
    return tuple(_analyses(found.analyses, str(status.get("currentPodHash", ""))))


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


def hash_of(one: Json) -> str:
    """The ReplicaSet that Rollouts says a pod or ReplicaSet belongs to, "" for none."""
    return str(one["metadata"].get("labels", {}).get(HASH, ""))


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


def _annotation(one: Json, name: str) -> str:
    annotations: Mapping[str, Any] = one["metadata"].get("annotations") or {}
    return str(annotations.get(name, ""))
