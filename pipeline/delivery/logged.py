"""Before a promotion: is what this version answered where it is now its bundle's own? A sample is asked again."""

from collections.abc import Callable
from pathlib import Path

from pipeline import paths
from pipeline.config import ConfigError, Frozen
from pipeline.context import Context
from pipeline.delivery.expectations import is_of_model
from pipeline.errors import UnavailableError
from serving import bundle

SAMPLE = 1000


class Logged(Frozen):
    """`text` is the line of evidence; `difference` says of which request the score is not the bundle's, "" for none."""

    text: str
    difference: str = ""

    def refusal(self, env: str) -> str:
        """Why the version that runs in `env` must not go on, and what to look at; "" for nothing."""
        if not self.difference:
            return ""
        return (
            f"{self.text}; {self.difference}: something else answered, or the log was altered on its way. "
            f"`flightline trace {env}` says what runs there, `flightline rescore BUNDLE LOG` asks about a pod's own log"
        )


Rescore = Callable[[Context, Path], Logged]


def rescored(context: Context, folder: Path) -> Logged:
    """A sample of the stored requests that the bundle in `folder` answered, asked of it again.

    What cannot be asked is no fault of the version: the line says why.
    """
    opened = bundle.load(folder)
    try:
        return _rescored(context, opened)
    except ImportError as error:  # an environment that only releases
        return _not(f"{error.name} is not installed (`make setup FOR=monitor`)")
    except (ConfigError, UnavailableError) as error:
        return _not(str(error))


def _rescored(context: Context, opened: bundle.Bundle) -> Logged:
    from pipeline.monitoring.rescoring import rescore_stored
    from pipeline.monitoring.store import open_store

    if not (context.root / paths.PARAMS).is_file() or not is_of_model(context, opened):
        return _not("the version reads other columns than this checkout's model")
    store = open_store(context)
    if not set(opened.signature.names) <= set(store.features):
        return _not("`monitoring.fields` keeps not every column of them")
    found = rescore_stored(opened, store, SAMPLE, context.params.gates.differential.parity_tolerance)
    if found.seen and not found.checked:
        return _not(f"all {found.seen:,} were logged before `monitoring.fields` kept every column of them")
    if not found.checked:
        return _not(f"the store has none that version {opened.version[:12]} answered")
    return Logged(text=found.summary, difference="" if found.holds else found.difference)


def _not(why: str) -> Logged:
    return Logged(text=f"none re-scored: {why}")
