"""Whatever crashes, whenever: nothing is lost, nobody is texted twice, and everyone's messages go out in order.

Each seed is one history of a whole service (see `simulation`). `STREAMER_SIMULATIONS=5000` runs more of them, and
`--seed` others: history n of a run has the seed `--seed * 1_000_000 + n`.
"""

import os

import pytest

from streamer.testing.fakes import run_manually
from tests.property.simulation import Simulation

HISTORIES = int(os.environ.get("STREAMER_SIMULATIONS", "150"))


@pytest.mark.parametrize("number", range(HISTORIES))
def test_no_history_loses_doubles_or_reorders_a_message(number, seed):
    """Lost 0 and doubled 0, exactly: the promise of ARCHITECTURE."""
    simulation = Simulation(seed * 1_000_000 + number)
    assert run_manually(simulation.run(), simulation.world.clock) == []
