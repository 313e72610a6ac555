"""`make bench`: the figures Flightline promises, measured against peers in the same run."""
