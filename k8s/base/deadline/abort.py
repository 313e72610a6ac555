"""Abort the Rollout of this namespace when an inconclusive analysis has paused it for too long.

Runs in the cluster as a CronJob on the server's image, so it knows only the standard library. Its Role lets it get the
one Rollout and patch its status, which is what `kubectl argo rollouts abort` does.
"""

import json
import os
import ssl
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

# Set by Argo Rollouts when an analysis could not decide; a pause that is a step of the rollout has another reason.
INCONCLUSIVE = "InconclusiveAnalysisRun"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 20


def overdue(rollout: Mapping[str, Any], now: datetime, seconds: float) -> bool:
    """Whether the Rollout has been paused as inconclusive for at least this long, and is not aborted yet."""
    status = rollout.get("status") or {}
    if status.get("abort"):
        return False
    pauses = [pause for pause in status.get("pauseConditions") or [] if pause.get("reason") == INCONCLUSIVE]
    return any((now - datetime.fromisoformat(pause["startTime"])).total_seconds() >= seconds for pause in pauses)


def address(namespace: str, part: str) -> str:
    """Where the API server has the Rollout that ROLLOUT names, or a part of it."""
    return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts/{os.environ['ROLLOUT']}{part}"


def main() -> int:
    """Read, decide, act; 0 also where there is nothing to do. What the API server refuses is printed, and 1."""
    try:
        rollout = _call("GET", "")
        if not overdue(rollout, datetime.now(UTC), float(os.environ["DEADLINE_SECONDS"])):
            return _say("nothing is overdue")
        _call("PATCH", "/status", {"status": {"abort": True}})
        return _say("paused as inconclusive past its deadline, aborted")
    except (OSError, HTTPException) as error:
        _say(f"{error}; are the Role and the NetworkPolicy flightline-deadline there?")
        return 1


def _say(what: str) -> int:
    sys.stdout.write(f"rollout {os.environ['ROLLOUT']}: {what}\n")
    return 0


def _call(method: str, part: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One call to the API server, as this pod's service account. Raises OSError, HTTPException."""
    namespace, token = ((ACCOUNT / name).read_text().strip() for name in ("namespace", "token"))
    path = address(namespace, part)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
    server = _server()
    try:
        server.request(method, path, None if body is None else json.dumps(body), headers)
        answer = server.getresponse()
        if answer.status != HTTPStatus.OK:
            raise HTTPException(f"{method} {path} answered {answer.status} {answer.reason}")
        return dict(json.load(answer))
    finally:
        server.close()


def _server() -> HTTPSConnection:
    trust = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    port = int(os.environ["KUBERNETES_SERVICE_PORT"])
    return HTTPSConnection(os.environ["KUBERNETES_SERVICE_HOST"], port, timeout=TIMEOUT, context=trust)


if __name__ == "__main__":
    sys.exit(main())
