"""What a forge refused or could not do, with the permission that is missing in the words of both forges."""

import re

from pipeline.errors import UnavailableError

_REFUSED, _ABSENT = (401, 403), 404
# Part of a path, GitHub's permissions (any of them will do), Gitea's scope. The first that fits counts.
_SCOPES = (
    (r"^/user$|/graphql$", "", "user"),
    (r"/pulls", "pull-requests", "repository"),
    (r"/issues/(comments/)?\d+(/comments)?$", "pull-requests issues", "issue"),
    (r"/issues", "issues", "issue"),
    (r"/statuses", "statuses", "repository"),
    (r"/actions/", "actions", "repository"),
    (r"", "contents", "repository"),
)


class ForgeError(UnavailableError):
    """The forge cannot be reached, or refused. `status` is what it answered, None where there was no answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def refused(method: str, path: str, status: int, said: str) -> ForgeError:
    """The error for an answer: request, status, what the forge said, and the permission where that may be missing."""
    hint = ""
    if status in _REFUSED:
        hint = f"; the token needs {scope(method, path)}"
    if status == _ABSENT:
        hint = f"; correct it, or, where it is there, give the token {scope(method, path)}, for a forge hides the rest"
    return ForgeError(f"the forge answered {status} to {method} {path}: {said or 'nothing more'}{hint}", status=status)


def scope(method: str, path: str) -> str:
    """The permission for a request, as GitHub and as Gitea call it."""
    access = "read" if method == "GET" else "write"
    github, gitea = next((github, gitea) for part, github, gitea in _SCOPES if re.search(part, path))
    needed = " or ".join(f'"{one}: {access}"' for one in github.split()) or "to be valid"
    return f'{needed} on GitHub, "{access}:{gitea}" on Gitea'
