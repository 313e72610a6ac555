"""`flightline release | promote | rollback | hold | unhold | reconcile` and `flightline check`: delivery by git."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.progress import progress

delivery = typer.Typer()
check = typer.Typer(
    help="Check what machines wrote to k8s/releases/, and what people change there.", no_args_is_help=True
)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]
_Push = Annotated[bool, typer.Option("--push", help="Push to main; without it a branch is prepared and pushed.")]
_PullRequest = Annotated[
    bool, typer.Option("--pull-request", help="Open the branch's pull request, or bring it up to date.")
]
_Branch = Annotated[str, typer.Option("--branch", help="The branch to prepare; it has a name of its own without this.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the commit's diff and write nothing.")]
_Env = Annotated[str, typer.Option("--env", help="The environment.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
_Identity = Annotated[str, typer.Argument(help="An identity or version, 7 characters or more of it.")]


@delivery.command(help="Release HEAD's bundle, in an image by digest: rendered manifests as one commit on main.")
def release(
    image: Annotated[str, typer.Option("--image", help="REGISTRY@sha256:..., as `flightline image append` says.")],
    *,
    env: Annotated[
        str, typer.Option("--env", help="The first environment of pyproject.toml, which is the default.")
    ] = "",
    push: _Push = False,
    pull_request: _PullRequest = False,
    branch: _Branch = "",
    dry_run: _DryRun = False,
    as_json: _AsJson = False,
) -> int:
    """Exit 0 released or released already, 1 refused."""
    from pipeline.delivery.release import Wanted
    from pipeline.delivery.release import release as run

    how = _how(branch, push=push, pull_request=pull_request, dry_run=dry_run)
    with _alone() as say:
        found = run(_context(), Wanted(image, env), how, say)
        found = _asked("release", found, say) if pull_request else found
    return _show(found, as_json=as_json)


@delivery.command(help="Prepare the branch that brings what one environment has on main to the next one.")
def promote(
    *,
    env: Annotated[str, typer.Option("--env", help="Where to; the second environment of pyproject.toml.")] = "",
    push: Annotated[bool, typer.Option("--push", hidden=True)] = False,
    pull_request: _PullRequest = False,
    branch: _Branch = "",
    dry_run: _DryRun = False,
    as_json: _AsJson = False,
) -> int:
    """Exit 0 prepared or promoted already, 1 refused: with --pull-request also where the cluster contradicts."""
    from pipeline.delivery.promote import promote as run
    from pipeline.delivery.promote import trusted
    from pipeline.delivery.reconcile import contradicted

    how, context = _how(branch, push=push, pull_request=pull_request, dry_run=dry_run), _context()
    with progress() as say:
        found = run(context, env, how, say, doubt=contradicted(context.settings) if pull_request else trusted)
        found = _asked("promote", found, say) if pull_request else found
    return _show(found, as_json=as_json)


@delivery.command(
    help="Go back to an earlier release: its very files as a new commit, and a hold on what they replace."
)
def rollback(  # noqa: PLR0913 - an option each
    env: _Env,
    *,
    to: Annotated[str, typer.Option("--to", help="Identity, version or commit on main, 7 characters or more.")] = "",
    aborted: Annotated[
        str, typer.Option("--aborted", help="Go back from this identity, if it is still released.")
    ] = "",
    reason: _Reason = "",
    push: _Push = False,
    pull_request: _PullRequest = False,
    branch: _Branch = "",
    dry_run: _DryRun = False,
    as_json: _AsJson = False,
) -> int:
    """Exit 0 rolled back or nothing to do, 1 refused."""
    from pipeline.delivery import rollback as back

    if bool(to) == bool(aborted):
        raise typer.BadParameter("give one of --to RELEASE and --aborted IDENTITY")
    how = _how(branch, push=push, pull_request=pull_request, dry_run=dry_run)
    with progress() as say:
        if to:
            found = back.rollback(_context(), env, to, reason, how, say)
        else:
            found = back.revert_aborted(_context(), env, aborted, reason, how, say)
        found = _asked("rollback", found, say) if pull_request else found
    return _show(found, as_json=as_json)


@delivery.command(help="Hold an identity: release, promote and rollback refuse it.")
def hold(  # noqa: PLR0913 - an option each
    identity: _Identity,
    env: _Env,
    reason: _Reason,
    *,
    push: _Push = False,
    pull_request: _PullRequest = False,
    branch: _Branch = "",
    dry_run: _DryRun = False,
    as_json: _AsJson = False,
) -> int:
    """One line in held.yaml."""
    how = _how(branch, push=push, pull_request=pull_request, dry_run=dry_run)
    return _show(_held("hold", (env, identity, reason), how, pull_request=pull_request), as_json=as_json)


@delivery.command(help="Let a held identity go: the permission is recorded in held.yaml.")
def unhold(  # noqa: PLR0913 - an option each
    identity: _Identity,
    env: _Env,
    reason: _Reason,
    *,
    push: _Push = False,
    pull_request: _PullRequest = False,
    branch: _Branch = "",
    dry_run: _DryRun = False,
    as_json: _AsJson = False,
) -> int:
    """One line in held.yaml."""
    how = _how(branch, push=push, pull_request=pull_request, dry_run=dry_run)
    return _show(_held("unhold", (env, identity, reason), how, pull_request=pull_request), as_json=as_json)


@delivery.command(
    help="Do what an event of the cluster asks for, if main and cluster bear it out. Without one: close what is past."
)
def reconcile(
    *,
    env: Annotated[str, typer.Option("--env", help="The environment, or its namespace.")] = "",
    identity: Annotated[str, typer.Option("--identity", help="Which identity it is about.")] = "",
    event: Annotated[str, typer.Option("--event", help="aborted, paused or completed.")] = "",
    reason: _Reason = "",
    message: Annotated[str, typer.Option("--message", help="What the cluster said.")] = "",
    poll: Annotated[
        bool, typer.Option("--poll", help="Ask the cluster about every environment; it called nobody.")
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """Exit 0 whatever the event turns out to be: it is a hint."""
    from pipeline.delivery.reconcile import Hint, Reconciling

    if poll and (env or identity or event):
        raise typer.BadParameter("--poll asks the cluster itself; leave --env, --identity and --event out")
    if (event or env or identity) and not (event and env and identity):
        raise typer.BadParameter("an event needs --event, --env and --identity")
    with progress() as say:
        desk = Reconciling.of(_context(), say)
        hint = Hint(event=event, environment=env, identity=identity, reason=reason, message=message)
        answers = desk.poll() if poll else desk.answer(hint) if event else desk.tidy()
    _tell(answers, as_json=as_json)


def _tell(answers: Any, *, as_json: bool) -> None:
    """A line an answer, or one JSON list."""
    if as_json:
        typer.echo(json.dumps([one.model_dump() for one in answers]))
    elif not answers:
        typer.echo("nothing to do")
    else:
        typer.echo("\n".join(one.text for one in answers))


@check.command(help="Render every release of this tree anew from the source it names, and compare.")
def releases() -> int:
    """Exit 1 where one differs."""
    from pipeline.delivery.checks import check_releases

    return _findings(check_releases(_context()), "releases are what their sources render to")


@check.command(help="Check what BASE..HEAD changes in k8s/releases/.")
def change(
    base: Annotated[str, typer.Argument(help="The commit on main.")],
    head: Annotated[str, typer.Argument(help="The commit that would be merged.")] = "HEAD",
    *,
    no_store: Annotated[bool, typer.Option("--no-store", help="Leave what logged rows prove to the report.")] = False,
) -> int:
    """Exit 1 where it does what only machines may. A new release must prove what it says, to the registry too."""
    from pipeline.delivery.checks import check_change
    from pipeline.delivery.git import Here
    from pipeline.delivery.proofs import Proofs

    here = Here(Path.cwd())
    return _findings(
        check_change(here, base, head, Proofs(here.root, store=not no_store)), "nothing that may not be changed"
    )


def _findings(found: Any, sound: str) -> int:
    for one in found:
        typer.echo(one.text, err=True)
    if not found:
        typer.echo(sound)
    return int(bool(found))


def _how(branch: str, *, push: bool, pull_request: bool, dry_run: bool) -> Any:
    from pipeline.delivery.push import How

    if push and branch:
        raise typer.BadParameter("give one of --push and --branch")
    if pull_request and (push or dry_run):
        raise typer.BadParameter("give --pull-request without --push and --dry-run")
    return How(push=push, branch=branch, dry_run=dry_run)


def _held(verb: str, wanted: tuple[str, str, str], how: Any, *, pull_request: bool) -> Any:
    """Hold an identity, or let it go: (environment, identity, reason)."""
    from pipeline.delivery import hold as edits

    with progress() as say:
        found = getattr(edits, verb)(_context(), *wanted, how, say)
        return _asked(verb, found, say) if pull_request else found


def _asked(verb: Any, outcome: Any, say: Any) -> Any:
    """The outcome with its branch's pull request; a promotion's has what the cluster says of where it comes from."""
    from pipeline.delivery import pulls
    from pipeline.delivery.reconcile import promotion_evidence

    desk = pulls.Desk.of(_context(), say)
    gather = (lambda key, _: promotion_evidence(desk, key)) if verb == "promote" else None
    return pulls.ask(desk, verb, outcome, gather)


def _show(outcome: Any, *, as_json: bool) -> int:
    typer.echo(outcome.model_dump_json() if as_json else outcome.text)
    code: int = outcome.exit_code
    return code


def _context() -> Any:
    from pipeline.context import Context

    return Context(Path.cwd())


def _alone() -> Any:
    """Progress, while no other run changes build/."""
    from contextlib import contextmanager

    from pipeline.lock import exclusive

    @contextmanager
    def held() -> Any:
        with progress() as say, exclusive(Path.cwd(), say):
            yield say

    return held()
