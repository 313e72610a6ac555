"""release.yaml and held.yaml say exactly what they may, and errors name the field, the value and the file."""

from datetime import date

import pytest

from pipeline.delivery.models import (
    DeliveryError,
    Expects,
    read_holds,
    read_release,
    write_holds,
    write_release,
)
from tests.unit.pipeline.delivery.releases import SAID, held, release


def test_release_is_read_as_it_was_written() -> None:
    assert read_release(write_release(release("A")), "release.yaml") == release("A")


def test_last_day_of_logged_rows_stands_only_where_they_were_measured() -> None:
    """A release that was written before there was such a day stays the same to the byte."""
    said = release("A")
    assert b"logged" not in write_release(said)
    named = said.model_copy(update={"expects": said.expects.model_copy(update={"logged_to": date(2013, 4, 2)})})
    assert write_release(named) == write_release(said).replace(
        b"  rows: 0\n", b"  rows: 0\n  logged_to: '2013-04-02'\n"
    )
    assert read_release(write_release(named), "release.yaml") == named


def test_held_list_is_read_as_it_was_written() -> None:
    lines = (held("A"), held("B", SAID))
    assert read_holds(write_holds(lines), "held.yaml") == lines


def test_empty_held_list_holds_nothing() -> None:
    assert read_holds(b"", "held.yaml") == ()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"schema_version: 1", b"schema_version: 2", "schema_version"),
        (b"environment:", b"environmant:", "environmant"),
        (b"@sha256:", b":latest", "image"),
        (b"max_ks: 1.0", b"max_ks: 1.5", "max_ks"),
        (b"metrics:", b"metrics: [", "not YAML"),
    ],
)
def test_release_that_was_spoilt_is_refused_by_the_name_of_the_field(old: bytes, new: bytes, named: str) -> None:
    text = write_release(release("A"))
    assert old in text
    with pytest.raises(DeliveryError, match=named) as caught:
        read_release(text.replace(old, new, 1), "here/release.yaml")
    assert "here/release.yaml" in str(caught.value)


def test_two_lines_for_one_identity_are_refused() -> None:
    with pytest.raises(DeliveryError, match="twice"):
        read_holds(write_holds((held("A"), held("A", SAID))), "held.yaml")


def test_line_without_a_reason_is_refused() -> None:
    text = write_holds((held("A"),)).replace(b"reason: bad", b"reason: ''")
    with pytest.raises(DeliveryError, match="reason"):
        read_holds(text, "held.yaml")


def test_distance_is_a_share() -> None:
    with pytest.raises(ValueError, match="ks"):
        Expects(released=None, ks=-0.1, max_ks=1, rows=0)
