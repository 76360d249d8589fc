"""What the service uses of a broker, held against both that it is tested on; and that a broker ends with its owner.

Where Tansu 0.6 differs a test of `TestTansu` says so. Measured and not tested: a group's first assignment takes half
the session timeout (Kafka: 0.05 s), one after an orderly restart 1.8 times the timeout, hence the short sessions here;
asked for all offsets of a group it breaks the connection; topic configurations are taken and described as empty;
partitions can't be added.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from streamer.errors import BrokerUnusable
from streamer.kafka.groups import GroupReader
from streamer.ports import Committed, Partition
from streamer.testing.brokers import Broker
from streamer.testing.topics import create_topics, put, show

RECORDS = 200
PARTITIONS = 4
HEADERS = [("origin", b"u:1"), ("hop", b"\x00\x01")]  # aiokafka's batches take lists only
GROUP_TIMES = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 500, "rebalance_timeout_ms": 1500}
ANSWER_S = 20.0
UNKNOWN_TOPIC = 3  # Kafka's error code


@asynccontextmanager
async def producing(broker: Broker, **options) -> AsyncIterator[AIOKafkaProducer]:
    idempotent = {"enable_idempotence": broker.is_idempotent, "acks": "all"}
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, **idempotent, **options)
    async with asyncio.timeout(ANSWER_S):
        await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(broker: Broker, *topics: str, **options) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=broker.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest", **options
    )
    async with asyncio.timeout(ANSWER_S):
        await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(consumer: AIOKafkaConsumer, count: int) -> list[ConsumerRecord]:
    """The next `count` records, and no more."""
    records: list[ConsumerRecord] = []
    async with asyncio.timeout(ANSWER_S):
        while len(records) < count:
            fetched = await consumer.getmany(timeout_ms=200, max_records=count - len(records))
            records += [record for batch in fetched.values() for record in batch]
    return records


async def described(admin: AIOKafkaAdminClient, topic: str) -> dict[str, Any]:
    """What the broker says of a topic just created: Kafka answers the creation before its metadata know the topic."""
    async with asyncio.timeout(ANSWER_S):
        while True:
            [found] = await admin.describe_topics([topic])
            if found["error_code"] != UNKNOWN_TOPIC:
                return found


def values(records: Sequence[ConsumerRecord]) -> list[bytes]:
    return [record.value for record in records]


class BrokerContract:
    """One broker, a fixture `broker` of who inherits this; and a topic of `PARTITIONS` partitions, this test's own."""

    @pytest.fixture
    async def admin(self, broker):
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        yield admin
        await admin.close()

    @pytest.fixture
    async def topic(self, admin, topic_prefix):
        name = f"{topic_prefix}events"
        await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        await described(admin, name)
        return name

    async def test_what_is_acked_is_read_in_order_with_key_headers_and_offsets(self, broker, topic):
        async with producing(broker, linger_ms=5, compression_type="lz4") as producer:
            acks = [
                await producer.send(topic, b"%d" % n, key=b"u:1", partition=2, headers=HEADERS) for n in range(RECORDS)
            ]
            offsets = [(await ack).offset for ack in acks]
        async with consuming(broker, topic) as consumer:
            records = await read(consumer, RECORDS)
        assert list(range(RECORDS)) == offsets
        assert [b"%d" % n for n in range(RECORDS)] == values(records)
        assert {(2, b"u:1", tuple(HEADERS))} == {(record.partition, record.key, record.headers) for record in records}

    async def test_a_batch_keeps_its_records_order_headers_and_times(self, broker, topic):
        """Router and owner write nothing but whole batches."""
        async with producing(broker) as producer:
            batch = producer.create_batch()
            for n in range(RECORDS):
                assert batch.append(key=b"k", value=b"%d" % n, timestamp=1_000 + n, headers=HEADERS)
            batch.close()
            first = await (await producer.send_batch(batch, topic, partition=1))
        async with consuming(broker, topic) as consumer:
            records = await read(consumer, RECORDS)
        assert first.offset == 0
        expected = [(n, b"%d" % n, 1_000 + n, tuple(HEADERS)) for n in range(RECORDS)]
        assert expected == [(record.offset, record.value, record.timestamp, record.headers) for record in records]

    async def test_a_tombstone_is_a_record_without_a_value(self, broker, topic):
        async with producing(broker) as producer:
            await producer.send_and_wait(topic, None, key=b"gone", partition=0)
        async with consuming(broker, topic) as consumer:
            [record] = await read(consumer, 1)
        assert (record.key, record.value) == (b"gone", None)

    async def test_a_group_goes_on_where_it_committed(self, broker, topic, admin):
        """A restarted worker must neither lose nor repeat what it has resolved."""
        group = f"{topic}.group"
        place = TopicPartition(topic, 0)
        async with producing(broker) as producer:
            for n in range(10):
                await producer.send_and_wait(topic, b"%d" % n, partition=0)
        async with consuming(broker, topic, group_id=group, **GROUP_TIMES) as consumer:
            before = await read(consumer, 4)
            await consumer.commit({place: OffsetAndMetadata(4, "read up to 4")})
        async with consuming(broker, topic, group_id=group, **GROUP_TIMES) as consumer:
            after = await read(consumer, 6)
        listed = await admin.list_consumer_group_offsets(group, partitions=[place, TopicPartition(topic, 1)])
        assert [b"%d" % n for n in range(10)] == values([*before, *after])
        assert {place: 4, TopicPartition(topic, 1): -1} == {at: said.offset for at, said in listed.items()}
        assert listed[place].metadata == ("read up to 4" if broker.kind != "tansu" else "")

    async def test_how_far_a_group_has_come_is_told_to_others(self, broker, topic):
        """Owners ask it each second, of a broker that keeps the notes beside offsets and of one that doesn't."""
        group, place, other = f"{topic}.group", Partition(topic, 0), Partition(topic, 1)
        async with producing(broker) as producer:
            for n in range(3):
                await producer.send_and_wait(topic, b"%d" % n, partition=0)
        async with consuming(broker, topic, group_id=group, **GROUP_TIMES) as consumer:
            await read(consumer, 3)
            await consumer.commit({TopicPartition(*place): OffsetAndMetadata(2, "t1:5")})
        groups = GroupReader({"bootstrap_servers": broker.bootstrap})
        for _ in range(2):
            told = await groups.read(group, [topic])
            assert (Committed(2, "t1:5" if broker.kind != "tansu" else ""), None) == (told[place], told[other])
            assert {place: 3, other: 0} == await groups.ends([place, other])
        await groups.close()

    async def test_a_topic_is_created_with_its_configuration_and_described(self, broker, admin, topic_prefix):
        name = f"{topic_prefix}state"
        wanted = {"cleanup.policy": "compact", "segment.bytes": "67108864"}
        await admin.create_topics([NewTopic(name, 8, 1, topic_configs=wanted)])
        found = await described(admin, name)
        assert [*range(8)] == sorted(partition["partition"] for partition in found["partitions"])

    async def test_a_time_before_everything_finds_the_first_record(self, broker, topic):
        place = TopicPartition(topic, 3)
        await produce_by_the_second(broker, place)
        async with consuming(broker, topic) as consumer:
            found = await consumer.offsets_for_times({place: 1})
            ends = await consumer.end_offsets([place])
        assert found[place].offset == 0
        assert ends[place] == 5


async def produce_by_the_second(broker: Broker, place: TopicPartition) -> None:
    """Five records, stamped 1 000 000 ms and each second after."""
    async with producing(broker) as producer:
        for n in range(5):
            await producer.send_and_wait(
                place.topic, b"x", partition=place.partition, timestamp_ms=1_000_000 + 1_000 * n
            )


class TestKafka(BrokerContract):
    @pytest.fixture
    def broker(self, kafka):
        return kafka

    async def test_it_is_a_real_kafka(self, broker):
        assert broker.kind in ("given", "docker", "jars")
        assert broker.is_idempotent

    async def test_a_topic_that_is_not_there_is_said_to_be_unknown(self, admin, topic_prefix):
        [found] = await admin.describe_topics([f"{topic_prefix}nothing"])
        assert found["error_code"] == UNKNOWN_TOPIC

    async def test_a_time_finds_the_first_record_stamped_at_or_after_it(self, broker, topic):
        place = TopicPartition(topic, 3)
        await produce_by_the_second(broker, place)
        async with consuming(broker, topic) as consumer:
            found = await consumer.offsets_for_times({place: 1_002_500})
            past = await consumer.offsets_for_times({place: 9_000_000})
        assert (found[place].offset, found[place].timestamp) == (3, 1_003_000)
        assert past[place] is None

    async def test_two_members_of_a_group_share_its_partitions(self, broker, topic):
        group = {"group_id": f"{topic}.group", **GROUP_TIMES}
        halves = [PARTITIONS // 2, PARTITIONS // 2]
        async with AsyncExitStack() as stack:
            members = [await stack.enter_async_context(consuming(broker, topic, **group)) for _ in range(2)]
            async with asyncio.timeout(ANSWER_S):
                # Each knows its own assignment only, and may be a rebalance behind the other.
                while not (halves == _sizes(members) and members[0].assignment().isdisjoint(members[1].assignment())):
                    for member in members:
                        await member.getmany(timeout_ms=50)


def _sizes(members: Sequence[AIOKafkaConsumer]) -> list[int]:
    return [len(member.assignment()) for member in members]


class TestTansu(BrokerContract):
    @pytest.fixture
    def broker(self, tansu):
        return tansu

    async def test_it_refuses_the_idempotent_producer(self, broker):
        """The day it doesn't, `is_idempotent` and the demo's exception can go."""
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True)
        try:
            with pytest.raises(UnknownError):
                await producer.start()
        finally:
            await producer.stop()

    async def test_a_topic_that_is_not_there_is_made_by_asking_for_it(self, admin, topic_prefix):
        """With 4 partitions, whoever asks: so create first, describe afterwards."""
        [found] = await admin.describe_topics([f"{topic_prefix}nothing"])
        assert (found["error_code"], len(found["partitions"])) == (0, 4)

    async def test_a_time_is_compared_with_when_it_took_the_record_and_one_past_all_is_offset_0_at_time_minus_1(
        self, broker, topic
    ):
        """Kafka says None there; read as an offset, this 0 would start at the beginning."""
        place = TopicPartition(topic, 3)
        await produce_by_the_second(broker, place)
        async with consuming(broker, topic) as consumer:
            found = await consumer.offsets_for_times({place: 1_002_500})
            past = await consumer.offsets_for_times({place: 2**52})
        assert found[place].offset == 0
        assert (past[place].offset, past[place].timestamp) == (0, -1)


class Running:
    """`python -m streamer.testing.brokers tansu` as a user's process, and a connection to its broker."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "streamer.testing.brokers", "tansu", *options]
        environment = {**os.environ, "TMPDIR": str(folder)}  # a killed one leaves its log there
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        said = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"broker on 127\.0\.0\.1:(\d+)\n", said)[1])
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S)

    def is_gone(self) -> bool:
        """Wait for the broker to close the connection, which it does only by ending."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.connection.close()


@pytest.fixture
def running(tmp_path):
    with closing(Running(tmp_path)) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_foreground_broker_with_exit_0(running, number):
    running.process.send_signal(number)
    assert running.process.wait(ANSWER_S) == 0
    assert running.is_gone()


async def test_the_foreground_broker_has_its_topics_once_it_says_its_address(tmp_path):
    """A service refuses to start without its inputs, so `make up` must not be ready before they are."""
    with closing(Running(tmp_path, "--topics", "events.track, events.identify")) as running:
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{running.port}")
        await admin.start()
        try:
            names = set(await admin.list_topics())
            found = await admin.describe_topics(["events.track", "events.identify"])
        finally:
            await admin.close()
    assert {"events.track", "events.identify"} <= names
    assert [("events.track", 4), ("events.identify", 4)] == [
        (topic["topic"], len(topic["partitions"])) for topic in found
    ]


@pytest.fixture
def at(kafka):
    return kafka.bootstrap


def test_topics_are_made_once_however_often_they_are_asked_for(at, topic_prefix):
    """The Kafka of STREAMER_TEST_KAFKA outlives a `make up`."""
    name = f"{topic_prefix}a"
    create_topics(at, [name])
    create_topics(at, [name, f"{topic_prefix}b"])


def test_a_topic_that_can_not_be_made_is_said_in_one_line(at):
    with pytest.raises(BrokerUnusable, match="topic a b can't be created: InvalidTopicError"):
        create_topics(at, ["a b"])


if sys.platform == "linux":

    def test_a_broker_dies_with_its_killed_parent(running):
        """A JVM left behind by each killed test run would fill a developer's memory."""
        running.process.kill()
        assert running.is_gone()


async def test_what_is_put_on_a_topic_is_shown_in_order_of_time_and_keyed_by_its_person(kafka, topic_prefix):
    name = f"{topic_prefix}shown"
    await asyncio.to_thread(create_topics, kafka.bootstrap, [name])
    lines = [b'{"userId": "u1", "n": 1}\n', b"\n", b"not json\n", b'{"anonymousId": "a1", "n": 2}\n']
    assert await put(kafka.bootstrap, name, lines) == 3
    assert await put(kafka.bootstrap, name, [b'{"userId": "u1", "n": 3}']) == 1
    shown = await show(kafka.bootstrap, name)
    assert sorted(shown[:3]) == sorted(line.strip() for line in lines if line.strip())
    assert shown[3:] == [b'{"userId": "u1", "n": 3}']
