"""The forge of one repository, as the delivery uses it. Every call raises ForgeError where the forge says no."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from urllib.parse import quote, urlsplit

from pipeline.config import ConfigError, Settings
from pipeline.delivery.token import TOKENS
from pipeline.forge import models
from pipeline.forge.errors import ForgeError
from pipeline.forge.http import Client, tell
from pipeline.forge.models import Comment, Document, Issue, Pull, Run, read

_GITHUB, _GITHUB_API = "https://github.com", "https://api.github.com"
_GITEA_API, _ENTERPRISE_API = "/api/v1", "/api/v3"
_DESCRIPTION = 140  # what both take of a status
_MOVED = ("base_ref_changed", "automatic_base_change_succeeded", "change_target_branch")  # GitHub's words, Gitea's
_EXISTS = (409, 422)  # Gitea's and GitHub's answer to a pull request that is there already


@dataclass(frozen=True)
class Forge:
    """A repository (`owner/name`) on the forge whose API the client speaks to."""

    client: Client
    repository: str

    @classmethod
    def of(
        cls, settings: Settings, environ: Mapping[str, str] = os.environ, say: Callable[[str], None] | None = None
    ) -> "Forge":
        """The forge that the environment names (GITHUB_API_URL, GITHUB_REPOSITORY), else that of the settings.

        `say` is told of waits; without it they are told on stderr. Raises ConfigError.
        """
        token = next(filter(None, map(environ.get, TOKENS)), None)
        if token is None:
            raise ConfigError(f"{TOKENS[0]} is not set; give it a token of the forge ({TOKENS[1]} is taken, too)")
        address = urlsplit(settings.repository.rstrip("/").removesuffix(".git"))
        name = environ.get("GITHUB_REPOSITORY") or address.path.strip("/")
        api = environ.get("GITHUB_API_URL") or _api(f"{address.scheme}://{address.netloc}")
        _check(name, api)
        return cls(Client(api.rstrip("/"), token, say or tell), name)

    def pulls(self, state: str = "open", head: str = "") -> list[Pull]:
        """Pull requests (open, closed or all), newest first; with `head`, those of that branch of this repository."""
        filters = {"head": f"{self.repository.partition('/')[0]}:{head}"} if head else {}  # Gitea ignores it
        found = [read(models.pull, one) for one in self.client.pages(self._at("/pulls"), state=state, **filters)]
        return [one for one in found if not head or (one.head_branch, one.head_repository) == (head, self.repository)]

    def pull(self, number: int) -> Pull:
        """One pull request."""
        return read(models.pull, self.client.get(self._at(f"/pulls/{number}")))

    def pull_of(self, sha: str) -> Pull | None:
        """The open pull request whose head is this commit, of a fork too."""
        listed = self.client.pages(self._at("/pulls"), state="open")
        return next((one for one in (read(models.pull, each) for each in listed) if one.head_sha == sha), None)

    def pulls_of(self, run: Run) -> list[Pull]:
        """Every pull request, open or not, that a run may be of."""
        if run.pull is not None:
            return [self.pull(run.pull)]
        head = f"{run.head_repository.partition('/')[0]}:{run.head_branch}"
        listed = self.client.pages(self._at("/pulls"), state="all", head=head)
        found = (read(models.pull, one) for one in listed)
        return [
            one for one in found if (one.head_branch, one.head_repository) == (run.head_branch, run.head_repository)
        ]

    def moved(self, number: int) -> bool:
        """Whether a pull request was ever to be merged into another branch than now."""
        # Gitea's has no Link header, and leaves comments on code out of a page that was full.
        listed = self.client.thinned(self._at(f"/issues/{number}/timeline"))
        return any((one.get("event") or one.get("type")) in _MOVED for one in listed)

    def open_pull(self, head: str, base: str, title: str, body: str) -> Pull:
        """The open pull request of a branch of this repository, made or brought up to date."""
        if found := self._open(head, base):
            return self._refreshed(found, title, body)
        asked = {"head": head, "base": base, "title": title, "body": body}
        try:
            made = self.client.create(self._at("/pulls"), asked, lambda: self._open(head, base))
        except ForgeError as error:
            if error.status not in _EXISTS or (found := self._open(head, base)) is None:
                raise
            return self._refreshed(found, title, body)
        return made if isinstance(made, Pull) else read(models.pull, made)

    def update_pull(
        self, number: int, *, title: str | None = None, body: str | None = None, state: str | None = None
    ) -> Pull:
        """Change what is given; `state` "closed" closes it without a merge."""
        given = {"title": title, "body": body, "state": state}
        wanted = {name: value for name, value in given.items() if value is not None}
        return read(models.pull, self.client.put("PATCH", self._at(f"/pulls/{number}"), wanted))

    def comment(self, number: int, marker: str, body: str) -> Comment:
        """Our one comment that starts with the marker (an HTML comment), made or updated in place."""
        text = body if body.startswith(marker) else f"{marker}\n{body}"
        found = self._commented(number, marker)
        if found is None:
            path = self._at(f"/issues/{number}/comments")
            made = self.client.create(path, {"body": text}, lambda: self._commented(number, marker))
            return made if isinstance(made, Comment) else read(models.comment, made)
        if found.body == text:
            return found
        path = self._at(f"/issues/comments/{found.id}")
        return read(models.comment, self.client.put("PATCH", path, {"body": text}))

    def comments(self, number: int) -> list[Comment]:
        """All comments on a pull request or issue, oldest first."""
        return [read(models.comment, one) for one in self.client.pages(self._at(f"/issues/{number}/comments"))]

    def status(self, sha: str, context: str, state: str, description: str, url: str = "") -> None:
        """Set a commit's status; `state` is success, failure, error or pending. The newest of a context counts."""
        said = {"context": context, "state": state, "description": description[:_DESCRIPTION]}
        self.client.put("POST", self._at(f"/statuses/{sha}"), {**said, **({"target_url": url} if url else {})})

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow by its file's name on a branch.

        With inputs it is started again where the answer was lost: no run tells which inputs it was given.
        """
        before = self._newest(workflow)
        path = self._at(f"/actions/workflows/{quote(workflow, safe='')}/dispatches")
        asked = {"ref": ref, "inputs": dict(inputs)}
        self.client.create(path, asked, lambda: None if inputs else self._later(workflow, ref, before))

    def open_issue(self, marker: str, title: str, body: str) -> Issue:
        """Our one open issue that starts with the marker (an HTML comment), made or updated in place."""
        text = body if body.startswith(marker) else f"{marker}\n{body}"
        found = self._issue(marker)
        if found is None:
            made = self.client.create(self._at("/issues"), {"title": title, "body": text}, lambda: self._issue(marker))
            return made if isinstance(made, Issue) else read(models.issue, made)
        if (found.title, found.body) == (title, text):
            return found
        return self._changed(found, {"title": title, "body": text})

    def issue(self, marker: str) -> Issue | None:
        """Our one open issue that starts with the marker; None where there is none."""
        return self._issue(marker)

    def close_issue(self, marker: str, comment: str) -> None:
        """Close our open issue of the marker, if there is one, with a last word."""
        if found := self._issue(marker):
            self.comment(found.number, f"{marker}<!-- closed -->", comment)
            self._changed(found, {"state": "closed"})

    def run(self, id: int) -> Run:
        """One run of a workflow."""
        return read(models.run, self.client.get(self._at(f"/actions/runs/{id}")))

    def runs(self, **filters: str) -> Iterator[Run]:
        """Runs, newest first, page by page as they are asked for; both know the filters event, branch and head_sha."""
        listed = self.client.pages(self._at("/actions/runs"), "workflow_runs", **filters)
        return (read(models.run, one) for one in listed)

    @cached_property
    def login(self) -> str:
        """Whose token this is. An installation of a GitHub App, as the built-in token is, may ask GraphQL alone."""
        try:
            return str(self.client.get("/user")["login"])
        except ForgeError as error:
            if self._is_gitea or error.status != 403:  # noqa: PLR2004 - forbidden
                raise
        origin = self.client.api.removesuffix(_ENTERPRISE_API)
        address = f"{origin}/graphql" if origin == _GITHUB_API else f"{origin}/api/graphql"
        return str(self.client.put("POST", address, {"query": "{viewer{login}}"})["data"]["viewer"]["login"])

    def raw_url(self, branch: str, path: str) -> str:
        """Where a browser finds a file of a branch; of a private repository too, for who is logged in."""
        kind = "raw/branch" if self._is_gitea else "raw"
        return f"{self.web_url()}/{kind}/{quote(branch)}/{quote(path)}"

    def web_url(self) -> str:
        """The repository's page."""
        api = self.client.api
        origin = _GITHUB if api == _GITHUB_API else api.removesuffix(_GITEA_API).removesuffix(_ENTERPRISE_API)
        return f"{origin}/{self.repository}"

    @property
    def _is_gitea(self) -> bool:
        return self.client.api.endswith(_GITEA_API)

    def _at(self, path: str) -> str:
        return f"/repos/{self.repository}{path}"

    def _open(self, head: str, base: str) -> Pull | None:
        return next((one for one in self.pulls(head=head) if one.base_branch == base), None)

    def _refreshed(self, found: Pull, title: str, body: str) -> Pull:
        same = (found.title, found.body) == (title, body)
        return found if same else self.update_pull(found.number, title=title, body=body)

    def _commented(self, number: int, marker: str) -> Comment | None:
        ours = (one for one in self.comments(number) if one.body.startswith(marker))
        return next((one for one in ours if one.author == self.login), None)

    def _issue(self, marker: str) -> Issue | None:
        listed = self.client.pages(self._at("/issues"), state="open")
        ours = (one for one in listed if one.get("pull_request") is None and models.author(one) == self.login)
        return next((one for one in (read(models.issue, each) for each in ours) if one.body.startswith(marker)), None)

    def _changed(self, found: Issue, wanted: Document) -> Issue:
        path = self._at(f"/issues/{found.number}")
        return read(models.issue, self.client.put("PATCH", path, dict(wanted)))

    def _newest(self, workflow: str) -> int:
        """The id of a workflow's newest run that was asked for; ids only grow."""
        dispatched = self.runs(event="workflow_dispatch")
        return next((one.id for one in dispatched if one.workflow == workflow), 0)

    def _later(self, workflow: str, ref: str, before: int) -> int | None:
        """The id of a run that was asked for since, on that branch: others ask for the same workflow on theirs."""
        since = takewhile(lambda one: one.id > before, self.runs(event="workflow_dispatch"))
        return next((one.id for one in since if (one.workflow, one.head_branch) == (workflow, ref)), None)


def _api(origin: str) -> str:
    return _GITHUB_API if origin == _GITHUB else f"{origin}{_GITEA_API}"


def _check(name: str, api: str) -> None:
    """Raise ConfigError for a repository or address that no forge has."""
    if name.count("/") != 1 or not all(name.split("/")):
        raise ConfigError(f"GITHUB_REPOSITORY: {name!r} is not OWNER/NAME; set it, or `repository` in pyproject.toml")
    if urlsplit(api).scheme not in ("http", "https") or not urlsplit(api).netloc:
        raise ConfigError(f"GITHUB_API_URL: {api!r} is no address; give one like {_GITHUB_API}")
