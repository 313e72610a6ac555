"""What Grafana would be given: that it is what the code says, and that it holds together."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.dashboards import grafana
from pipeline.dashboards.boards import BOARDS
from pipeline.dashboards.model import filled
from pipeline.monitoring import metrics
from serving.bundle import load
from serving.metrics import Metrics
from serving.problems import KINDS
from tests import bundles
from tests.checkouts import PROJECT
from tests.e2e.dashboards import queries
from tests.unit.k8s.rendering import composed, of_kind

FILES = sorted((PROJECT / grafana.FOLDER).glob("*.json"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_files_are_what_the_code_makes() -> None:
    """`flightline dashboards` writes them."""
    assert {path.relative_to(PROJECT): path.read_text() for path in FILES} == grafana.files()


def test_writing_changes_what_is_not_as_it_should_be_and_nothing_else(tmp_path: Path) -> None:
    made = grafana.write(tmp_path)
    (tmp_path / made[0]).write_text("{}")
    before = (tmp_path / made[1]).stat().st_mtime_ns
    grafana.write(tmp_path)
    assert (tmp_path / made[0]).read_text() == grafana.files()[made[0]]
    assert (tmp_path / made[1]).stat().st_mtime_ns == before


@each_file
def test_grafanas_own_types_read_all_of_it(path: Path) -> None:
    """What a type does not know it drops, so that a misspelt field is missing from what it writes again."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(read(path)), cls=JSONEncoder))
    assert again == read(path)


@each_file
def test_panels_have_a_number_of_their_own_and_do_not_overlap(path: Path) -> None:
    panels = read(path)["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@each_file
def test_every_panel_says_what_to_make_of_it_and_asks_the_chosen_prometheus(path: Path) -> None:
    document = read(path)
    variables = {one["name"]: one["type"] for one in document["templating"]["list"]}
    assert variables["datasource"] == "datasource"
    for panel in document["panels"]:
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references) > 0
            for one in (panel, *panel["targets"]):
                assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = set(
        re.findall(r"\$(?!__)(\w+)", " ".join(t["expr"] for p in document["panels"] for t in p.get("targets", ())))
    )
    assert used | {"datasource"} == set(variables)


def test_each_dashboard_is_one_of_its_own_and_leads_to_the_others() -> None:
    documents = [read(path) for path in FILES]
    assert {one["uid"] for one in documents} == {f"flightline-{board.name}" for board in BOARDS}
    assert all(len(one["uid"]) <= 40 for one in documents)
    assert len({one["title"] for one in documents}) == len(documents) == len(BOARDS)
    for one in documents:
        (link,) = one["links"]
        assert (link["type"], link["tags"]) == ("dashboards", one["tags"])


def test_the_sidecar_finds_every_dashboard_and_each_is_small_enough_to_apply() -> None:
    found = [
        one for one in of_kind(composed(("replicas", "grafana")), "ConfigMap") if "dashboard" in one["metadata"]["name"]
    ]
    assert {name for one in found for name in one["data"]} == {path.name for path in FILES}
    for one in found:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        # kubectl keeps a copy of what it applied in an annotation, which ends there.
        assert len(json.dumps(one)) < 256 * 1024


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (package prometheus) is not installed")
def test_every_query_is_one_that_prometheus_can_read(tmp_path: Path) -> None:
    values = {"namespace": ".*", "env": ".*", "__rate_interval": "1m"}
    rules = [{"record": f"q{place}", "expr": filled(one.expr, values)} for place, one in enumerate(queries())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


def test_every_series_of_ours_is_one_that_somebody_writes(tmp_path: Path) -> None:
    bundles.write(tmp_path / "bundle")
    objectives = {"p95_seconds": 0.05, "error_ratio": 0.01, "memory_bytes": 1.0}
    exposed = Metrics(load(tmp_path / "bundle"), objectives).render().decode()
    (rules,) = of_kind(composed(("replicas", "prometheus-operator")), "PrometheusRule")
    recorded = {rule["record"] for group in rules["spec"]["groups"] for rule in group["rules"] if "record" in rule}
    written = (
        {line.partition("{")[0].partition(" ")[0] for line in exposed.splitlines()} | set(metrics._HELP) | recorded
    )
    asked = {name for one in queries() for name in re.findall(r"\b(?:flightline|process)[_:][\w:]+", one.expr)}
    assert len(asked) > 20
    assert asked <= written


def test_failures_are_the_servers_own_kinds() -> None:
    asked = {kinds for one in queries() for kinds in re.findall(r'reason=~"([a-z|-]+)"', one.expr)}
    assert asked == {"|".join(kind.slug for kind in KINDS if kind.status >= 500)}
