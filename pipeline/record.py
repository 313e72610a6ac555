"""record: each bundle to MLflow, once, for people to browse. MLflow shows; git decides.

Idempotent by the bundle's version: a run that finished is found again, one that died half-way is replaced.
"""

import json
import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline import paths
from pipeline.config import Frozen
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.frames import TableError
from pipeline.stages.bundle import hash_of_parameters
from pipeline.text import leaves
from serving import bundle

FOLDER = Path(".mlflow")
BUNDLE_TAG = "flightline.bundle"
_MAX_PARAMETER = 500


class Recorded(Frozen):
    """Where a bundle is in MLflow; `new` says whether this call put it there."""

    version: str
    tracking_uri: str
    run_id: str
    registered: str
    new: bool

    @property
    def sentence(self) -> str:
        """What the command line says."""
        done = "recorded" if self.new else "already recorded"
        return (
            f"{done}: bundle {self.version[:12]} as run {self.run_id}, model {self.registered}, at {self.tracking_uri}"
        )


def record(context: Context) -> Recorded:
    """Record build/bundle. Raises BundleError where it is not whole, TableError where params.yaml is no longer what it
    was made from, UnavailableError where MLflow does not answer.
    """
    folder = context.root / paths.BUNDLE
    bundle.check_files(folder)
    _check_parameters(context, folder)
    version, uri = bundle.version(folder), tracking_uri(context.root)
    client = MlflowClient(uri, registry_uri=uri)
    try:
        experiment = _experiment(client, context)
        finished = _finished(client, experiment, version)
        run_id = finished or _write(client, experiment, context, version)
        registered = _register(client, context.model.card.name, run_id, version)
    except MlflowException as error:
        raise UnavailableError(f"MLflow at {uri} refused: {error.message.splitlines()[0]}") from error
    return Recorded(version=version, tracking_uri=uri, run_id=run_id, registered=registered, new=finished is None)


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or a sqlite file by its absolute path: a relative one would follow the working directory."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given
    (root / FOLDER).mkdir(exist_ok=True)
    return f"sqlite:///{(root / FOLDER / 'mlflow.db').resolve()}"


def _check_parameters(context: Context, folder: Path) -> None:
    """MLflow must not show parameters that made another bundle."""
    made_of = json.loads((folder / "inputs.json").read_text())["parameters"]
    if made_of != hash_of_parameters(context.params):
        raise TableError(
            f"{paths.PARAMS} has other parameters (data, split, estimator) than {paths.BUNDLE} was made with, whose "
            f"inputs.json says parameters: {made_of[:12]}; run `dvc repro`, or put {paths.PARAMS} back"
        )


def _experiment(client: MlflowClient, context: Context) -> str:
    name = context.model.card.name
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = "MLFLOW_TRACKING_URI" not in os.environ
    place = (context.root / FOLDER / "artifacts").resolve().as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=place))


def _finished(client: MlflowClient, experiment: str, version: str) -> str | None:
    """The run that holds this bundle; half-written ones are removed."""
    finished = None
    for run in _runs(client, experiment, version):
        if run.info.status == "FINISHED":
            finished = str(run.info.run_id)
        else:
            client.delete_run(run.info.run_id)
    return finished


def _runs(client: MlflowClient, experiment: str, version: str) -> list[Run]:
    return list(client.search_runs([experiment], filter_string=f"tags.`{BUNDLE_TAG}` = '{version}'"))


def _write(client: MlflowClient, experiment: str, context: Context, version: str) -> str:
    folder = context.root / paths.BUNDLE
    hashes = json.loads((folder / "inputs.json").read_text())
    tags = {BUNDLE_TAG: version, **{f"flightline.{name}": value for name, value in hashes.items()}}
    run = client.create_run(experiment, tags=tags, run_name=version[:12])
    run_id = str(run.info.run_id)
    for name, value in leaves(context.params.of_model()):
        client.log_param(run_id, name, str(value)[:_MAX_PARAMETER])
    for name, value in leaves(json.loads((folder / "metrics.json").read_text())):
        if isinstance(value, int | float):
            client.log_metric(run_id, name, value)
    client.log_artifacts(run_id, str(folder), "bundle")
    for plots in (context.root / paths.PLOTS, context.root / paths.BUILD / "plots"):
        if plots.is_dir():
            client.log_artifacts(run_id, str(plots), "plots")
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _register(client: MlflowClient, name: str, run_id: str, version: str) -> str:
    """The registered version of this bundle, made where there is none yet: `name/number`."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    for found in client.search_model_versions(f"name = '{name}'"):
        if found.tags.get(BUNDLE_TAG) == version:
            return f"{name}/{found.version}"
    source = f"{client.get_run(run_id).info.artifact_uri}/bundle"
    made = client.create_model_version(name, source, run_id, tags={BUNDLE_TAG: version})
    return f"{name}/{made.version}"
