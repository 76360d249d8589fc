"""Every test of this folder carries the marker `chaos`; `make chaos` chooses the long forms.

STREAMER_CHAOS_KILLS: how often the service is killed under load. STREAMER_CHAOS_SENDS: how many go through the storm.
STREAMER_CHAOS_HOLDS: how many seeds of kills at random moments while policies hold and release; none without it.
STREAMER_CHAOS_SPEED: how much shorter the waits for an unknown send's truth are than a service's.
"""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KILLS_DEFAULT = 20
CYCLE_S = 12  # what one kill and restart may take of a busy machine; an idle one needs 4 s


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not int(os.environ.get("STREAMER_CHAOS_HOLDS", "0")):  # the kills at each write are the short form
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    for item in items:  # pytest hands every item of the run to every conftest
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(240 + kills_wanted() * CYCLE_S))


def kills_wanted() -> int:
    return int(os.environ.get("STREAMER_CHAOS_KILLS", KILLS_DEFAULT))


@pytest.fixture
def kills() -> int:
    """How many times the service is killed."""
    return kills_wanted()
