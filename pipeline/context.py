"""What every verb needs: where the repository is, what params.yaml says, and the model they select."""

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

import model
from model.contract import Model
from pipeline.config import ConfigError, Params, Settings, read_params, read_settings


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
    def model(self) -> Model:
        """The model that params.yaml describes. Raises ConfigError."""
        try:
            return model.load(self.params.of_model())
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"{self.root / 'params.yaml'}: {faults}") from error

    def git(self, *arguments: str) -> str | None:
        """Output of a git command in the repository, or None where it fails."""
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def git_bytes(self, *arguments: str) -> bytes:
        """Raw output of a git command that must succeed. Raises CalledProcessError."""
        return subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, check=True).stdout
