"""The pinned kustomize on a folder."""

import subprocess
from pathlib import Path

from pipeline.errors import UnavailableError


class KustomizeError(ValueError):
    """A folder that does not render; the message is what kustomize printed, as it is."""


def build(binary: Path, folder: Path) -> bytes:
    """What a folder renders to. Raises KustomizeError, and UnavailableError where `binary` cannot be run."""
    try:
        done = subprocess.run([str(binary), "build", str(folder)], capture_output=True, check=False)
    except OSError as error:
        raise UnavailableError(f"kustomize cannot be run: {error}; remove {binary.parent} and run again") from error
    if done.returncode:
        raise KustomizeError(done.stderr.decode(errors="replace") or f"kustomize ended with {done.returncode}")
    return done.stdout
