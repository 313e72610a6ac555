from datetime import UTC, datetime

import pytest

from serving.headers import event_time
from serving.problems import BAD_HEADER, RefusedError


@pytest.mark.parametrize(
    "given",
    [
        "2013-04-01T12:00:00Z",
        "2013-04-01t12:00:00z",
        "2013-04-01T12:00:00.000Z",
        "2013-04-01T08:00:00-04:00",
        "2013-04-02T01:30:00+13:30",
    ],
)
def test_a_moment_is_understood_in_utc_whatever_its_offset(given):
    assert event_time([given]) == datetime(2013, 4, 1, 12, tzinfo=UTC)
    assert event_time([given]).tzinfo is UTC


def test_a_moment_far_from_now_is_taken():
    assert event_time(["2999-01-01T00:00:00Z"]).year == 2999
    assert event_time(["1970-01-01T00:00:00Z"]).year == 1970


@pytest.mark.parametrize(
    "given",
    [
        *("", "yesterday", "1364817600", "2013-04-01", "2013-04-01T12:00:00", "2013-02-30T12:00:00Z"),
        *("2013-04-01T25:00:00Z", "2013-04-01T12:00:00+04", "2013-04-01T12:00:00Z, 2013-04-02T12:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_header_the_value_and_what_to_send(given):
    with pytest.raises(RefusedError) as caught:
        event_time([given])
    assert (caught.value.kind, caught.value.kind.status) == (BAD_HEADER, 400)
    assert f"X-Event-Time is {given!r}" in caught.value.detail
    assert "RFC 3339 with an offset, as 2013-04-01T12:00:00Z" in caught.value.detail


def test_a_long_value_is_shortened_in_the_answer():
    with pytest.raises(RefusedError) as caught:
        event_time(["x" * 10_000])
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize("values", [[], ["2013-04-01T12:00:00Z", "2013-04-02T12:00:00Z"]])
def test_a_header_without_one_value_is_refused(values):
    with pytest.raises(RefusedError, match="X-Event-Time"):
        event_time(values)
