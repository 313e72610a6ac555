"""What a forge tells about pull requests, comments, issues and runs, in one shape for both."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.config import Frozen
from pipeline.forge.errors import ForgeError

Document = Mapping[str, Any]
_REF = "refs/"
_PULL = re.compile(r"refs/pull/(\d+)/")
_Kind = TypeVar("_Kind")


class Pull(Frozen):
    """A pull request. `head_repository` is `owner/name`, empty where the fork is gone; `state` is open or closed."""

    number: int
    title: str
    body: str
    state: str
    merged: bool
    head_branch: str
    head_sha: str
    head_repository: str
    base_branch: str
    base_sha: str
    url: str
    author: str


class Comment(Frozen):
    """A comment on a pull request or issue."""

    id: int
    body: str
    url: str
    author: str


class Run(Frozen):
    """A run of a workflow: `workflow` is its file, `status` ends in `completed`, `conclusion` is empty until then.

    Of a pull request's, Gitea says the number, `pull`, and no branch; GitHub the branch and its repository alone.
    """

    id: int
    workflow: str
    event: str
    head_sha: str
    head_branch: str
    head_repository: str = ""
    pull: int | None = None
    status: str
    conclusion: str
    url: str


class Issue(Frozen):
    """An issue; `state` is open or closed."""

    number: int
    title: str
    body: str
    state: str
    url: str


def read(kind: Callable[[Document], _Kind], document: Any) -> _Kind:
    """The document as `kind`. Raises ForgeError where it is no such thing."""
    try:
        return kind(document)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ForgeError(f"the forge answered something else than was asked for: {error!r:.100}") from error


def pull(document: Document) -> Pull:
    """A pull request of either forge; a list of GitHub's has no `merged`, both have `merged_at`."""
    head, base = document["head"], document["base"]
    return Pull(
        number=document["number"],
        title=document["title"],
        body=document["body"] or "",
        state=document["state"],
        merged=bool(document["merged_at"]),
        head_branch=_head_branch(head),
        head_sha=head["sha"],
        head_repository=(head["repo"] or {}).get("full_name", ""),
        base_branch=base["ref"],
        base_sha=base["sha"],
        url=document["html_url"],
        author=author(document),
    )


def comment(document: Document) -> Comment:
    """A comment of either forge."""
    body = document["body"] or ""
    return Comment(id=document["id"], body=body, url=document["html_url"], author=author(document))


def issue(document: Document) -> Issue:
    """An issue of either forge."""
    return Issue(
        number=document["number"],
        title=document["title"],
        body=document["body"] or "",
        state=document["state"],
        url=document["html_url"],
    )


def run(document: Document) -> Run:
    """A run of either forge: what Gitea leaves out is empty, its `path` is the file alone, both may add `@REF`."""
    path, _, ref = document["path"].partition("@")
    of = _PULL.match(ref)
    return Run(
        id=document["id"],
        workflow=path.rpartition("/")[2],
        event=document["event"],
        head_sha=document["head_sha"],
        head_branch=document.get("head_branch") or "",
        head_repository=(document.get("head_repository") or {}).get("full_name", ""),
        pull=int(of[1]) if of else None,
        status=document["status"],
        conclusion=document.get("conclusion") or "",
        url=document["html_url"],
    )


def author(document: Document) -> str:
    """Who wrote it; empty for an account that is gone."""
    return str((document["user"] or {}).get("login", ""))


def _head_branch(head: Document) -> str:
    """The branch's name: Gitea says it in `label` alone once the branch is deleted, GitHub always in `ref`."""
    return str(head["label"] if head["ref"].startswith(_REF) else head["ref"])
