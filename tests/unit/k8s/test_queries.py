"""The analysis' queries, answered by Prometheus' own engine (promtool) for counters as the pods would write them.

A pod answers so many requests a second for ten minutes; the outcome of one measurement is what Argo Rollouts makes of
the answer by the template's two conditions: success, failure, or else inconclusive.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.metrics import LATENCY_BOUNDS
from tests.unit.k8s.rendering import given, overlay, template

SCRAPE, MINUTES = 10, 10
FAST, PROMOTION = "flightline-fast-failure", "flightline-promotion"
SUCCESS, FAILURE, INCONCLUSIVE = "success", "failure", "inconclusive"
ARGUMENTS = {"namespace": "flightline-staging", "canary": "c1", "stable": "s1", "max-ks": "0.15"}
LIKE_STABLE = (0.1, 0.2, 0.3, 0.4)

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (package prometheus) is not installed")


@dataclass(frozen=True)
class Pods:
    """What the pods of one version do. Requests and failures per second; how long the middle one takes.

    `scores` are the shares of scores in four equal ranges. `since` is the minute of the first request.
    """

    rate: float = 20
    failing: float = 0
    seconds: float = 0.004
    scores: Sequence[float] = LIKE_STABLE
    since: int = 0
    namespace: str = ARGUMENTS["namespace"]

    def series(self, version: str) -> dict[str, str]:
        """Counters by series, in promtool's notation."""
        labels = f'namespace="{self.namespace}",rollouts_pod_template_hash="{version}",pod="{version}-1"'
        found = {
            f'flightline_requests_total{{{labels},route="predict",code="200"}}': self.rate - self.failing,
            f'flightline_requests_total{{{labels},route="infer",code="200"}}': 0,
            f'flightline_errors_total{{{labels},reason="internal"}}': self.failing,
            f'flightline_errors_total{{{labels},reason="overloaded"}}': 0,
            f'flightline_errors_total{{{labels},reason="invalid-rows"}}': 0,
            f"flightline_request_seconds_count{{{labels}}}": self.rate - self.failing,
            f"flightline_score_count{{{labels}}}": self.rate - self.failing,
        }
        if self.failing:
            found[f'flightline_requests_total{{{labels},route="predict",code="500"}}'] = self.failing
        for bound in (*LATENCY_BOUNDS, float("inf")):
            name = f'flightline_request_seconds_bucket{{{labels},le="{_le(bound)}"}}'
            found[name] = (self.rate - self.failing) * (bound >= self.seconds)
        for index, bound in enumerate((0.25, 0.5, 0.75, 1.0, float("inf")), start=1):
            share = sum(self.scores[:index])
            found[f'flightline_score_bucket{{{labels},le="{_le(bound)}"}}'] = (self.rate - self.failing) * share
        return {name: self._counter(per_second) for name, per_second in found.items()}

    def _counter(self, per_second: float) -> str:
        quiet, busy = self.since * 60 // SCRAPE, (MINUTES - self.since) * 60 // SCRAPE
        step = round(per_second * SCRAPE, 6)
        return f"0x{quiet} {step}+{step}x{busy}" if quiet else f"0+{step}x{busy}"


def _le(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)


STABLE = Pods()
NOBODY = Pods(rate=0)
SLOW, FAILING, SHIFTED = Pods(seconds=0.2), Pods(failing=1), Pods(scores=(0.4, 0.3, 0.2, 0.1))


def outcomes(name: str, canary: Pods | None, stable: Pods | None, scratch: Path) -> dict[str, str]:
    """The outcome by metric of a template's measurement after ten minutes."""
    metrics = template(overlay("staging"), name)["spec"]["metrics"]
    series = {**(canary.series("c1") if canary else {}), **(stable.series("s1") if stable else {})}
    holding = _holding([_statement(metric, kind) for metric in metrics for kind in _KINDS], series, scratch)
    return {metric["name"]: _outcome(metric, holding) for metric in metrics}


_KINDS = ("successCondition", "failureCondition")


def _outcome(metric: Mapping[str, Any], holding: Mapping[str, bool]) -> str:
    """As EvaluateResult of Argo Rollouts: a failure wins; a condition that is not there is the other's opposite."""
    success, failure = (holding[_statement(metric, kind)] for kind in _KINDS)
    if failure:
        return FAILURE
    return SUCCESS if success or "successCondition" not in metric else INCONCLUSIVE


def _statement(metric: Mapping[str, Any], kind: str) -> str:
    """A condition as PromQL: 1 where it holds, else 0. Empty and NaN hold nothing, as the guard in it demands."""
    condition = metric.get(kind, "false")
    if condition == "false":
        return "vector(0)"
    comparison = re.fullmatch(r"len\(result\) > 0 && !isNaN\(result\[0\]\) && result\[0\] (<=|>=|>) (\S+)", condition)
    assert comparison, condition
    query = metric["provider"]["prometheus"]["query"]
    return _filled(f"count(({query}) {comparison[1]} {comparison[2]}) or vector(0)")


def _filled(text: str) -> str:
    values = {**given(overlay("staging"), PROMOTION), **ARGUMENTS}
    return re.sub(r"{{args\.([a-z0-9-]+)}}", lambda found: str(values[found[1]]), text)


def _holding(statements: Sequence[str], series: Mapping[str, str], scratch: Path) -> dict[str, bool]:
    """Ask promtool whether each is 0, and see which it says are not."""
    tests = [
        {"expr": one, "eval_time": f"{MINUTES}m", "exp_samples": [{"labels": "{}", "value": 0}]} for one in statements
    ]
    test = {
        "interval": f"{SCRAPE}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": tests,
    }
    path = scratch / "queries.json"
    path.write_text(json.dumps({"evaluation_interval": f"{SCRAPE}s", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    wrong = re.findall(r"expr: (\".*?\"), time: \w+,\s+exp:\s*.*?\s+got:\s*(.*)", said)
    assert all(got.strip() == "{} 1E+00" for _, got in wrong), said
    assert said.count("SUCCESS") == (not wrong), said
    assert said.count("exp:") == len(wrong), said
    nonzero = {json.loads(quoted) for quoted, _ in wrong}
    return {one: one in nonzero for one in statements}


def test_a_good_canary_succeeds_by_every_metric(tmp_path: Path) -> None:
    assert set(outcomes(PROMOTION, Pods(), STABLE, tmp_path).values()) == {SUCCESS}
    assert set(outcomes(FAST, Pods(), STABLE, tmp_path).values()) == {SUCCESS}


@pytest.mark.parametrize(
    ("canary", "signal"), [(FAILING, "errors"), (SLOW, "p95"), (SHIFTED, "ks")], ids=["failing", "slow", "shifted"]
)
def test_a_bad_canary_fails_by_its_own_signal_and_by_no_other(canary: Pods, signal: str, tmp_path: Path) -> None:
    found = outcomes(PROMOTION, canary, STABLE, tmp_path)
    assert found == {"requests": SUCCESS, "errors": SUCCESS, "p95": SUCCESS, "ks": SUCCESS, signal: FAILURE}


@pytest.mark.parametrize(("canary", "signal"), [(FAILING, "errors"), (SLOW, "p95")], ids=["failing", "slow"])
def test_the_background_fails_a_bad_canary_too(canary: Pods, signal: str, tmp_path: Path) -> None:
    assert outcomes(FAST, canary, STABLE, tmp_path) == {"errors": SUCCESS, "p95": SUCCESS, signal: FAILURE}


@pytest.mark.parametrize(
    "canary",
    [None, NOBODY, Pods(rate=0.2), Pods(rate=0.2, failing=0.2), Pods(rate=0.2, seconds=9), Pods(namespace="other")],
    ids=["not scraped yet", "idle", "thin", "thin and failing", "thin and slow", "elsewhere"],
)
def test_a_thin_canary_is_inconclusive_by_every_metric(canary: Pods | None, tmp_path: Path) -> None:
    assert set(outcomes(PROMOTION, canary, STABLE, tmp_path).values()) == {INCONCLUSIVE}


@pytest.mark.parametrize("canary", [None, NOBODY, Pods(rate=0.2, failing=0.2, seconds=9)], ids=["none", "idle", "thin"])
def test_a_thin_canary_is_not_failed_in_the_background(canary: Pods | None, tmp_path: Path) -> None:
    assert set(outcomes(FAST, canary, STABLE, tmp_path).values()) == {SUCCESS}


def test_a_canary_that_always_fails_is_failed_though_it_has_no_latency_and_no_score(tmp_path: Path) -> None:
    found = outcomes(PROMOTION, Pods(failing=20), STABLE, tmp_path)
    assert found == {"requests": SUCCESS, "errors": FAILURE, "p95": INCONCLUSIVE, "ks": INCONCLUSIVE}


@pytest.mark.parametrize("stable", [None, NOBODY], ids=["none", "idle"])
def test_without_stable_traffic_the_objectives_judge_and_scores_are_inconclusive(
    stable: Pods | None, tmp_path: Path
) -> None:
    found = outcomes(PROMOTION, SLOW, stable, tmp_path)
    assert found == {"requests": SUCCESS, "errors": SUCCESS, "p95": FAILURE, "ks": INCONCLUSIVE}
    assert outcomes(PROMOTION, FAILING, stable, tmp_path)["errors"] == FAILURE


def test_trouble_that_stable_has_too_is_not_the_canarys(tmp_path: Path) -> None:
    """The platform is slow or overloaded: neither promoted nor aborted."""
    found = outcomes(PROMOTION, SLOW, SLOW, tmp_path)
    assert (found["errors"], found["p95"]) == (SUCCESS, INCONCLUSIVE)
    found = outcomes(PROMOTION, FAILING, FAILING, tmp_path)
    assert (found["errors"], found["p95"]) == (INCONCLUSIVE, SUCCESS)


def test_a_canary_much_worse_than_a_bad_stable_fails(tmp_path: Path) -> None:
    assert outcomes(FAST, Pods(failing=10), FAILING, tmp_path)["errors"] == FAILURE


def test_what_was_long_ago_is_not_held_against_a_canary(tmp_path: Path) -> None:
    """The window is two minutes; a canary that took its first request a minute ago is judged by that minute."""
    assert outcomes(PROMOTION, Pods(since=9, failing=1), STABLE, tmp_path)["errors"] == FAILURE


def test_refused_requests_are_the_callers_fault(tmp_path: Path) -> None:
    """A 4xx has a reason of its own, which the errors do not count."""
    pods = Pods()
    labels = 'namespace="flightline-staging",rollouts_pod_template_hash="c1"'
    query = template(overlay("staging"), FAST)["spec"]["metrics"][0]
    series = {
        **pods.series("c1"),
        f'flightline_errors_total{{{labels},reason="invalid-rows",pod="c1-2"}}': "0+200x60",
        f'flightline_requests_total{{{labels},code="422",pod="c1-2"}}': "0+200x60",
    }
    failed = _statement(query, "failureCondition")
    assert _holding([failed], series, tmp_path) == {failed: False}
