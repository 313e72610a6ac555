import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.local import alertmanager
from infra.local.components import State
from pipeline.config import read_yaml

needs_amtool = pytest.mark.skipif(
    not shutil.which("amtool"), reason="Debian's package prometheus-alertmanager is not here"
)


def amtool(*words: object) -> str:
    """What it prints. It reads a configuration of Debian's own, which stays out of this."""
    return subprocess.run(["amtool", *map(str, words)], capture_output=True, text=True, check=True).stdout.strip()


@needs_amtool
def test_the_routes_are_what_alertmanager_takes(tmp_path: Path) -> None:
    state = State(tmp_path)
    alertmanager.prepare(state)
    for path in (alertmanager.ROUTES, state.config / "alertmanager.yaml"):
        assert "SUCCESS" in amtool("check-config", path)


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (("severity=critical", "namespace=a"), "pager"),
        (("severity=warning", "namespace=a"), "tickets"),
        (("severity=warning", "action=retrain"), "retraining,tickets"),
        (("namespace=a",), "tickets"),
    ],
)
def test_an_alert_goes_where_its_severity_says_and_decay_to_retraining_too(
    labels: tuple[str, ...], receivers: str
) -> None:
    assert amtool("config", "routes", "test", f"--config.file={alertmanager.ROUTES}", *labels) == receivers


def test_the_local_cluster_takes_the_routes_as_they_are_and_changes_addresses_and_patience(tmp_path: Path) -> None:
    state = State(tmp_path)
    alertmanager.prepare(state, {"retraining": "http://127.0.0.1:9/start"})
    shipped, local = read_yaml(alertmanager.ROUTES), yaml.safe_load((state.config / "alertmanager.yaml").read_text())
    assert local["inhibit_rules"] == shipped["inhibit_rules"]
    assert local["route"] == {**shipped["route"], **alertmanager.TIMES}
    addresses = {one["name"]: one["webhook_configs"][0]["url"] for one in local["receivers"]}
    assert addresses == {
        "pager": f"{alertmanager.RECEIVER}/pager",
        "tickets": f"{alertmanager.RECEIVER}/tickets",
        "retraining": "http://127.0.0.1:9/start",
    }


def test_it_listens_on_loopback_and_looks_for_no_others(tmp_path: Path) -> None:
    (component,) = alertmanager.components(State(tmp_path))
    assert "--cluster.listen-address=" in component.command
    assert f"--web.listen-address=127.0.0.1:{alertmanager.PORT}" in component.command
