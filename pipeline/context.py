"""What every verb needs: where the repository is, what params.yaml says, and the model they select."""

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.config import ConfigError, Params, Settings, faults, read_params, read_settings
from pipeline.errors import GitError

if TYPE_CHECKING:
    from model.contract import Model


@dataclass(frozen=True)
class Context:
    """A repository to work in. Everything else is read from it when first asked for, once."""

    root: Path

    @cached_property
    def params(self) -> Params:
        """params.yaml."""
        return read_params(self.root)

    @cached_property
    def settings(self) -> Settings:
        """`[tool.flightline]` of pyproject.toml."""
        return read_settings(self.root)

    @cached_property
    def model(self) -> "Model":
        """The model that params.yaml describes. Raises ConfigError."""
        import model  # what learns takes seconds to import, and most verbs do without

        try:
            return model.load(self.params.of_model())
        except ValidationError as error:
            raise ConfigError(f"{self.root / 'params.yaml'}: {faults(error)}") from error

    def git(self, *arguments: str) -> str:
        """Output of a git command in the repository. Raises GitError where git fails, whatever the reason."""
        return self.git_bytes(*arguments).decode().strip()

    def git_bytes(self, *arguments: str) -> bytes:
        """Raw output of a git command in the repository. Raises GitError."""
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise GitError(f"`git {arguments[0]}` failed: {said[0]}")
        return done.stdout
