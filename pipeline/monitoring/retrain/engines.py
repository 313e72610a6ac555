"""Starting a retraining on a cluster: a Job of the CronJob's template, or a Workflow of the WorkflowTemplate.

Its name is made of the day that is looked at, so that fifty events of a day start one.
"""

from datetime import date
from typing import Any

from pipeline.config import ConfigError, Settings
from pipeline.delivery.cluster import Cluster, ClusterError, ConflictError, connect
from pipeline.errors import UnavailableError
from pipeline.monitoring.retrain import manifests


def submit(engine: str, settings: Settings, as_of: date, force: str = "") -> str:
    """Start it, unless that day's has been started; a sentence. Raises ConfigError, ClusterError, UnavailableError."""
    start = _STARTED.get(engine)
    if start is None:
        raise ConfigError(f"--engine: {engine!r} is none; there are job, workflow and local")
    try:
        return start(settings, as_of, force)
    except (ConfigError, UnavailableError) as error:
        raise type(error)(f"{error}; or retrain on this machine with `--engine local`") from error


def _job(settings: Settings, as_of: date, force: str) -> str:
    return start_job(connect(), settings, as_of, force)


def _workflow(settings: Settings, as_of: date, force: str) -> str:
    from pipeline.monitoring.retrain import argo

    return argo.submit(argo.Server.of(), settings, as_of, force)


_STARTED = {"job": _job, "workflow": _workflow}


def start_job(cluster: Cluster, settings: Settings, as_of: date, force: str) -> str:
    """A Job of the CronJob that is on the cluster: what was reviewed and applied is what runs."""
    space, name = manifests.name_of(settings), manifests.name_for(settings, as_of, force)
    path = f"/apis/batch/v1/namespaces/{space}"
    found = cluster.get(f"{path}/cronjobs/{space}")
    if found is None:
        raise ClusterError(f"namespace {space} has no CronJob {space}; apply k8s/retraining/job first")
    try:
        cluster.create(f"{path}/jobs", job_of(found, name, as_of, force))
    except ConflictError:
        return f"job {name} was started already"
    return f"job {name} is started; `kubectl --namespace {space} logs --follow job/{name} --all-containers` shows it"


def job_of(cron_job: Any, name: str, as_of: date, force: str) -> dict[str, Any]:
    """The Job that `kubectl create job --from` would make, asked about this day."""
    template = cron_job["spec"]["jobTemplate"]
    metadata = {
        "name": name,
        "labels": template.get("metadata", {}).get("labels", {}),
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
    }
    pod = template["spec"]["template"]
    said = {manifests.AS_OF: as_of.isoformat(), manifests.FORCE: force}
    spec = {
        key: [_told(one, said) for one in value] if key in ("containers", "initContainers") else value
        for key, value in pod["spec"].items()
    }
    job = {**template["spec"], "template": {**pod, "spec": spec}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}


def _told(container: Any, said: dict[str, str]) -> dict[str, Any]:
    others = [one for one in container.get("env", ()) if one["name"] not in said]
    return {**container, "env": [*others, *({"name": name, "value": value} for name, value in said.items())]}
