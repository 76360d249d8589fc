"""What a run says of itself: never a phone number, a body, a trait or an id of a person."""

import random

import structlog
from prometheus_client import generate_latest

from streamer.testing.fakes import run_manually
from tests.property.simulation import Simulation

HISTORIES = 12


def test_no_log_and_no_metric_of_a_run_names_a_person():
    """Logs and metrics go where profiles must not. The runs meet junk, refusals, crashes, drains and restores."""
    with structlog.testing.capture_logs() as logs:
        for seed in range(HISTORIES):
            simulation = Simulation(seed)
            run_manually(simulation.run(), simulation.world.clock)
    said = repr(logs) + generate_latest().decode()
    assert {"owner.restored", "router.assigned"} <= {each["event"] for each in logs}
    for secret in ("+1555", "1555123", "555) 123", "not a phone", "gold", "u:u", "anonymous", "'u1'", "three-a 1"):
        assert secret not in said


def test_a_log_line_is_an_event_with_constant_words():
    """`noun.verb`, keys not prose: else no query finds it."""
    simulation = Simulation(random.Random(1).randrange(100))
    with structlog.testing.capture_logs() as logs:
        run_manually(simulation.run(), simulation.world.clock)
    for line in logs:
        noun, _, verb = line["event"].partition(".")
        assert noun.isidentifier()
        assert verb.isidentifier()
        assert line["module"].startswith("streamer.")
