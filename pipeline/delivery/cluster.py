"""A cluster's API, as little of it as delivery needs: read an environment's objects, patch its Rollout."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from pipeline.config import Settings
from pipeline.errors import UnavailableError
from pipeline.registry import LOOPBACK

Json: TypeAlias = Mapping[str, Any]

ARGO = "argoproj.io/v1alpha1"
ARGO_NAMESPACE = "argocd"
SERVER = "app.kubernetes.io/component=server"
_TIMEOUT = (3.0, 10.0)
_OK, _NOT_FOUND, _CONFLICT = range(200, 300), 404, 409


class ClusterError(UnavailableError):
    """A cluster that cannot be asked, or that refuses. Names the context and the fix."""


class ConflictError(Exception):
    """The object was changed since it was read."""


@dataclass(frozen=True)
class Names:
    """What one environment's objects are called."""

    namespace: str
    application: str
    rollout: str

    @classmethod
    def of(cls, settings: Settings, environment: str) -> "Names":
        """The names that `k8s/` and `argocd/` give them."""
        return cls(f"{settings.name}-{environment}", f"{settings.name}-{environment}", settings.name)


@dataclass(frozen=True)
class Objects:
    """What the cluster holds of one environment; None or nothing where it is not there. `warnings` are Events."""

    application: Json | None = None
    rollout: Json | None = None
    replicasets: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    analyses: tuple[Json, ...] = ()
    warnings: tuple[Json, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """One cluster; `client` is a kubernetes.client.ApiClient. Every method raises ClusterError."""

    client: Any
    context: str

    def environment(self, names: Names) -> Objects:
        """Everything that `status` looks at."""
        space = f"namespaces/{names.namespace}"
        argo = f"/apis/{ARGO}/namespaces/{ARGO_NAMESPACE}/applications/{names.application}"
        return Objects(
            application=self.get(argo),
            rollout=self.rollout(names),
            replicasets=self.items(f"/apis/apps/v1/{space}/replicasets", SERVER),
            pods=self.items(f"/api/v1/{space}/pods", SERVER),
            analyses=self.items(f"/apis/{ARGO}/{space}/analysisruns"),
            warnings=self.items(f"/api/v1/{space}/events", fields="type=Warning"),
        )

    def rollout(self, names: Names) -> Json | None:
        """The environment's Rollout."""
        return self.get(_rollout(names))

    def pod(self, namespace: str, name: str) -> Json | None:
        """A pod by name."""
        return self.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def get(self, path: str) -> Json | None:
        """An object, None where it, or its kind, is not there."""
        return self._ask("GET", path, absent_is_none=True)

    def items(self, path: str, labels: str = "", fields: str = "") -> tuple[Json, ...]:
        """The objects of a collection that selectors of labels and fields pick."""
        query = [(name, value) for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value]
        return tuple((self._ask("GET", path, query=query, absent_is_none=True) or {}).get("items", ()))

    def patch_rollout(self, names: Names, patch: Json, *, status: bool = False) -> Json:
        """Merge a patch into the Rollout or its status. Raises ConflictError where it names an older version."""
        path = _rollout(names) + ("/status" if status else "")
        return self._ask("PATCH", path, body=patch) or {}

    def create(self, path: str, body: Json) -> Json:
        """Make an object in a collection. Raises ConflictError where one of its name is there."""
        return self._ask("POST", path, body=body) or {}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Json | None = None,
        absent_is_none: bool = False,
    ) -> Json | None:
        from urllib3.exceptions import HTTPError

        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = self.client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = self.client.call_api(*request, _request_timeout=_TIMEOUT)
            content = answer.read()
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        if answer.status in _OK:
            return _parsed(content)
        if answer.status == _NOT_FOUND and absent_is_none:
            return None
        raise self._refused(answer.status, f"{method} {path}", content)

    def _refused(self, status: int, what: str, content: bytes) -> Exception:
        said = str(_parsed(content).get("message") or content[:200].decode(errors="replace"))
        if status == _CONFLICT:
            return ConflictError(said)
        hint = {401: "; log in to the cluster again", 403: "; ask for the right to do this"}.get(status, "")
        return ClusterError(f"{self._name}: {what} answered {status}: {said}{hint}")

    def _unreachable(self, error: Exception) -> ClusterError:
        why = type(getattr(error, "reason", None) or error).__name__
        fix = "start it (the local one: `make cluster-up`), or choose another with --context or KUBECONFIG"
        return ClusterError(f"{self._name} does not answer ({why}); {fix}")

    @property
    def _name(self) -> str:
        return f"cluster of context {self.context!r} at {self.client.configuration.host}"


def connect(context: str = "") -> Cluster:
    """The cluster of a kubeconfig's context, "" for its current one; nothing is asked yet. Raises ClusterError."""
    from kubernetes import client
    from kubernetes import config as untyped

    config: Any = untyped
    fix = "set KUBECONFIG to a kubeconfig, or make one (the local cluster: `make cluster-up`)"
    chosen = client.Configuration()
    try:
        known, current = config.list_kube_config_contexts()
        names = [one["name"] for one in known]
        if context and context not in names:
            raise ClusterError(f"no context {context!r}; the kubeconfig has {', '.join(names)}")
        config.load_kube_config(context=context or None, client_configuration=chosen, persist_config=False)
    except (config.ConfigException, OSError, KeyError, TypeError, ValueError) as error:
        raise ClusterError(f"no cluster to ask: {_first_line(error)}; {fix}") from error
    chosen.retries = 1
    if LOOPBACK.fullmatch(urlsplit(chosen.host).netloc):
        chosen.proxy = None  # a proxy is never asked for this machine
    return Cluster(client.ApiClient(chosen), context or current["name"])


def _rollout(names: Names) -> str:
    return f"/apis/{ARGO}/namespaces/{names.namespace}/rollouts/{names.rollout}"


def _parsed(content: bytes) -> Json:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
