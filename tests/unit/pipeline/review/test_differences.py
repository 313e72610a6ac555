"""What differs between two commits, from files that anybody may have written."""

import pytest

from pipeline.config import ConfigError
from pipeline.review import differences
from pipeline.review.models import Figure, Output, Setting

BASE = b"data: {start: '2013-01-01', end: '2013-03-31'}\nestimator: {name: logistic, C: 0.1}\ngates: {overrides: []}\n"
HEAD = (
    b"data: {start: '2013-01-01', end: '2013-05-31'}\nestimator: {name: boosted, rate: 0.06}\ngates: {overrides: []}\n"
)
LAUGHS = b"a0: &a0 [x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 10)
)
LOCK = """\
stages:
  rows: {outs: [{path: build/rows, md5: %s, size: %d}]}
  bundle: {outs: [{path: build/bundle, md5: %s.dir, size: 5}]}
"""


def test_only_parameters_that_differ_are_named_with_both_values() -> None:
    assert differences.parameters(BASE, HEAD) == (
        Setting(name="data.end", base="2013-03-31", head="2013-05-31"),
        Setting(name="estimator.name", base="logistic", head="boosted"),
        Setting(name="estimator.rate", base=None, head="0.06"),
        Setting(name="estimator.C", base="0.1", head=None),
    )
    assert differences.parameters(BASE, BASE) == ()


def test_file_that_is_new_or_gone_differs_whole() -> None:
    assert [one.base for one in differences.parameters(None, b"a: 1\nb: x\n")] == [None, None]
    assert [one.head for one in differences.parameters(b"a: 1\n", None)] == [None]


def test_outputs_are_listed_changed_or_not() -> None:
    before, after = (LOCK % (letter * 32, size, "c" * 32) for letter, size in (("a", 10), ("b", 20)))
    assert differences.outputs(before.encode(), after.encode()) == (
        Output(path="build/rows", base="a" * 32, head="b" * 32, base_bytes=10, head_bytes=20),
        Output(path="build/bundle", base=f"{'c' * 32}.dir", head=f"{'c' * 32}.dir", base_bytes=5, head_bytes=5),
    )


def test_figures_are_the_numbers_of_both_by_dotted_name() -> None:
    base, head = {"loss": 0.5, "rows": {"train": 10}, "estimator": "logistic"}, {"loss": 0.4, "roc": 0.7, "ok": True}
    assert differences.figures(base, head) == (
        Figure(name="loss", base=0.5, head=0.4),
        Figure(name="roc", base=None, head=0.7),
        Figure(name="rows.train", base=10, head=None),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"- 1", "a list where sections"),
        (b"a: " + b"[" * 50_000, "levels deep"),
        (b"a: " + b"[" * 50_000 + b"]" * 50_000, "levels deep"),
        (b"a: &a [*a, 1]\n", "stands in what it names"),
        (LAUGHS, "more than 100,000 values"),
        (b"a: " + b"x" * 600_000, "more than 500,000 bytes"),
        (b"a: !!python/object:os.system ls", "not YAML"),
    ],
)
def test_text_that_means_harm_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        differences.parameters(BASE, text)


def test_ordinary_aliases_are_read() -> None:
    text = b"one: &one {a: 1}\ntwo: *one\nthree: {<<: *one, b: 2}\n"
    assert [one.name for one in differences.parameters(None, text)] == ["one.a", "two.a", "three.a", "three.b"]


def test_lock_of_another_shape_lists_nothing() -> None:
    for text in (b"stages: 5", b"stages: {a: 5}", b"stages: {a: {outs: [1, {path: 5}]}}"):
        assert differences.outputs(None, text) == ()
