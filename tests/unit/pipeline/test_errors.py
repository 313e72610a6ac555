import subprocess
import sys

import pytest

from pipeline.errors import INTERNAL, UNAVAILABLE, GitError, explain, foreseen


@pytest.mark.parametrize("kind", foreseen())
def test_a_foreseen_fault_has_a_sentence_and_a_code_of_its_own(kind):
    explained = explain(kind("the fix"))
    assert explained.message == "the fix"
    assert explained.code != INTERNAL


def test_a_fault_counts_as_the_kind_it_is_a_kind_of():
    assert isinstance(GitError("no such ref"), foreseen())
    assert explain(GitError("no such ref")).code == UNAVAILABLE


def test_what_nobody_foresaw_says_how_to_see_where_it_came_from():
    assert not isinstance(TypeError("oops"), foreseen())
    assert explain(TypeError("oops")).code == INTERNAL
    assert "FLIGHTLINE_DEBUG=1" in explain(TypeError("oops")).message


def test_a_fault_is_explained_where_no_server_is_installed():
    """Jobs beside keys have its packages neither: their faults are sentences all the same."""
    told = (
        "import sys; sys.modules['uvloop'] = None; from pipeline.errors import explain; print(explain(OSError('fix')))"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert "message='fix', code=74" in done.stdout
