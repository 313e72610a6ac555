import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import ConfigError, LoadGate
from pipeline.gates import load
from pipeline.gates import load_measurements as measured
from pipeline.gates.load_measurements import QUANTILES, Burst, Measurements, ServerRun
from pipeline.slo import Slo
from pipeline.verdict import Check, Decision, GateResult

SLO = Slo(p95_seconds=0.05, error_ratio=0.01, throughput_per_second=200, memory_bytes=120 << 20)
LIMITS = LoadGate(users=8, rounds=5, max_rounds=15, round_seconds=1, max_slowdown=0.25)
# round by round factors on p95 whose logarithms average zero
STEADY = (0.98, 1.02, 1.0, 1.02, 0.98)
NOISY = (0.4, 2.5, 1.0, 2.5, 0.4)


def burst(p95: float = 0.004, *, users: int = 8, requests: int = 3000, failures: int = 0, failure: str | None = None):
    return Burst(
        users=users,
        seconds=1.0,
        requests=requests,
        failures=failures,
        p50=p95 / 2,
        p95=p95,
        p99=p95 * 2,
        failure=failure,
    )


def server(*rounds: Burst, memory: int = 90 << 20, fault: str | None = None) -> ServerRun:
    quantiles = tuple(0.001 * (1 + share) for share in QUANTILES)
    return ServerRun(rounds=rounds, quantiles=quantiles, ready_seconds=0.4, memory_bytes=memory, fault=fault)


@pytest.mark.parametrize(("steps", "said"), [((0, -2), r"0 is 0; .*from 1"), ((1, 300), "1 is 300")])
def test_a_step_that_is_no_number_of_users_is_named_before_anything_is_served(
    tmp_path: Path, steps: tuple[int, ...], said: str
) -> None:
    limits = LIMITS.model_copy(update={"stress_users": steps})
    with pytest.raises(ConfigError, match=rf"params\.yaml: gates\.load\.stress_users\.{said}"):
        load.measure(tmp_path, None, [{"temp": 39.0}], limits)


def alone(candidate: ServerRun) -> GateResult:
    return load.judge(Measurements(candidate=candidate, production=None), SLO, LIMITS)


def against(factors, slower: float = 1.0, repeat: int = 1) -> GateResult:
    """A candidate whose p95 is `slower` times production's, disturbed by `factors`."""
    candidate = server(*(burst(0.004 * slower * factor) for factor in factors * repeat))
    production = server(*(burst(0.004) for _ in factors * repeat))
    return load.judge(Measurements(candidate=candidate, production=production), SLO, LIMITS)


def check(result: GateResult, name: str) -> Check:
    return next(one for one in result.checks if one.name == name)


def failed(result: GateResult) -> list[str]:
    return [one.name for one in result.checks if one.decision is Decision.FAIL]


def test_first_release_within_the_slo_passes_without_a_comparison():
    result = alone(server(*[burst()] * 5))
    assert result.decision is Decision.PASS
    assert check(result, "slower").decision is None
    assert "no production" in check(result, "slower").reason


@pytest.mark.parametrize(
    ("candidate", "broken"),
    [
        (server(*[burst(0.051)] * 5), "p95"),
        (server(*[burst(requests=1000, failures=11, failure="HTTP 500")] * 5), "errors"),
        (server(*[burst(requests=199)] * 5), "throughput"),
        (server(*[burst()] * 5, memory=(120 << 20) + 1), "memory"),
    ],
)
def test_each_broken_objective_fails_and_is_named(candidate: ServerRun, broken: str):
    result = alone(candidate)
    assert result.decision is Decision.FAIL
    assert failed(result) == [broken]
    assert "the SLO" in result.reason


def test_objectives_met_exactly_are_met():
    exact = burst(0.05, requests=202, failures=2)
    assert alone(server(*[exact] * 5, memory=120 << 20)).decision is Decision.PASS


def test_one_disturbed_round_does_not_fail_the_candidate():
    assert alone(server(burst(0.3, requests=20), *[burst()] * 4)).decision is Decision.PASS


def test_first_failure_is_quoted():
    result = alone(server(*[burst(requests=1000, failures=1000, failure="HTTP 422: temp is required")] * 5))
    assert "100.00% fail (the first: HTTP 422: temp is required)" in check(result, "errors").reason


def test_failed_requests_are_not_throughput():
    result = alone(server(*[burst(requests=1000, failures=900)] * 5))
    assert "throughput" in failed(result)


def test_server_that_never_answers_fails_every_objective_it_can():
    silent = measured.burst(8, 1.0, [], [])
    assert set(failed(alone(server(*[silent] * 5)))) == {"p95", "errors", "throughput"}


def test_equally_fast_candidate_passes():
    result = against(STEADY)
    assert result.decision is Decision.PASS
    assert check(result, "slower").statistic == pytest.approx(1.0, abs=0.01)


def test_slower_candidate_within_the_margin_passes():
    assert against(STEADY, slower=1.1).decision is Decision.PASS


def test_candidate_slower_beyond_the_margin_fails_though_it_meets_the_slo():
    result = against(STEADY, slower=1.5)
    assert failed(result) == ["slower"]
    assert "1.50x production's" in result.reason


def test_candidate_on_the_margin_is_inconclusive():
    assert against(STEADY, slower=1.25).decision is Decision.INCONCLUSIVE


def test_noise_is_inconclusive():
    result = against(NOISY, repeat=3)
    assert result.decision is Decision.INCONCLUSIVE
    assert "in 15 paired rounds" in result.reason


def test_candidate_perhaps_slower_beyond_the_margin_is_inconclusive():
    assert against(NOISY, slower=1.5).decision is Decision.INCONCLUSIVE


def test_broken_slo_beats_an_inconclusive_comparison():
    slow = server(*(burst(0.06 * factor) for factor in NOISY))
    result = load.judge(Measurements(candidate=slow, production=server(*[burst(0.06)] * 5)), SLO, LIMITS)
    assert result.decision is Decision.FAIL


def test_candidate_that_does_not_start_fails_with_its_last_words():
    result = alone(ServerRun(fault="model.onnx does not match its hash in SHA256SUMS"))
    assert result.decision is Decision.FAIL
    assert "the candidate's server says: model.onnx does not match" in result.reason


def test_candidate_that_dies_under_load_fails():
    result = alone(server(burst(), fault="Killed"))
    assert failed(result) == ["candidate serves"]


def test_production_that_does_not_start_is_not_the_candidates_fault():
    found = Measurements(candidate=server(), production=ServerRun(fault="bundle format 2 is newer than 1"))
    result = load.judge(found, SLO, LIMITS)
    assert result.decision is Decision.INCONCLUSIVE
    assert "bundle format 2" in result.reason


def test_measuring_stops_only_at_planned_looks_once_decided():
    equal, slow = [burst(0.004)] * 15, [burst(0.006)] * 15
    assert [done for done in range(16) if measured.enough(equal[:done], equal[:done], LIMITS)] == [5, 10, 15]
    assert measured.enough(slow[:5], equal[:5], LIMITS)


def test_undecided_comparison_goes_on_to_the_last_look():
    noisy = [burst(0.004 * factor) for factor in NOISY * 3]
    steady = [burst(0.004)] * 15
    assert [done for done in range(16) if measured.enough(noisy[:done], steady[:done], LIMITS)] == [15]


def test_first_release_needs_no_more_than_the_first_rounds():
    assert measured.enough([burst()] * 5, None, LIMITS)


@pytest.mark.parametrize(
    ("rounds", "last", "expected"), [(5, 15, (5, 10, 15)), (5, 12, (5, 10, 12)), (5, 5, (5,)), (5, 3, (5,))]
)
def test_looks_are_planned_up_to_the_last_round(rounds: int, last: int, expected: tuple[int, ...]):
    assert measured.looks(LoadGate(rounds=rounds, max_rounds=last)) == expected


def test_more_looks_ask_for_more_certainty():
    rounds = [burst(0.004 * factor) for factor in NOISY]
    steady = [burst(0.004)] * 5
    once = measured.slowdown(rounds, steady, LoadGate(rounds=5, max_rounds=5))
    thrice = measured.slowdown(rounds, steady, LIMITS)
    assert thrice.low < once.low < 1 < once.high < thrice.high


def test_bounds_are_those_of_the_t_distribution():
    logs = (-0.1, 0.0, 0.1)
    found = measured.slowdown(
        [burst(0.004 * math.exp(one)) for one in logs], [burst(0.004)] * 3, LoadGate(rounds=3, max_rounds=3)
    )
    reach = 2.919986 * 0.1 / math.sqrt(3)  # the 95 % point of t with two degrees of freedom, from a table
    assert found.ratio == pytest.approx(1.0)
    assert math.log(found.high) == pytest.approx(reach, rel=1e-5)
    assert math.log(found.low) == pytest.approx(-reach, rel=1e-5)


def test_knee_is_the_first_step_that_more_users_hardly_better():
    steps = [burst(users=users, requests=requests) for users, requests in [(1, 1900), (2, 1000), (4, 2900), (8, 3000)]]
    assert measured.knee(steps, 0.05) == steps[2]


def test_knee_is_the_last_step_within_the_slo():
    steps = [burst(users=1, requests=1000), burst(0.06, users=2, requests=1900)]
    assert measured.knee(steps, 0.05) == steps[0]
    assert measured.knee(steps[1:], 0.05) is None


def test_stress_and_latencies_are_reported_and_not_judged():
    steps = (burst(users=1, requests=1000), burst(0.06, users=2, requests=1900, failures=1000))
    found = Measurements(candidate=server(*[burst()] * 5), production=server(*[burst()] * 5), stress=steps)
    result = load.judge(found, SLO, LIMITS)
    assert result.decision is Decision.PASS
    assert check(result, "knee").statistic == 1
    assert [table.name for table in result.tables] == ["servers under load", "stress"]
    names = ["latency candidate", "latency production", "stress throughput", "stress p95"]
    assert [curve.name for curve in result.curves] == names


def test_rows_are_needed(tmp_path):
    with pytest.raises(load.LoadError, match="at least one"):
        load.measure(tmp_path, None, [], LIMITS)


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_candidate_on_the_margin_passes_at_most_once_in_twenty_in_spite_of_the_extra_looks(spread: float):
    random = np.random.default_rng(1)
    passed = sum(outcome(random.normal(math.log(1.25), spread, 15)) is Decision.PASS for _ in range(1000))
    assert passed <= 0.05 * 1000 + 2 * math.sqrt(0.05 * 0.95 * 1000)


def outcome(logs) -> Decision:
    """The decision where measuring stops, production being steady."""
    candidate, production = [burst(0.004 * math.exp(one)) for one in logs], [burst(0.004)] * len(logs)
    done = next(n for n in measured.looks(LIMITS) if measured.enough(candidate[:n], production[:n], LIMITS))
    return measured.decision(measured.slowdown(candidate[:done], production[:done], LIMITS), LIMITS)
