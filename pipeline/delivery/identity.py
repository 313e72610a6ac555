"""The identity: what a release *is*, whatever built it, when, and whichever environment it is in.

Manifests of every environment count: so a change of production's overlay alone is a new identity too, which staging
releases and a promotion then carries on.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.delivery.render import placeholders, render


def identity(tree: Path, environments: Sequence[str], registry: str, version: str, inputs: str) -> str:
    """64 hex characters: the bundle, the code image's inputs, and the manifests without what names a release."""
    manifests = {env: _sha256(render(tree, env, placeholders(registry))) for env in environments}
    document = {"bundle": version, "code": inputs, "manifests": manifests}
    return _sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
