import json

from hypothesis import given
from hypothesis import strategies as st

from serving.weaving import texts, weave


@given(st.lists(st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.none())))
def test_each_value_is_one_text_whatever_is_in_it(values):
    assert [json.loads(text) for text in texts(values)] == values


def test_a_row_is_its_parts_in_order():
    assert weave(2, b"<", [b"a", b"b"], b"=", [b"1", b"2"], b">") == b"<a=1><b=2>"


def test_one_row_is_woven_as_many_are():
    assert weave(1, b"<", [b"a"], b"=", [b"1"], b">") == b"<a=1>"
