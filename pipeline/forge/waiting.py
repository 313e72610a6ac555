"""Runs of other workflows, which somebody waits for."""

import time

from pipeline.forge.client import Forge
from pipeline.forge.models import Run

# Seconds: how long a run is waited for at most, and how often it is asked for.
LONGEST, EVERY = 3600.0, 10.0


def newest(forge: Forge, workflow: str, commit: str) -> Run | None:
    """The newest run of a workflow's file at a commit."""
    return next((one for one in forge.runs(head_sha=commit) if one.workflow == workflow), None)


def ended(forge: Forge, run: Run) -> Run:
    """The run at its end, or as it is when it has been waited for long enough. Raises ForgeError."""
    end = time.monotonic() + LONGEST
    while run.status != "completed" and time.monotonic() < end:
        time.sleep(EVERY)
        run = forge.run(run.id)
    return run
