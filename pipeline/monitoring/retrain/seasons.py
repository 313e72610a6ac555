"""Why no newer window helped, from what was observed: for whoever reads that nothing was proposed."""

from pipeline.monitoring.observation import Observation


def unlearnt(observation: Observation, max_psi: float) -> str:
    """A clause: does the change look seasonal? A column has moved where its PSI is above `max_psi`."""
    moved = {
        kind: [one.name for one in observation.drift.readings if one.reason == kind and (one.value or 0) > max_psi]
        for kind in ("stable", "seasonal")
    }
    if moved["stable"]:
        return f"{', '.join(moved['stable'])} moved, which no season moves: look at the feed, or for a new cause"
    if moved["seasonal"]:
        names = ", ".join(moved["seasonal"])
        return f"the change looks seasonal (only {names} moved far), and is not learnable from this history"
    return "no column moved far: what changed is not in the data, and not learnable from this history"
