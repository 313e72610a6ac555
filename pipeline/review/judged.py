"""judged: the run of `gate` that a report is to be about, where no event says so.

Gitea starts nothing at the end of a run that the built-in token dispatched, so who dispatched it asks for the report,
too.
"""

from collections.abc import Callable

from pipeline.config import ConfigError
from pipeline.delivery.models import is_commit
from pipeline.errors import UnavailableError
from pipeline.forge import Forge, Run, waiting

GATE = "gate.yml"


def judged(forge: Forge, commit: str, say: Callable[[str], None]) -> Run:
    """The newest run of `gate` at a commit, at its end. Raises ConfigError, ForgeError, UnavailableError."""
    if not is_commit(commit):
        raise ConfigError(f"{commit!r:.80} is no commit; give its 40 hexadecimal digits")
    found = waiting.newest(forge, GATE, commit)
    if found is None:
        raise UnavailableError(f"{GATE} never ran at {commit[:12]}; start it on the pull request's branch, then this")
    say(f"waiting for {found.url}")
    if (run := waiting.ended(forge, found)).status != "completed":
        raise UnavailableError(f"{run.url} has not ended in {waiting.LONGEST:,.0f} s; start this again once it has")
    return run
