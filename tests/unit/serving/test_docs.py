import re
from html import unescape

from serving import docs
from serving.bundle import load
from serving.scoring import Scorer
from serving.settings import Settings
from serving.signature import Input, Output, Signature
from tests import bundles


def page(scorer, **settings) -> str:
    return docs.page(scorer, Settings(**settings)).decode()


def test_every_input_is_there_with_unit_range_and_example(scorer):
    text = page(scorer)
    assert all(f"<code>{one.name}</code>" in text for one in bundles.SIGNATURE.inputs)
    assert "<td>°F<td>number, -40 to 130<td><code>39.0</code>" in text


def test_nothing_is_loaded_from_elsewhere(scorer):
    assert not re.findall(r"(?:src|@import|url\()", page(scorer).replace("script-src", ""))


def test_the_notice_is_shown_only_where_there_is_one_and_as_text(scorer):
    assert 'role="alert"' not in page(scorer)
    assert "not fit: &lt;b&gt;" in page(scorer, notice="not fit: <b>")


def test_the_example_survives_the_shell_where_a_value_has_a_quote(tmp_path):
    inputs = (Input("field", "category", "an airport", categories=("O'Hare",), example="O'Hare"),)
    bundles.write(tmp_path, signature=Signature("m", "M", "regression", inputs, Output("")), model=None)
    assert "O'\\''Hare" in unescape(page(Scorer(load(tmp_path), Settings())))
