import json

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.weaving import texts, thread, weave


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.none())))
def test_each_value_is_one_text_whatever_is_in_it(values):
    assert [json.loads(text) for text in texts(values)] == values


def test_a_row_is_its_parts_in_order():
    woven = weave(2, b"<", ([b"a", b"b"], b"=", [b"1", b"2"]), b"><", b">")
    assert woven == b"<a=1><b=2>"


def test_one_row_is_woven_as_many_are():
    assert weave(1, b"<", ([b"a"], b"=", [b"1"]), b"><", b">") == b"<a=1>"


ROWS = st.lists(
    st.dictionaries(st.text(), st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.text())),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(ROWS, st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]), st.text())
def test_objects_are_threaded_as_they_stand_unless_a_text_has_a_brace(rows, separators, name):
    body = json.dumps(rows, separators=separators).encode()
    own = [b'{"at":%d,"name":%b' % (at, json.dumps(name).encode()) for at in range(len(rows))]
    threaded = thread(body, b"", own, b',"row":', b'"end":"100%"}\n')
    if body.count(b"{") > len(rows):
        assert threaded is None
    else:
        assert [json.loads(line) for line in threaded.splitlines()] == [
            {"at": at, "name": name, "row": row, "end": "100%"} for at, row in enumerate(rows)
        ]
