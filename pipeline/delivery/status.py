"""What each environment is at: git and the cluster are asked here, and what they say is judged in `standing`."""

from collections.abc import Sequence

from pipeline import production
from pipeline.context import Context
from pipeline.delivery import freeze
from pipeline.delivery.cluster import Cluster, ClusterError, Names, Objects, connect
from pipeline.delivery.git import Repository
from pipeline.delivery.history import timeline
from pipeline.delivery.models import DeliveryError
from pipeline.delivery.observed import synced_of
from pipeline.delivery.standing import InGit, Status, judge
from pipeline.errors import GitError


def look(context: Context, environments: Sequence[str], kubernetes_context: str = "") -> Status:
    """Ask git and the cluster. What cannot be asked, or read, becomes a note."""
    repository, main, notes = main_of(context)
    notes += freeze.notes(repository, main, environments) if repository and main else []
    asked: list[tuple[str, InGit | None, Objects | None]] = []
    cluster: Cluster | None = None
    try:
        cluster = connect(kubernetes_context)
    except ClusterError as error:
        notes.append(str(error))
    for name in environments:
        said = None
        try:
            said = in_git(repository, main, name) if repository and main else None
        except (DeliveryError, GitError) as error:
            notes.append(str(error))
        try:
            found = cluster.environment(Names.of(context.settings, name)) if cluster else None
        except ClusterError as error:
            notes.append(str(error))
            cluster = found = None
        asked.append((name, said, found))
    judged = tuple(judge(name, said, found, has_release(repository, said, found)) for name, said, found in asked)
    return Status(environments=judged, notes=tuple(notes))


def main_of(context: Context) -> tuple[Repository | None, str | None, list[str]]:
    """The repository and main's commit: the remote's, or the last one seen where it cannot be asked."""
    try:
        repository = Repository.of(context)
    except GitError as error:
        return None, None, [str(error)]
    try:
        return repository, repository.fetch(), []
    except GitError as error:
        note = f"{error}; what git says is as of the last fetch"
    try:
        ref = production.main_ref(context)
        return repository, repository.text("rev-parse", ref) if ref else None, [note]
    except GitError:
        return repository, None, [note]


def in_git(repository: Repository, main: str, environment: str) -> InGit:
    """What a commit of main says of an environment. Raises DeliveryError, GitError."""
    found = timeline(repository, main, environment)
    if found.release is None:
        return InGit(main=main, holds=len(found.held))
    said = {name: getattr(found.release, name) for name in ("identity", "version", "source", "image")}
    commit = next((commit for commit, _ in found.releases()), main)
    return InGit(main=main, commit=commit, held=found.held.get(found.identity), holds=len(found.held), **said)


def has_release(repository: Repository | None, git: InGit | None, found: Objects | None) -> bool | None:
    """Whether the commit that Argo CD synced holds the release; None where git cannot tell."""
    synced = synced_of(found.application) if found and found.application else None
    if repository is None or git is None or git.commit is None or synced is None:
        return None
    return repository.contains(synced.revision, git.commit) if repository.knows(synced.revision) else None
