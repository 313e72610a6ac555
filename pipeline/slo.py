"""The service level objectives, read from the one place that states them: `k8s/base/slo.yaml`."""

from pathlib import Path

from pydantic import Field

from pipeline.config import Frozen, read_yaml, validated

PATH = Path("k8s/base/slo.yaml")


class Slo(Frozen):
    """What the service promises, per worker: latency, errors, throughput, memory."""

    p95_seconds: float = Field(gt=0)
    error_ratio: float = Field(ge=0, lt=1)
    throughput_per_second: float = Field(gt=0)
    memory_bytes: int = Field(gt=0)


def read_slo(root: Path) -> Slo:
    """Read the `data` of the ConfigMap; Kubernetes makes every value a string. Raises ConfigError."""
    path = root / PATH
    document = read_yaml(path)
    return validated(Slo, document.get("data") if isinstance(document, dict) else document, path)
