"""Faults of a retraining."""


class AttemptError(ValueError):
    """The attempt itself failed: a stage, a gate that cannot run, a branch that takes nothing. It counts as a failure.

    What is merely away (a remote, a forge) is an UnavailableError, and does not count.
    """


class LostError(Exception):
    """Another run has taken the attempt over, or ended it."""
