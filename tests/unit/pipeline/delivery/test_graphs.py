"""Which pods are the canary's and which the stable version's, and what is asked about them."""

import pytest

from pipeline.delivery.graphs import Span, charts, sides
from pipeline.errors import UnavailableError
from pipeline.prometheus import Points, Prometheus
from tests.prometheus import CANARY, STABLE, playing

BEFORE, AFTER = ((0.0, 5.0), (10.0, 5.0)), ((100.0, 5.0), (110.0, 5.0))


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ({"s": BEFORE + AFTER, "c": AFTER}, ("c", "s")),
        ({"s": BEFORE, "old": BEFORE[:1], "c": AFTER}, ("c", "s")),
        ({"s": BEFORE + AFTER}, ("", "s")),
        ({"c": AFTER}, ("c", "")),
        ({"s": BEFORE + AFTER, "idle": ((100.0, 0.0),)}, ("", "s")),
        ({}, ("", "")),
    ],
)
def test_the_canary_is_what_first_answered_after_the_release(
    traffic: dict[str, Points], expected: tuple[str, str]
) -> None:
    assert sides(traffic, released=50.0) == expected


@pytest.mark.parametrize("known", [(CANARY, STABLE), ("", ""), (STABLE, STABLE)])
def test_three_pictures_with_both_sides_in_people_s_units(known: tuple[str, str]) -> None:
    span = Span("flightline-staging", 0.0, 120.0, 420.0)
    with playing(120.0) as address:
        errors, p95, distance = charts(Prometheus(address), span, *known)
    assert [one.role for one in errors.series] == ["canary", "stable"]
    assert (errors.y_factor * errors.series[0].curve.y[0], p95.y_factor * p95.series[1].curve.y[0]) == (20.0, 10.0)
    assert (distance.series[0].curve.y[0], min(errors.series[0].curve.x) >= 0) == (0.4, True)


def test_points_are_few_however_long_it_took() -> None:
    long = Span("n", 0.0, 120.0, 6 * 3600.0)
    assert (long.end - long.start) / long.step <= 150
    assert Span("n", 0.0, 120.0, 180.0).step == 2


def test_server_that_is_not_there_is_named_as_unavailable() -> None:
    with pytest.raises(UnavailableError, match="Prometheus"):
        charts(Prometheus("http://127.0.0.1:9"), Span("n", 0.0, 1.0, 2.0))
