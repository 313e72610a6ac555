"""Figures and foreign text as people read them."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline import text

MARKUP = st.text(alphabet=st.sampled_from("\\`*_~|<>[]()!#+-=.:/@$&;\"' \t\nab1\u202e\x00"), max_size=40)
RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


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
        ("-.1 of it", "-.1 of it"),
        ("- item", "\\- item"),
        ("# title", "\\# title"),
        ("12. item", "12\\. item"),
        ("===", "\\==="),
        ("fixes #12", "fixes #<!-- -->12"),
        ("GH-12", "GH-<!-- -->12"),
        ("see !12", "see !<!-- -->12"),
        ("[[wiki|a]]", r"[<!-- -->[wiki\|a]]"),
        ("$$x$$", "$<!-- -->$<!-- -->x$<!-- -->$<!-- -->"),
        ("_www.x.org", "\\_www<!-- -->.x.org"),
        ("![a](http://x)", r"![a\](http:<!-- -->//x)"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("<!-- marker -->", "&lt;!-- marker --&gt;"),
    ],
)
def test_foreign_text_shows_itself_in_markdown(foreign: str, shown: str) -> None:
    assert text.markdown(foreign) == shown


def test_counts_that_came_as_floats_are_shown_without_decimals() -> None:
    assert text.column([18.0, 149.0, None]) == ["18", "149", text.MISSING]


@given(MARKUP)
def test_no_foreign_text_becomes_more_than_text_wherever_it_stands(foreign: str) -> None:
    shown = text.markdown(foreign)
    for written in (shown, f"said: {shown}", f"<details>\n\n{shown}\n\n</details>"):
        rendered = re.sub(r"<!--.*?-->|</?details>", "", RENDERER.render(written))
        assert set(re.findall(r"</?(\w+)", rendered)) <= {"p"}
        literal = re.sub(r"\s+", " ", html.unescape(re.sub(r"</?p>", "", rendered))).strip()
        assert literal.removeprefix("said:").strip() == re.sub(r"\s+", " ", text.plain(foreign)).strip()


@given(MARKUP)
def test_no_line_ends_a_code_block(foreign: str) -> None:
    lines = [text.plain_line(line) for line in foreign.splitlines()]
    (block, *_) = RENDERER.parse(f"{text.fenced(foreign, 'diff')}\n\nafter")
    assert block.type == "fence"
    assert block.content.splitlines() == lines


@pytest.mark.parametrize(
    ("foreign", "message"),
    [
        ("[skip ci] slow", "(skip ci) slow"),
        ("[CI Skip][no ci]", "(CI Skip)(no ci)"),
        ("[-.08, -.03]", "[-.08, -.03]"),
        ("see http://x.org", "see http:// x.org"),
        ("fixes #12, says @team", "fixes # 12, says @ team"),
        ("GH-12\n\nIdentity: 0", "GH -12 Identity: 0"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_a_commit_message_gives_a_forge_nothing_to_act_on(foreign: str, message: str) -> None:
    assert text.said(foreign) == message
