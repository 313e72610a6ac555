"""Changes of the serving code that a canary must catch: each a few lines that a hurried person might push."""

# It goes before the last lines of serving/__main__.py. The golden rows still score well: only traffic shows the fault.
_WRAP = """
from serving.scoring import Scorer

_predict = Scorer.predict
{before}

def _changed(self, body, call):
    {body}


Scorer.predict = _changed

"""

SLOW = _WRAP.format(before="import time\n", body="time.sleep(0.4)\n    return _predict(self, body, call)")
FAILING = _WRAP.format(
    before="import itertools\n\n_count = itertools.count(1)\n",
    body='if next(_count) % 20 == 0:\n        raise RuntimeError("one in 20")\n    return _predict(self, body, call)',
)
# Relative humidity read as a share, where the model was trained on per cent.
SHIFTED = _WRAP.format(
    before="",
    body=(
        "question = _predict(self, body, call)\n"
        '    question.matrix[:, self.signature.names.index("humid")] /= 100\n'
        "    return question"
    ),
)
HARMLESS = "\n# Nothing but a comment: another image all the same.\n"

_BEFORE = '\n\nif __name__ == "__main__":'


def written(source: str, change: str) -> str:
    """The text of serving/__main__.py with a change in it."""
    assert source.count(_BEFORE) == 1
    return source.replace(_BEFORE, change.rstrip() + "\n" + _BEFORE)
