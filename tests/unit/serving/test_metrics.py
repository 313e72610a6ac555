import re

import pytest

from serving.bundle import load
from serving.metrics import Histogram, Metrics, score_bounds
from serving.signature import Output

SAMPLE = re.compile(r'[a-z0-9_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+0-9.e]+')


@pytest.fixture
def metrics(path) -> Metrics:
    return Metrics(load(path), {"p95_seconds": 0.05})


def value(metrics: Metrics, sample: str) -> float:
    (line,) = [line for line in metrics.render().decode().splitlines() if line.startswith(sample + " ")]
    return float(line.rsplit(" ", 1)[1])


def test_every_line_is_a_comment_or_a_sample_and_no_family_comes_twice(metrics):
    lines = metrics.render().decode().splitlines()
    assert all(SAMPLE.fullmatch(line) for line in lines if not line.startswith("#"))
    families = [line for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families)) > 10


def test_buckets_are_cumulative_and_their_bounds_inclusive():
    histogram = Histogram((1.0, 2.0))
    histogram.observe([0.5, 1.0, 1.5, 3.0])
    assert list(histogram.lines("h")) == [
        *('h_bucket{le="1"} 2', 'h_bucket{le="2"} 3', 'h_bucket{le="+Inf"} 4'),
        *("h_sum 6", "h_count 4"),
    ]


def test_many_values_are_counted_as_one_by_one():
    one_by_one, at_once = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    values = [0.5, 1.0, 1.5, 2.0, 3.0]
    for value in values:
        one_by_one.observe([value])
    at_once.observe(values)
    assert list(at_once.lines("h")) == list(one_by_one.lines("h"))


def test_an_answer_counts_its_request_its_time_and_each_score(metrics):
    metrics.answered(["predict"], [0.003])
    metrics.scores.observe([0.1, 0.9])
    assert value(metrics, 'flightline_requests_total{route="predict",code="200"}') == 1
    assert value(metrics, 'flightline_request_seconds_bucket{le="0.005"}') == 1
    assert value(metrics, 'flightline_request_seconds_bucket{le="0.0025"}') == 0
    assert value(metrics, "flightline_score_count") == 2
    assert value(metrics, 'flightline_score_bucket{le="0.5"}') == 1


def test_a_refusal_counts_by_its_reason_and_not_as_a_latency(metrics):
    metrics.refused("predict", 422, "invalid-rows")
    assert value(metrics, 'flightline_errors_total{reason="invalid-rows"}') == 1
    assert value(metrics, 'flightline_requests_total{route="predict",code="422"}') == 1
    assert value(metrics, "flightline_request_seconds_count") == 0


@pytest.mark.parametrize("reason", ["missing", "unseen", "out_of_range"])
def test_what_was_noticed_counts_by_input(metrics, reason):
    metrics.noticed(reason, [0, 1, 0, 1])
    metrics.noticed(reason, [0, 1, 0, 0])
    assert value(metrics, f'flightline_feature_{reason}_total{{feature="seats"}}') == 2
    assert value(metrics, f'flightline_feature_{reason}_total{{feature="dest"}}') == 1
    assert value(metrics, f'flightline_feature_{reason}_total{{feature="temp"}}') == 0


def test_reasons_that_have_not_happened_are_there_with_zero(metrics):
    assert value(metrics, 'flightline_errors_total{reason="overloaded"}') == 0


def test_what_is_served_is_told(metrics, path):
    assert value(metrics, f'flightline_model_info{{model="toy",version="{load(path).version}",api="1"}}') == 1


def test_objectives_are_shown_only_where_given(metrics, path):
    assert value(metrics, "flightline_slo_p95_seconds") == 0.05
    assert b"slo_memory" not in metrics.render()


def test_scores_within_a_range_have_equal_buckets_up_to_its_end():
    bounds = score_bounds(Output("", minimum=0, maximum=1))
    assert (bounds[0], bounds[-1], len(bounds)) == (0.05, 1, 20)


def test_scores_without_a_range_have_buckets_on_both_sides_of_zero():
    bounds = score_bounds(Output(""))
    assert list(bounds) == sorted(bounds)
    assert bounds[0] == -bounds[-1]
