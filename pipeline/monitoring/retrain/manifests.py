"""k8s/retraining/: the steps as a CronJob and as an Argo Workflow, written from the one list of them.

People change steps.py and params.yaml, never these files; `make validate` renders them anew and compares.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import ConfigError, Settings, read_settings
from pipeline.monitoring.retrain.config import Retrain, read_retrain
from pipeline.monitoring.retrain.steps import HOLDER, STEPS, Step

FOLDER = Path("k8s/retraining")
PINNED = FOLDER / "image/kustomization.yaml"
IMAGE = "training"
ENTRY = "/app/retrain.sh"
WORK, GOES = "/workspace", "/workspace/goes"
AS_OF, FORCE = "FLIGHTLINE_AS_OF", "FLIGHTLINE_FORCE"
# What no second try mends: refused or failed, wrong configuration, wrong data.
FINAL = (1, 64, 65)
# How long what has ended can still be looked at; what a person or an alarm started is in no schedule's history.
KEPT_SECONDS = 7 * 86400
COMPONENT = "retraining"
_USER = 65532
_CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
_HEADER = "# Written by `flightline retraining manifests` from the steps and params.yaml; change those instead.\n"

Document = dict[str, Any]


def name_of(settings: Settings) -> str:
    """What the objects and their namespace are called."""
    return f"{settings.name}-{COMPONENT}"


def name_for(settings: Settings, as_of: date, force: str) -> str:
    """`flightline-retraining-20130603`; what a person forces has a name of its own."""
    return f"{name_of(settings)}-{as_of:%Y%m%d}{'-forced' if force else ''}"


def documents(settings: Settings, retrain: Retrain) -> dict[Path, list[Document]]:
    """Every file by its path from the top of the repository, as its objects."""
    return {
        FOLDER / "job/cronjob.yaml": [cron_job(settings, retrain)],
        FOLDER / "workflow/workflow.yaml": [workflow_template(settings, retrain), cron_workflow(settings, retrain)],
    }


def texts(root: Path) -> dict[Path, str]:
    """Every file as it is to be. Raises ConfigError."""
    made = documents(read_settings(root), read_retrain(root))
    return {
        path: _HEADER + yaml.dump_all(objects, Dumper=_Indented, sort_keys=False, width=110)
        for path, objects in made.items()
    }


def differing(root: Path) -> tuple[Path, ...]:
    """The files that are not as they are to be."""
    wanted = texts(root)
    return tuple(path for path, text in wanted.items() if _read(root / path) != text)


def write(root: Path) -> None:
    """Write every file."""
    for path, text in texts(root).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def pin(root: Path, reference: str) -> None:
    """Have the manifests name this image, by digest. Raises ConfigError for a reference without one."""
    name, _, digest = reference.partition("@")
    if not digest:
        raise ConfigError(f"{reference!r} has no digest; name the image as HOST/REPOSITORY@sha256:...")
    text = (root / PINNED).read_text()
    for key, value in (("newName", name), ("digest", digest)):
        text = re.sub(rf"(?m)^( +{key}: ).*$", rf"\g<1>{value}", text)
    (root / PINNED).write_text(text)


class _Indented(yaml.SafeDumper):
    """Lists stand two spaces in, and nothing is an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """As in files that people write."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """The same value twice is written twice."""
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text of several lines stands as it is."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Indented.add_representer(str, _block)


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def cron_job(settings: Settings, retrain: Retrain) -> Document:
    """One pod a run: every step but the last is an init container, so that each has resources of its own."""
    *first, last = STEPS
    holder: Document = {
        "name": HOLDER,
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}},
    }
    asked: list[Document] = [holder, {"name": AS_OF, "value": ""}, {"name": FORCE, "value": ""}]
    pod = {
        "restartPolicy": "Never",
        **_pod(settings),
        **_place(retrain),
        "initContainers": [_container(settings, one, asked) for one in first],
        "containers": [_container(settings, last, asked)],
        "volumes": [_scratch(_largest(STEPS))],
    }
    job = {
        # What only went away is tried again without end of its node, but not for ever.
        "backoffLimit": max(one.retries for one in STEPS),
        "activeDeadlineSeconds": sum(one.seconds for one in STEPS),
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [*FINAL]}},
            ]
        },
        "template": {"metadata": {"labels": _labels(settings)}, "spec": pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name_of(settings), "labels": _labels(settings), "annotations": _SKIPS},
        "spec": {
            "schedule": retrain.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": _labels(settings)}, "spec": job},
        },
    }


# checkov reads an object's own annotations, and a CronJob's alone among these.
_SKIPS = {
    "checkov.io/skip1": "CKV_K8S_11=no CPU limit: throttled, the gates would measure the limit",
    "checkov.io/skip2": "CKV_K8S_35=git, boto and DVC take their secrets from variables, which one Secret holds",
}


def workflow_template(settings: Settings, retrain: Retrain) -> Document:
    """One pod a step: each on a node of its own, tried again by itself."""
    name = name_of(settings)
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": name, "labels": _labels(settings)},
        "spec": {
            "entrypoint": "retrain",
            "arguments": {"parameters": [{"name": "as-of", "value": ""}, {"name": "force", "value": ""}]},
            "activeDeadlineSeconds": sum(one.seconds for one in STEPS),
            "synchronization": {"mutexes": [{"name": name}]},
            "ttlStrategy": {"secondsAfterCompletion": KEPT_SECONDS},
            "podGC": {"strategy": "OnPodSuccess"},
            "podMetadata": {"labels": _labels(settings)},
            "serviceAccountName": name,
            "automountServiceAccountToken": False,
            # Only Argo's own container beside each step talks to Kubernetes: it writes the step's result.
            "executor": {"serviceAccountName": name},
            "securityContext": _pod(settings)["securityContext"],
            "podSpecPatch": _patch(),
            "templates": [_dag(), *(_template(settings, retrain, one) for one in STEPS)],
        },
    }


def cron_workflow(settings: Settings, retrain: Retrain) -> Document:
    """The schedule of the WorkflowTemplate."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": name_of(settings), "labels": _labels(settings)},
        "spec": {
            "schedules": [retrain.schedule],
            "timezone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "workflowSpec": {"workflowTemplateRef": {"name": name_of(settings)}},
        },
    }


def _patch() -> str:
    """Argo's own containers as Pod Security "restricted" wants them; unasked they say nothing, and no pod is made."""
    patch = {
        "enableServiceLinks": False,
        "initContainers": [{"name": "init", "securityContext": _CONFINED}],
        "containers": [{"name": "wait", "securityContext": _CONFINED}],
    }
    return yaml.dump(patch, Dumper=_Indented, sort_keys=False)


def _dag() -> Document:
    """Each step after the one it needs; without an attempt nothing follows the first."""
    goes = "{{tasks.decide.outputs.parameters.goes}} == true"
    tasks = [
        {
            "name": one.name,
            "template": one.name,
            **({"depends": " && ".join(one.needs), "when": goes} if one.needs else {}),
        }
        for one in STEPS
    ]
    return {"name": "retrain", "dag": {"tasks": tasks}}


def _template(settings: Settings, retrain: Retrain, one: Step) -> Document:
    asked = [
        {"name": HOLDER, "value": "{{workflow.name}}"},
        {"name": AS_OF, "value": "{{workflow.parameters.as-of}}"},
        {"name": FORCE, "value": "{{workflow.parameters.force}}"},
    ]
    first = {"outputs": {"parameters": [{"name": "goes", "valueFrom": {"path": GOES}}]}}
    final = ", ".join(map(str, FINAL))
    return {
        "name": one.name,
        "activeDeadlineSeconds": one.seconds,
        "retryStrategy": {
            "limit": str(one.retries),
            "retryPolicy": "Always",
            "expression": f"!(asInt(lastRetry.exitCode) in [{final}])",
            # Without a longest duration: that would end the step itself, not the waiting alone.
            "backoff": {"duration": "30s", "factor": "2"},
        },
        **(_place(retrain) if one.spot else {}),
        **({} if one.needs else first),
        # As Argo calls it. Without a command it would ask the image's registry for one, with credentials of its own.
        "container": {**_container(settings, one, asked), "name": "main", "command": [ENTRY]},
        "volumes": [_scratch(one.resources.disk)],
    }


def _container(settings: Settings, one: Step, asked: Sequence[Document]) -> Document:
    goes = () if one.needs else ("--goes", GOES)
    return {
        "name": one.name,
        "image": IMAGE,
        "args": [*one.command[1:], *goes],
        "env": [*asked, {"name": "HOME", "value": f"{WORK}/home"}, {"name": "TMPDIR", "value": f"{WORK}/scratch"}],
        "envFrom": [{"configMapRef": {"name": name_of(settings)}}, {"secretRef": {"name": name_of(settings)}}],
        "resources": {
            "requests": {"cpu": one.resources.cpu, "memory": one.resources.memory},
            "limits": {"memory": one.resources.memory},
        },
        "securityContext": _CONFINED,
        "volumeMounts": [{"name": "work", "mountPath": WORK}],
    }


def _pod(settings: Settings) -> Document:
    return {
        "serviceAccountName": name_of(settings),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _place(retrain: Retrain) -> Document:
    """Spot nodes, where params.yaml names some."""
    wanted = {"nodeSelector": retrain.spot.node_selector, "tolerations": [*retrain.spot.tolerations]}
    return {key: value for key, value in wanted.items() if value}


def _scratch(size: str) -> Document:
    return {"name": "work", "emptyDir": {"sizeLimit": size}}


def _largest(steps: Sequence[Step]) -> str:
    """The largest disk, all of them in Gi."""
    return max((one.resources.disk for one in steps), key=lambda disk: int(disk.removesuffix("Gi")))


def _labels(settings: Settings) -> Mapping[str, str]:
    return {
        "app.kubernetes.io/name": settings.name,
        "app.kubernetes.io/component": COMPONENT,
        "app.kubernetes.io/part-of": settings.name,
    }
