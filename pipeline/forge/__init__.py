"""One small client for what GitHub and Gitea both speak: pull requests, comments, statuses, runs, issues."""

from pipeline.forge.client import Forge
from pipeline.forge.errors import ForgeError
from pipeline.forge.http import Client
from pipeline.forge.models import Comment, Issue, Pull, Run

__all__ = ["Client", "Comment", "Forge", "ForgeError", "Issue", "Pull", "Run"]
