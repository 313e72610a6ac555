from dataclasses import replace

import pytest

from pipeline.dashboards.answers import Answer, Span, shares
from pipeline.dashboards.figures import MOST, chart, left_out, most_telling, short, tile
from pipeline.dashboards.model import Panel, Query, filled, named

SPAN = Span(3600, 7200.0)
PANEL = Panel("Latency", "How long.", (Query("up"),), unit="seconds")


def series(name: str, *values: float, limit: bool = False) -> Answer:
    return Answer(name, tuple((3600.0 + 60 * place, value) for place, value in enumerate(values)), limit)


def test_variables_are_replaced_and_an_unknown_one_is_named() -> None:
    values = {"namespace": "a", "__rate_interval": "1m"}
    assert filled('x{namespace=~"$namespace"}[$__rate_interval]', values) == 'x{namespace=~"a"}[1m]'
    with pytest.raises(ValueError, match=r"no value for \$env"):
        filled("x{env=$env}", values)


def test_a_legend_takes_labels_and_leaves_out_what_is_not_there() -> None:
    assert named("{{env}} {{ version }}", {"version": "v1"}) == "v1"


@pytest.mark.parametrize(("hours", "step", "back"), [(0.05, 1, "60s"), (1, 20, "80s"), (24, 480, "1920s")])
def test_a_span_has_few_points_and_looks_back_over_several(hours: float, step: int, back: str) -> None:
    span = Span(hours * 3600, 1e9)
    assert (span.step, span.values()["__rate_interval"]) == (step, back)
    assert span.values(whole=True)["__rate_interval"] == f"{round(hours * 3600)}s"


@pytest.mark.parametrize(("hours", "said"), [(0.2, "12 minutes"), (1, "1 hour"), (1.5, "1.5 hours"), (72, "72 hours")])
def test_a_span_is_said_in_people_s_words(hours: float, said: str) -> None:
    assert Span(hours * 3600, 1e9).length == said


def test_curves_are_in_people_s_units_before_the_end_with_limits_as_lines() -> None:
    drawn = chart(PANEL, [series("p95", 0.01, 0.02), series("objective", 0.05, limit=True)], SPAN, "latency")
    assert drawn is not None
    (curve,) = drawn.series
    assert (curve.role, curve.curve.x, drawn.y, drawn.y_factor) == ("p95", (-60.0, -59.0), "ms", 1000)
    assert [(line.label, line.at) for line in drawn.lines] == [("objective", 50.0)]
    assert drawn.x == "minutes before 1970-01-01 02:00 UTC"


def test_limits_alone_are_no_picture() -> None:
    assert chart(PANEL, [series("objective", 0.05, limit=True)], SPAN, "latency") is None
    assert chart(replace(PANEL, kind="distribution"), [], SPAN, "latency") is None


def test_of_many_curves_those_furthest_from_zero_are_drawn_in_their_order_and_the_rest_is_said() -> None:
    curves = [series(f"c{number}", float(number)) for number in (1, 9, 8, 2, 7, 6, 5, 4)]
    shown = most_telling(curves)
    assert [one.name for one in shown] == ["c9", "c8", "c7", "c6", "c5", "c4"]
    assert len(shown) == MOST
    assert left_out(curves, shown) == "2 more are not drawn, all nearer to zero."
    zeros = [series(f"c{number}", 0.0) for number in range(9)]
    assert left_out(zeros, most_telling(zeros)) == "3 more are not drawn, all zero."
    assert left_out(curves[:2], curves[:2]) == ""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["flightline-58597b74f9-a", "flightline-64fb6d65ff-b"], ("58597b74f9-a", "64fb6d65ff-b")),
        (["flightline-abc-a", "flightline-abc-b"], ("a", "b")),
        (["alone-abc"], ("alone-abc",)),
        (["p50", "p95"], ("p50", "p95")),
        (["same-name", "same-name"], ("same-name", "same-name")),
        (["a" * 64], ("a" * 12,)),
        (["word " * 10], ("word " * 5 + "word…",)),
    ],
)
def test_names_in_a_legend_are_short_and_tell_apart(names: list[str], expected: tuple[str, ...]) -> None:
    assert short(names) == expected


def test_shares_of_a_histogram_are_of_each_bucket_and_leave_out_the_open_one() -> None:
    buckets = [series("+Inf", 10.0), series("0.5", 8.0), series("0.25", 2.0)]
    assert shares(buckets) == ((0.25, 0.2), (0.5, 0.6))
    assert shares([series("+Inf", 0.0), series("1", 0.0)]) == ()
    assert shares([]) == ()


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        ("per second", 9.9234, "9.92 /s"),
        ("count", 12345.0, "12,345 "),
        ("share", 0.00121, "0.121 %"),
        ("seconds", 0.1664, "166 ms"),
        ("count", 0.0, "0 "),
        ("age", 7200.0, "2 hours"),
    ],
)
def test_a_tile_has_three_digits_and_a_unit(unit: str, value: float, shown: str) -> None:
    found = tile(replace(PANEL, kind="number", unit=unit), [series("", value)])
    assert f"{found.value} {found.unit}" == shown


def test_a_tile_without_an_answer_has_a_dash() -> None:
    assert tile(replace(PANEL, kind="number"), []).value == "\N{EN DASH}"
