"""What the project promises, held against what a story measured."""

import pytest

from infra.local.timeline import Timeline

# A machine that is shared may be slow for a while; beyond this it is the code that became slow.
SHARED = 2.0


def held_to_their_limits(timeline: Timeline, config: pytest.Config) -> None:
    """Fail where a figure's median is beyond its limit; without the nightly tests, beyond twice its limit."""
    times = SHARED if "not nightly" in config.getoption("markexpr") else 1.0
    for name, value in timeline.missed().items():
        timeline.say(f"   beyond its limit: {name}, {value:.3g}")
    assert not timeline.missed(times), timeline.missed(times)
