"""Figures and foreign text as people read them."""

import pytest

from pipeline import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.6123, ".6123"),
        (-0.05, "-.0500"),
        (0, "0"),
        (12345, "12,345"),
        (1.0234, "1.023"),
        (4.3e-7, "4.3e-07"),
        (float("nan"), "–"),  # noqa: RUF001
        (float("-inf"), "-∞"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_a_number_is_written_as_the_gates_write_it(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


def test_figures_of_one_column_have_the_same_decimals() -> None:
    assert text.column([1.5, 0.25, 10.0, None]) == ["1.50", ".25", "10.00", "–"]  # noqa: RUF001


def test_a_small_figure_beside_a_large_one_is_not_rounded_away() -> None:
    assert text.column([1.0, 0.0003]) == ["1.000", "3.0e-04"]


def test_plain_text_is_one_line_without_control_or_direction_characters() -> None:
    assert text.plain("a\n b\x1b[31m\u202e\x00c") == "a b[31mc"


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<b>", "&lt;b&gt;"),
        ("`x`", r"\`x\`"),
        ("dep_hour", "dep_hour"),
        ("_x_", r"\_x\_"),
        ("@team", "@<!-- -->team"),
        ("https://x", "https:<!-- -->//x"),
        ("[a](b)", r"[a\](b)"),
        ("[-.1, .2]", "[-.1, .2]"),
    ],
)
def test_foreign_text_shows_itself_in_markdown(foreign: str, shown: str) -> None:
    assert text.markdown(foreign) == shown


def test_counts_that_came_as_floats_are_shown_without_decimals() -> None:
    assert text.column([18.0, 149.0, None]) == ["18", "149", text.MISSING]
