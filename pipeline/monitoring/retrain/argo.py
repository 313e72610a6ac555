"""The one place that knows the `argo-workflows` SDK, which nobody develops any more: submit a Workflow, and no more.

It is imported only where the engine is `workflow`. Argo's own API server is spoken to, not Kubernetes'.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pipeline.config import ConfigError, Settings
from pipeline.errors import UnavailableError

SERVER, SECURE, TOKEN = "ARGO_SERVER", "ARGO_SECURE", "ARGO_TOKEN"

_CONFLICT, _DENIED = 409, (401, 403)
_TIMEOUT = 20.0


@dataclass(frozen=True)
class Server:
    """Argo's API server: its address, and the token that it takes ("" for none)."""

    address: str
    token: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> "Server":
        """As ARGO_SERVER, ARGO_SECURE and ARGO_TOKEN say, which Argo's own command reads too. Raises ConfigError."""
        place = environ.get(SERVER, "")
        if not place or "/" in place:
            raise ConfigError(f"{SERVER} is {place!r}; give host and port of Argo's server, as argo.example.com:443")
        scheme = "http" if environ.get(SECURE) == "false" else "https"
        return cls(f"{scheme}://{place}", environ.get(TOKEN, "").removeprefix("Bearer "))


def submit(server: Server, settings: Settings, as_of: date, force: str) -> str:
    """Start a Workflow of the WorkflowTemplate, unless that day's was started; a sentence. Raises UnavailableError."""
    from pipeline.monitoring.retrain import manifests

    space, name = manifests.name_of(settings), manifests.name_for(settings, as_of, force)
    started = _create(server, space, name, {"as-of": as_of.isoformat(), "force": force})
    return f"workflow {name} {'is started' if started else 'was started already'}; `argo watch {name}` shows it"


def _create(server: Server, space: str, name: str, parameters: Mapping[str, str]) -> bool:
    """Whether it was made; False where one of that name is there."""
    try:
        import argo_workflows
        from argo_workflows.api.workflow_service_api import WorkflowServiceApi
        from argo_workflows.exceptions import ApiException
    except ImportError as error:
        raise UnavailableError(
            "the package argo-workflows is not installed; `make .venv/.monitor` does that"
        ) from error
    import urllib3

    configuration = argo_workflows.Configuration(host=server.address)
    if server.token:
        configuration.api_key = {"BearerToken": f"Bearer {server.token}"}
    with argo_workflows.ApiClient(configuration) as client:
        try:
            WorkflowServiceApi(client).create_workflow(
                space, _request(name, space, parameters), _check_return_type=False, _request_timeout=_TIMEOUT
            )
        except ApiException as error:
            if error.status == _CONFLICT:
                return False
            raise UnavailableError(_refused(server, error.status, str(error.reason))) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(
                f"{server.address} does not answer ({type(error).__name__}); set {SERVER}"
            ) from error
    return True


def _request(name: str, space: str, parameters: Mapping[str, str]) -> object:
    from argo_workflows.model.io_argoproj_workflow_v1alpha1_arguments import IoArgoprojWorkflowV1alpha1Arguments
    from argo_workflows.model.io_argoproj_workflow_v1alpha1_parameter import IoArgoprojWorkflowV1alpha1Parameter
    from argo_workflows.model.io_argoproj_workflow_v1alpha1_workflow import IoArgoprojWorkflowV1alpha1Workflow
    from argo_workflows.model.io_argoproj_workflow_v1alpha1_workflow_create_request import (
        IoArgoprojWorkflowV1alpha1WorkflowCreateRequest,
    )
    from argo_workflows.model.io_argoproj_workflow_v1alpha1_workflow_spec import IoArgoprojWorkflowV1alpha1WorkflowSpec
    from argo_workflows.model.io_argoproj_workflow_v1alpha1_workflow_template_ref import (
        IoArgoprojWorkflowV1alpha1WorkflowTemplateRef,
    )
    from argo_workflows.model.object_meta import ObjectMeta

    given = [IoArgoprojWorkflowV1alpha1Parameter(name=one, value=value) for one, value in parameters.items()]
    spec = IoArgoprojWorkflowV1alpha1WorkflowSpec(
        workflow_template_ref=IoArgoprojWorkflowV1alpha1WorkflowTemplateRef(name=space),
        arguments=IoArgoprojWorkflowV1alpha1Arguments(parameters=given),
    )
    workflow = IoArgoprojWorkflowV1alpha1Workflow(metadata=ObjectMeta(name=name, namespace=space), spec=spec)
    return IoArgoprojWorkflowV1alpha1WorkflowCreateRequest(workflow=workflow)


def _refused(server: Server, status: int, reason: str) -> str:
    hint = f"; set {TOKEN}" if status in _DENIED else ""
    return f"{server.address} answered {status} {reason}{hint}"
