"""The steps of a retraining, stated once. Every engine renders this list, and the local one runs it.

Each step finds all that it needs in git and in the DVC remote, so that it can run in a pod of its own, on another node
than the last, and again after it was killed.
"""

from typing import Literal, get_args

from pydantic import Field

from pipeline.config import Frozen

StepName = Literal["decide", "advance", "reproduce", "gate", "propose"]
# What a run is called, in its environment: pods of one run have the same, and go on with each other's attempt.
HOLDER = "FLIGHTLINE_RETRAIN_RUN"
NAMES: tuple[StepName, ...] = get_args(StepName)


class Resources(Frozen):
    """What a step asks of a node, in Kubernetes' words; memory is its limit, too."""

    cpu: str
    memory: str
    disk: str = "2Gi"


class Step(Frozen):
    """One step. `retries` count evictions and outages, `seconds` end it; `spot`: it may run on nodes that go away."""

    name: StepName
    about: str
    command: tuple[str, ...]
    resources: Resources
    retries: int = Field(ge=0)
    seconds: int = Field(gt=0)
    needs: tuple[StepName, ...] = ()
    spot: bool = False


def _step(name: StepName, about: str, resources: Resources, *, retries: int, minutes: int, spot: bool = False) -> Step:
    """A step that needs the one before it."""
    at = NAMES.index(name)
    return Step(
        name=name,
        about=about,
        command=("flightline", "retrain", "--step", name),
        resources=resources,
        retries=retries,
        seconds=60 * minutes,
        needs=NAMES[max(0, at - 1) : at],
        spot=spot,
    )


_SMALL, _LARGE = Resources(cpu="250m", memory="1Gi"), Resources(cpu="1", memory="3Gi", disk="8Gi")

STEPS: tuple[Step, ...] = (
    _step("decide", "look at decay, guards and earlier attempts; claim the attempt", _LARGE, retries=3, minutes=15),
    _step("advance", "move the data window in params.yaml to the last labelled day", _SMALL, retries=3, minutes=10),
    _step("reproduce", "dvc repro --pull, then dvc push", _LARGE, retries=5, minutes=90, spot=True),
    # Not on a node that goes away: it measures answer times.
    _step("gate", "every gate; a retrained model needs a gain", _LARGE, retries=3, minutes=30),
    _step("propose", "commit on the branch, and open or update the one pull request", _SMALL, retries=3, minutes=10),
)


def step(name: StepName) -> Step:
    """The step of that name."""
    return STEPS[NAMES.index(name)]
