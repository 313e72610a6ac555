"""Releases as their sources render them: what `k8s/releases/` holds was written by a machine and not changed since."""

from pipeline.context import Context
from pipeline.delivery import checks
from pipeline.delivery.history import RELEASE, folder
from pipeline.validate.results import Result, several

NAME = "releases"


def check(context: Context) -> Result:
    """Every environment's release rendered again from the commit that it names. Raises GitError."""
    found = checks.check_releases(context)
    released = [env for env in context.settings.environments if (context.root / folder(env) / RELEASE).is_file()]
    counted = f"{several(len(released), 'release')} in {several(len(context.settings.environments), 'environment')}"
    return Result(NAME, counted, tuple(one.text for one in found))
