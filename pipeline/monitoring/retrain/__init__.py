"""Retraining: when production's model decays, try a newer window of data, and propose it where that is a gain.

`guards` decides, `attempts` remembers, `run` carries the steps out, `manifests` renders them for a cluster.
"""
