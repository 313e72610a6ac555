"""What an environment may not be given: what is held, and what is older than what it was given before.

One rule for the verbs that write releases and for the check of what they prepared.
"""

from pipeline.delivery.git import Repository
from pipeline.delivery.history import Timeline


def newer(repository: Repository, found: Timeline, source: str) -> str | None:
    """A commit that the environment was given, or one's ancestor, on which `source` does not build."""
    if found.release is not None and not repository.contains(source, found.release.source):
        return found.release.source
    return repository.beside(source, (one.source for _, one in found.releases()))


def refusal(identity: str, source: str, lines: tuple[Timeline, ...], overtaken: str | None) -> str | None:
    """Why the first of `lines` may not be given this release, with the fix, or None. Pure.

    The others are environments that it went through before; `overtaken` is what `newer` found.
    """
    for one in lines:
        if why := one.held.get(identity):
            fix = f"`flightline unhold --env {one.env} {identity[:12]} --reason ...` lets it go"
            return f"identity {identity[:12]} is held in {one.env} ({why}); {fix}"
    if overtaken is None:
        return None
    return (
        f"{lines[0].env} was given {overtaken[:12]} before, on which {source[:12]} does not build: this is an older "
        "run; release the newest commit, or go back by `flightline rollback`"
    )
