"""What is said of a Kafka that does not answer: the address as it was written, and nothing of Python's."""

import socket
from contextlib import closing

import pytest
from aiokafka.errors import IllegalStateError, KafkaConnectionError

from streamer.errors import BrokerUnusable
from streamer.kafka.consumer import GroupSource
from streamer.kafka.producer import BatchSink
from streamer.kafka.told import told
from streamer.kafka.topics import ensure_offsets, ensure_topics
from streamer.ports import Partition


@pytest.fixture
def nowhere():
    """The address of a port that is bound, and nobody listens there."""
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{closed.getsockname()[1]}"


class Listener:
    async def on_assigned(self, partitions): ...

    async def on_revoked(self, partitions): ...


async def join(connection):
    source = GroupSource(["t"], "g", connection, 6.0)
    try:
        await source.start(Listener())
    finally:
        await source.stop()


async def write(connection):
    sink = BatchSink(connection, is_idempotent=True)
    sink.append(Partition("t", 0), b"k", b"v")
    await sink.run()


CALLS = {
    "topics": lambda connection: ensure_topics(connection, [], []),
    "offsets": lambda connection: ensure_offsets(connection, "g", {"t": 1}, "latest", ("o", 1)),
    "consumer": join,
    "producer": write,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_broker_that_is_not_there_is_named_as_it_was_written(nowhere, call):
    with pytest.raises(BrokerUnusable) as caught:
        await call({"bootstrap_servers": nowhere})
    assert f"KafkaConnectionError: Unable to bootstrap from {nowhere}" in str(caught.value)
    assert "AddressFamily" not in str(caught.value)


HOSTS = "[('a.example', 9092, <AddressFamily.AF_UNSPEC: 0>), ('::1', 9093, <AddressFamily.AF_INET6: 10>)]"


def test_several_addresses_are_written_with_a_comma_between():
    error = KafkaConnectionError(f"Unable to bootstrap from {HOSTS}")
    assert "KafkaConnectionError: Unable to bootstrap from a.example:9092, [::1]:9093" == told(error)


def test_other_errors_keep_their_name_and_their_words():
    assert "IllegalStateError: no [list] of ('hosts', 1)" == told(IllegalStateError("no [list] of ('hosts', 1)"))
    assert told(IllegalStateError()).startswith("IllegalStateError")
