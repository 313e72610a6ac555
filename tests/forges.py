"""A forge in memory behind a real HTTP server: the subset that both speak, and whatever goes wrong on the way."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipeline.forge import Client, Forge

REPOSITORY = "acme/model"
ROOT = f"/repos/{REPOSITORY}"


@dataclass(frozen=True)
class Fault:
    """One bad answer to the next request (of `method`, where given).

    `carried_out`: the request was done before it; `seconds`: nothing is said for so long.
    """

    status: int = 500
    method: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"message": "played"}'
    carried_out: bool = False
    seconds: float = 0.0


@dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: Mapping[str, str]


@dataclass
class Played:
    """What the forge holds. `faults` are answered in turn before anything good; `page` is the largest page.

    `installation`: the token is one of a GitHub App, which may not ask who it is. `denied`: how the paths end that the
    token has no right to.
    """

    login: str = "robot"
    page: int = 50
    pulls: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    timelines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    logs: dict[int, str] = field(default_factory=dict)
    dispatched: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    installation: bool = False
    denied: str = ""

    def add_pull(self, branch: str, *, sha: str = "", repository: str = REPOSITORY, **given: Any) -> dict[str, Any]:
        """A pull request that is there."""
        number = len(self.pulls) + len(self.issues) + 1
        made = {
            "number": number,
            "title": "title",
            "body": "",
            "state": "open",
            "merged_at": None,
            "head": {"ref": branch, "label": branch, "sha": sha or f"{number:040x}", "repo": {"full_name": repository}},
            "base": {"ref": "main", "sha": "b" * 40},
            "html_url": f"http://forge/{REPOSITORY}/pulls/{number}",
            "user": {"login": self.login},
            **given,
        }
        self.pulls.insert(0, made)
        return made

    def add_issue(self, title: str, body: str, author: str = "") -> dict[str, Any]:
        """An issue that is there."""
        number = len(self.pulls) + len(self.issues) + 1
        url = f"http://forge/{REPOSITORY}/issues/{number}"
        made = {"number": number, "title": title, "body": body, "state": "open", "html_url": url}
        self.issues.insert(0, {**made, "user": {"login": author or self.login}})
        return self.issues[0]

    def add_comment(self, number: int, body: str, author: str = "") -> dict[str, Any]:
        """A comment that is there."""
        count = sum(map(len, self.comments.values())) + 1
        made = {"id": count, "body": body, "html_url": f"http://forge/c/{count}", "user": {"login": author}}
        made["user"] = {"login": author or self.login}
        self.comments.setdefault(number, []).append(made)
        return made

    def add_run(self, workflow: str, **given: Any) -> dict[str, Any]:
        """A run that is there; `workflow` is what the forge says in `path`."""
        made = {
            "id": len(self.runs) + 1,
            "path": workflow,
            "event": "push",
            "head_sha": "a" * 40,
            "head_branch": "main",
            "status": "completed",
            "conclusion": "success",
            "html_url": f"http://forge/r/{len(self.runs) + 1}",
            **given,
        }
        self.runs.insert(0, made)
        return made

    def add_job(self, run: int, name: str, conclusion: str, log: str) -> None:
        """A job of a run, and what it printed."""
        number = len(self.logs) + 1
        status = "completed" if conclusion else "in_progress"
        ended = {"conclusion": conclusion} if conclusion else {}  # Gitea leaves it out until there is one
        self.jobs.setdefault(run, []).append({"id": number, "name": name, "status": status, **ended})
        self.logs[number] = log

    def said(self, method: str, path: str = "") -> list[Asked]:
        """The requests of a method whose path ends so."""
        return [one for one in self.asked if one.method == method and one.path.endswith(path)]

    def fault(self, method: str) -> Fault | None:
        """What goes wrong with this request."""
        found = next((one for one in self.faults if one.method in ("", method)), None)
        if found is not None:
            self.faults.remove(found)
        return found

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Carry a request out."""
        if self.denied and asked.path.endswith(self.denied):
            return 403, {"message": "Resource not accessible by personal access token"}
        for method, pattern, does in _ROUTES:
            if method == asked.method and (found := re.fullmatch(pattern, asked.path)):
                return does(self, asked, *found.groups())
        return 404, {"message": "Not Found"}


def _user(played: Played, asked: Asked) -> tuple[int, Any]:
    if played.installation:
        return 403, {"message": "Resource not accessible by integration"}
    return 200, {"login": played.login}


def _viewer(played: Played, asked: Asked) -> tuple[int, Any]:
    return 200, {"data": {"viewer": {"login": played.login}}}


def _pulls(played: Played, asked: Asked) -> tuple[int, Any]:
    state = asked.query.get("state", "open")
    return 200, [one for one in played.pulls if state in ("all", one["state"])]


def _new_pull(played: Played, asked: Asked) -> tuple[int, Any]:
    head, base = asked.body["head"], asked.body["base"]
    if any((one["head"]["ref"], one["base"]["ref"], one["state"]) == (head, base, "open") for one in played.pulls):
        return 409, {"message": "pull request already exists for these targets"}
    return 201, played.add_pull(head, title=asked.body["title"], body=asked.body["body"])


def _pull(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return _changed([one for one in played.pulls if one["number"] == int(number)], asked)


def _issues(played: Played, asked: Asked) -> tuple[int, Any]:
    opened = [one for one in played.issues if one["state"] == "open"]
    return 200, opened + [{**one, "pull_request": {}} for one in played.pulls if one["state"] == "open"]


def _new_issue(played: Played, asked: Asked) -> tuple[int, Any]:
    return 201, played.add_issue(asked.body["title"], asked.body["body"])


def _issue(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return _changed([one for one in played.issues if one["number"] == int(number)], asked)


def _comments(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return 200, played.comments.get(int(number), [])


def _timeline(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return 200, played.timelines.get(int(number), [])


def _new_comment(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return 201, played.add_comment(int(number), asked.body["body"])


def _comment(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return _changed([one for each in played.comments.values() for one in each if one["id"] == int(number)], asked)


def _status(played: Played, asked: Asked, sha: str) -> tuple[int, Any]:
    played.statuses.append({"sha": sha, **asked.body})
    return 201, asked.body


def _dispatch(played: Played, asked: Asked, workflow: str) -> tuple[int, Any]:
    played.dispatched.append({"workflow": workflow, **asked.body})
    ref = asked.body["ref"]
    told = {"event": "workflow_dispatch", "head_branch": ref, "status": "queued", "conclusion": ""}
    played.add_run(f"{workflow}@refs/heads/{ref}", **told)
    return 204, None


def _runs(played: Played, asked: Asked) -> tuple[int, Any]:
    names = [name for name in ("event", "head_sha") if name in asked.query]
    return 200, {"workflow_runs": [one for one in played.runs if all(one[name] == asked.query[name] for name in names)]}


def _run(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return _changed([one for one in played.runs if one["id"] == int(number)], asked)


def _jobs(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return 200, {"jobs": played.jobs.get(int(number), [])}


def _log(played: Played, asked: Asked, number: str) -> tuple[int, Any]:
    return (200, played.logs[int(number)]) if int(number) in played.logs else (404, {"message": "Not Found"})


def _changed(found: list[dict[str, Any]], asked: Asked) -> tuple[int, Any]:
    if not found:
        return 404, {"message": "Not Found"}
    if asked.method == "PATCH":
        found[0].update(asked.body)
    return 200, found[0]


_ROUTES: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
    ("GET", "/user", _user),
    ("POST", "/api/graphql", _viewer),
    ("GET", f"{ROOT}/pulls", _pulls),
    ("POST", f"{ROOT}/pulls", _new_pull),
    ("GET", rf"{ROOT}/pulls/(\d+)", _pull),
    ("PATCH", rf"{ROOT}/pulls/(\d+)", _pull),
    ("GET", f"{ROOT}/issues", _issues),
    ("POST", f"{ROOT}/issues", _new_issue),
    ("PATCH", rf"{ROOT}/issues/(\d+)", _issue),
    ("GET", rf"{ROOT}/issues/(\d+)/comments", _comments),
    ("POST", rf"{ROOT}/issues/(\d+)/comments", _new_comment),
    ("PATCH", rf"{ROOT}/issues/comments/(\d+)", _comment),
    ("GET", rf"{ROOT}/issues/(\d+)/timeline", _timeline),
    ("POST", rf"{ROOT}/statuses/(\w+)", _status),
    ("POST", rf"{ROOT}/actions/workflows/([^/]+)/dispatches", _dispatch),
    ("GET", f"{ROOT}/actions/runs", _runs),
    ("GET", rf"{ROOT}/actions/runs/(\d+)", _run),
    ("GET", rf"{ROOT}/actions/runs/(\d+)/jobs", _jobs),
    ("GET", rf"{ROOT}/actions/jobs/(\d+)/logs", _log),
]


class _Server(ThreadingHTTPServer):
    """`played` is behind `prefix`."""

    daemon_threads = True
    played: Played
    prefix: str


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self) -> None:
        """Any method."""
        asked, played = self._asked(), self.server.played
        played.asked.append(asked)
        fault = played.fault(asked.method)
        if fault is None:
            self._say(*self._paged(asked, *played.answer(asked)))
            return
        if fault.carried_out:
            played.answer(asked)
        time.sleep(fault.seconds)
        self._say(fault.status, json.loads(fault.body), fault.headers)

    do_GET = do_POST = do_PATCH = answer  # noqa: N815 - their names upstream

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _asked(self) -> Asked:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = address.path.removeprefix(self.server.prefix)
        return Asked(self.command, path, query, json.loads(sent) if sent else None, dict(self.headers))

    def _paged(self, asked: Asked, status: int, document: Any) -> tuple[int, Any, dict[str, str]]:
        key = "workflow_runs" if asked.path.endswith("/runs") else None
        entries = document[key] if key and status == 200 else document
        gitea = self.server.prefix.endswith("/api/v1")
        if not isinstance(entries, list) or (gitea and asked.path.endswith("/comments")):  # which has no pages there
            return status, document, {}
        size = min(self.server.played.page, int(asked.query.get("limit", 30)))
        start = size * (int(asked.query.get("page", 1)) - 1)
        part = entries[start : start + size]
        if gitea and asked.path.endswith("/timeline"):
            return status, [one for one in part if one.get("type") != "code"] or None, {}
        link = {"Link": f'<{self.path}&next>; rel="next"'} if start + size < len(entries) else {}
        return status, ({key: part} if key else part), link

    def _say(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        text = isinstance(document, str)
        said = b"" if document is None else (document if text else json.dumps(document)).encode()
        kind = "text/plain" if text else "application/json"
        with suppress(OSError):  # who asked may not have waited for it
            self.send_response(status)
            for name, value in {"Content-Type": kind, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)


@contextmanager
def serving(prefix: str = "/api/v1") -> Iterator[tuple[str, Played]]:
    """The address of the API and what is behind it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.played, server.prefix = Played(), prefix
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}", server.played
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def played(prefix: str = "/api/v1") -> Iterator[tuple[Forge, Played, list[float]]]:
    """A client, the forge behind it, and the seconds that the client would have slept; it sleeps none."""
    slept: list[float] = []
    with serving(prefix) as (address, forge):
        client = Client(address, "secret", lambda _: None, timeout=(2.0, 0.3), sleep=slept.append, now=lambda: 1000.0)
        yield Forge(client, REPOSITORY), forge, slept
