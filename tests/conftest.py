"""What every test may ask for: one Kafka and one Tansu per run, a prefix for names, the seed; and hypothesis' profiles.

The brokers belong to the process that lives longest: pytest itself or, under xdist, the controller. Workers ask it over
a socket, so a run has one broker of each kind however many workers it has, a run that needs none starts none, and they
end with the run however a worker ends.
"""

import contextlib
import os
import secrets
import tempfile
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import hypothesis
import pytest

from streamer.errors import BrokerUnusable
from streamer.testing.brokers import Broker, start_kafka, start_tansu

STARTS = {"kafka": start_kafka, "tansu": start_tansu}
SEED_DEFAULT = 1

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


class BrokerDesk:
    """Starts each kind of broker when it is first asked for, and tells everyone who asks its address, or its fault."""

    def __init__(self) -> None:
        self._listener = Listener(family="AF_UNIX")  # in a folder that only this user can read
        self.address = str(self._listener.address)
        self._folder = tempfile.TemporaryDirectory(prefix="streamer-tests-")
        self._brokers: dict[str, Broker] = {}
        self._faults: dict[str, str] = {}
        threading.Thread(target=self._serve, name="brokers", daemon=True).start()

    def _serve(self) -> None:
        """Answer until the process ends: on Linux the brokers die with the thread that started them."""
        while True:
            with contextlib.suppress(OSError, EOFError), self._listener.accept() as asking:
                self._answer(asking)

    def _answer(self, asking: Connection) -> None:
        kind = asking.recv()
        if kind not in self._brokers and kind not in self._faults:
            try:
                self._brokers[kind] = STARTS[kind](Path(self._folder.name) / kind)
            except BrokerUnusable as exc:
                self._faults[kind] = str(exc)
        broker = self._brokers.get(kind)
        asking.send((broker.bootstrap, broker.kind, "") if broker else ("", "", self._faults[kind]))

    def close(self) -> None:
        for broker in self._brokers.values():
            broker.stop()
        self._folder.cleanup()


DESK = pytest.StashKey[BrokerDesk]()


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=SEED_DEFAULT, help=f"of tests that draw; default {SEED_DEFAULT}")


def pytest_configure(config: pytest.Config) -> None:
    if not is_worker(config):
        config.stash[DESK] = BrokerDesk()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """xdist's, in the controller, before it starts a worker."""
    node.workerinput["broker_desk"] = node.config.stash[DESK].address


def pytest_unconfigure(config: pytest.Config) -> None:
    desk = config.stash.get(DESK, None)
    if desk is not None:
        desk.close()


def pytest_report_header(config: pytest.Config) -> str:
    return f"streamer: --seed {config.getoption('seed')}"


def asked_for(kind: str, config: pytest.Config) -> Broker:
    address = config.workerinput["broker_desk"] if is_worker(config) else config.stash[DESK].address
    with Client(address, family="AF_UNIX") as desk:
        desk.send(kind)
        bootstrap, found, fault = desk.recv()
    if fault:
        pytest.fail(fault, pytrace=False)
    return Broker(bootstrap, found)


@pytest.fixture(scope="session")
def kafka(pytestconfig) -> Broker:
    """A real Apache Kafka, shared by the whole run: take names from `topic_prefix`. Without one the test fails."""
    return asked_for("kafka", pytestconfig)


@pytest.fixture(scope="session")
def tansu(pytestconfig) -> Broker:
    """The embedded broker of the demo, shared alike."""
    return asked_for("tansu", pytestconfig)


@pytest.fixture
def topic_prefix() -> str:
    """Before each topic and group of a test, so that none meets another's, be it of an earlier run."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
def seed(pytestconfig) -> int:
    """For every generator that a test makes: `random.Random(seed)`. Printed in the header, given by `--seed`."""
    return pytestconfig.getoption("seed")
