"""Starting a retraining on a cluster: a day has one, by a real HTTP server for either engine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ConfigError, read_settings
from pipeline.delivery.cluster import Cluster, ClusterError
from pipeline.errors import UnavailableError
from pipeline.monitoring.retrain import argo, engines, manifests
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.steps import HOLDER
from tests.unit.pipeline.delivery.api import configured

PROJECT = Path(__file__).resolve().parents[5]
SETTINGS = read_settings(PROJECT)
DAY = date(2013, 6, 3)
NAME = "flightline-retraining-20130603"
CRON_JOB = manifests.cron_job(SETTINGS, Retrain())


class _Handler(BaseHTTPRequestHandler):
    """Holds objects by name; one that is there is a conflict."""

    server: Any

    def do_GET(self) -> None:
        found = self.server.objects.get(self.path)
        self._say(200 if found else 404, found or {"message": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        made = body.get("workflow", body)
        self.server.headers.append(dict(self.headers))
        if self.server.refuses:
            return self._say(self.server.refuses, {"message": "no"})
        name = f"{self.path}/{made['metadata']['name']}"
        if name in self.server.objects:
            return self._say(409, {"message": f"{name} already exists"})
        self.server.objects[name] = made
        return self._say(200, made)

    def _say(self, status: int, document: Any) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(objects: dict[str, Any] | None = None, refuses: int = 0) -> Iterator[tuple[str, Any]]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.objects, server.refuses, server.headers = dict(objects or {}), refuses, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()


def cluster(place: str) -> Cluster:
    from kubernetes import client

    configuration = client.Configuration()
    configuration.host, configuration.retries = f"http://{place}", 0
    return Cluster(client.ApiClient(configuration), "test")


def of(place: str, token: str = "") -> argo.Server:
    return argo.Server.of({"ARGO_SERVER": place, "ARGO_SECURE": "false", "ARGO_TOKEN": token})


BATCH = "/apis/batch/v1/namespaces/flightline-retraining"


def test_fifty_events_of_a_day_start_one_job() -> None:
    with serving({f"{BATCH}/cronjobs/flightline-retraining": CRON_JOB}) as (place, server):
        said = [engines.start_job(cluster(place), SETTINGS, DAY, "") for _ in range(50)]
        made = [path for path in server.objects if "/jobs/" in path]
    assert made == [f"{BATCH}/jobs/{NAME}"]
    assert [one.endswith("was started already") for one in said] == [False, *[True] * 49]


def test_job_is_the_applied_cron_jobs_own_told_the_day() -> None:
    made = engines.job_of(CRON_JOB, NAME, DAY, "why not")
    template = CRON_JOB["spec"]["jobTemplate"]["spec"]
    for name in ("podFailurePolicy", "ttlSecondsAfterFinished"):
        assert made["spec"][name] == template[name]
    for one in [*made["spec"]["template"]["spec"]["initContainers"], *made["spec"]["template"]["spec"]["containers"]]:
        said = {each["name"]: each.get("value") for each in one["env"]}
        assert (said["FLIGHTLINE_AS_OF"], said["FLIGHTLINE_FORCE"]) == ("2013-06-03", "why not")
        assert HOLDER in said


def test_cluster_without_the_cron_job_names_what_to_apply() -> None:
    with serving() as (place, _), pytest.raises(ClusterError, match="apply k8s/retraining/job first"):
        engines.start_job(cluster(place), SETTINGS, DAY, "")


def test_fifty_events_of_a_day_start_one_workflow_by_the_sdk() -> None:
    with serving() as (place, server):
        said = [argo.submit(of(place, "Bearer abc"), SETTINGS, DAY, "") for _ in range(50)]
        ((path, made),) = server.objects.items()
        assert server.headers[0]["Authorization"] == "Bearer abc"
    assert path == f"/api/v1/workflows/flightline-retraining/{NAME}"
    assert made["spec"]["workflowTemplateRef"] == {"name": "flightline-retraining"}
    parameters = {one["name"]: one["value"] for one in made["spec"]["arguments"]["parameters"]}
    assert parameters == {"as-of": "2013-06-03", "force": ""}
    assert ["already" in one for one in said] == [False, *[True] * 49]


@pytest.mark.parametrize(("status", "said"), [(403, "ARGO_TOKEN"), (500, "answered 500")])
def test_server_that_refuses_is_named_with_the_fix(status: int, said: str) -> None:
    with serving(refuses=status) as (place, _), pytest.raises(UnavailableError, match=said):
        argo.submit(of(place), SETTINGS, DAY, "")


def test_server_that_is_away_is_an_outage() -> None:
    with serving() as (place, _):
        pass
    with pytest.raises(UnavailableError, match="does not answer"):
        argo.submit(of(place), SETTINGS, DAY, "")


@pytest.mark.parametrize("place", ["", "https://argo.example.com"])
def test_address_is_given_as_argos_own_command_takes_it(place: str) -> None:
    with pytest.raises(ConfigError, match=r"as argo\.example\.com:443"):
        argo.Server.of({"ARGO_SERVER": place})


def test_what_is_forced_has_a_name_of_its_own() -> None:
    assert manifests.name_for(SETTINGS, DAY, "a new schema") == f"{NAME}-forced"


@pytest.mark.parametrize(("engine", "kind"), [("job", ClusterError), ("workflow", ConfigError)])
def test_without_a_cluster_the_engine_that_needs_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, kind: type[Exception]
) -> None:
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    with configured(tmp_path / "none"), pytest.raises(kind, match=r"`--engine local`"):
        engines.submit(engine, SETTINGS, DAY)


def test_unknown_engine_is_named() -> None:
    with pytest.raises(ConfigError, match="'airflow' is none"):
        engines.submit("airflow", SETTINGS, DAY)
