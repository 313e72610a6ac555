"""The circuit breaker's word to people: one issue while it is open, closed once an attempt goes again."""

from collections.abc import Callable, Sequence

from pipeline.delivery.pulls import Desk
from pipeline.forge.errors import ForgeError, scope
from pipeline.monitoring.retrain.attempts import Attempt
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.guards import failures
from pipeline.text import markdown

MARKER = "<!-- flightline:retrain circuit -->"
TITLE = "Retraining has stopped: attempts fail"
_DENIED = 403


def report(desk: Desk | None, attempts: Sequence[Attempt], settings: Retrain, say: Callable[[str], None]) -> None:
    """Open the one issue, or bring it up to date, where that many failed in a row. Raises ForgeError.

    A token that may not is said, and no more: the circuit is open without an issue, too.
    """
    failed = failures(attempts, settings.reset_after)
    if desk is None or len(failed) < settings.max_failures:
        return
    say("opening the issue about failed attempts")
    _tried(lambda: desk.forge.open_issue(MARKER, TITLE, body(failed)), say)


def closed(desk: Desk | None) -> None:
    """Close the issue, if there is one and the token may. Raises ForgeError."""
    if desk is not None:
        _tried(lambda: desk.forge.close_issue(MARKER, "Closed: an attempt is made again."), desk.say)


def _tried(change: Callable[[], object], say: Callable[[str], None]) -> None:
    try:
        change()
    except ForgeError as error:
        if error.status != _DENIED:
            raise
        needed = scope("POST", "/issues")
        say(f"the issue about failed attempts stays as it is; give FLIGHTLINE_TOKEN {needed}: {error}")


def body(failed: Sequence[Attempt]) -> str:
    """What failed, newest first, and what a person does now."""
    lines = [f"- {markdown(one.key)}: {markdown(one.reason)}" for one in reversed(failed)]
    day = (failed[-1].ended or failed[-1].began).date()
    return "\n".join(
        [
            MARKER,
            f"The last {len(failed)} attempts to retrain failed. Nothing more is tried until a person has looked.",
            "",
            *lines,
            "",
            f"Mend the cause, then set `retrain.reset_after: {day}` in `params.yaml` by a pull request: failures up to "
            "that day are forgiven. docs/retraining.md says more.",
        ]
    )
