"""Every test of this folder carries the marker `chaos`; how often it kills is chosen by STREAMER_CHAOS_KILLS."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KILLS_DEFAULT = 20
CYCLE_S = 12  # what one kill and restart may take of a busy machine; an idle one needs 4 s


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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
