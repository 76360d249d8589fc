"""The real adapters keep the ports' contracts: aiokafka on a real Kafka, the gateway against the fake Twilio."""

import asyncio
import socket
from contextlib import asynccontextmanager, closing

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from streamer.clock import SystemClock
from streamer.config_outcomes import shipped_outcomes
from streamer.core import state
from streamer.core.delivery import Accepted, Refused
from streamer.errors import BrokerUnusable
from streamer.kafka.consumer import ChangelogReader, GroupSource
from streamer.kafka.groups import GroupReader
from streamer.kafka.producer import BatchSink
from streamer.kafka.topics import COMPACTED, ensure_offsets
from streamer.ports import Partition
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import SCRIPT, Step
from streamer.twilio.client import Credentials, TwilioGateway
from tests.contracts.clock import ClockContract
from tests.contracts.kafka import (
    Broker,
    ChangelogContract,
    GroupOffsetsContract,
    RecordSinkContract,
    RecordSourceContract,
    member,
    write,
)
from tests.contracts.sms_gateway import ATTEMPT, MESSAGE, TO, SmsGatewayContract
from tests.largest import Largest

SESSION_S = 6.0  # the least that Kafka takes by default
TIMEOUT_S = 5.0
POLL_S = 0.02


class KafkaBroker(Broker):
    def __init__(self, bootstrap, prefix):
        self.connection = {"bootstrap_servers": bootstrap}
        self.prefix = prefix
        self.partitions = {}

    async def create(self, name, partitions, *, is_compacted=False):
        self.partitions[self.prefix + name] = partitions
        topic = NewTopic(self.prefix + name, partitions, 1, topic_configs=COMPACTED if is_compacted else {})
        admin = AIOKafkaAdminClient(**self.connection)
        await admin.start()
        try:
            await admin.create_topics([topic])
            async with asyncio.timeout(TIMEOUT_S):  # the broker answers the creation before its metadata know the topic
                while True:
                    [found] = await admin.describe_topics([topic.name])
                    if not found["error_code"]:
                        return topic.name
                    await asyncio.sleep(POLL_S)
        finally:
            await admin.close()

    async def source(self, topic, group="g"):
        count = self.partitions[topic]
        await ensure_offsets(self.connection, self.prefix + group, {topic: count}, "earliest", (topic, count))
        return GroupSource([topic], self.prefix + group, self.connection, SESSION_S)

    def sink(self):
        return BatchSink(self.connection, is_idempotent=True)

    def changelog(self):
        return ChangelogReader(self.connection)

    def groups(self):
        return GroupReader(self.connection)

    def named(self, name):
        return self.prefix + name

    async def transact(self, partition, value, *, is_committed):
        async with self.transaction(partition, value) as producer:
            await (producer.commit_transaction() if is_committed else producer.abort_transaction())

    @asynccontextmanager
    async def transaction(self, partition, value):
        """A transaction with one record, open until the test ends it."""
        producer = AIOKafkaProducer(**self.connection, transactional_id=self.prefix + "tx")
        await producer.start()
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(partition.topic, value, b"k", partition.partition)
            yield producer
        finally:
            await producer.stop()


class OnKafka:
    @pytest.fixture(autouse=True)
    def _on_kafka(self, kafka, topic_prefix):
        self._broker = KafkaBroker(kafka.bootstrap, topic_prefix)

    def broker(self):
        return self._broker


class TestGroupSource(OnKafka, RecordSourceContract):
    async def test_a_partition_added_later_is_read_from_its_beginning(self):
        """The group has committed the others and not this one; aiokafka must not be asked where it would begin."""
        broker = self.broker()
        topic = await broker.create("in", 2)
        old, new = Partition(topic, 0), Partition(topic, 1)
        for place in (old, new):
            await write(broker, place, b"one", b"two")
        consumer = AIOKafkaConsumer(**broker.connection, group_id=broker.prefix + "g", enable_auto_commit=False)
        await consumer.start()
        consumer.assign([TopicPartition(*old)])
        await consumer.commit({TopicPartition(*old): 1})
        await consumer.stop()
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.read[old] and len(reader.read[new]) == 2)
        assert (reader.values(old), reader.values(new)) == ([b"two"], [b"one", b"two"])

    async def test_a_transaction_that_is_still_open_is_not_lag(self):
        """Nobody can read it, so no health check may say that we don't."""
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one")
        async with broker.transaction(place, b"two") as producer, member(broker, topic) as reader:
            await reader.until(lambda: reader.read[place])
            assert reader.source.end(place).offset == reader.source.position(place) == 1
            await producer.commit_transaction()
            await reader.until(lambda: len(reader.read[place]) == 2)
        assert reader.values(place) == [b"one", b"two"]


class TestBatchSink(OnKafka, RecordSinkContract):
    async def test_the_largest_state_record_is_written_and_restored(self, seed):
        """As encoded it is larger than a broker takes; the batches are compressed, and restores fetch enough."""
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        value = state.encode(Largest(seed).person())
        assert await write(broker, place, b"before", value, b"after") == [0, 1, 2]
        read = []

        async def from_start(log):
            return log.start

        async def keep(records):
            read.extend(records)

        assert await broker.changelog().read(place, from_start, keep) == 3
        assert [record.value for record in read] == [b"before", value, b"after"]


class TestChangelogReader(OnKafka, ChangelogContract):
    pass


class TestGroupReader(OnKafka, GroupOffsetsContract):
    async def test_a_broker_that_is_away_is_an_error_and_the_next_read_begins_anew(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        with closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))  # held, so that nobody else gets it; and nobody listens
            connection = {"bootstrap_servers": f"127.0.0.1:{taken.getsockname()[1]}"}
            groups = GroupReader(connection)
            for _ in range(2):
                with pytest.raises(BrokerUnusable):
                    await groups.read(broker.named("g"), [topic])
            connection |= broker.connection
            assert await groups.read(broker.named("g"), [topic]) == {Partition(topic, 0): None}
            await groups.close()


class TestTwilioGateway(SmsGatewayContract):
    twilios: tuple[FakeTwilio, ...] = ()

    @asynccontextmanager
    async def _gateway(self, timeout_s=TIMEOUT_S, script=SCRIPT, **faults):
        async with FakeTwilio(Setup(faults=Faults(**faults), script=script)) as twilio:
            self.twilios += (twilio,)
            account = twilio.account
            key = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
            gateway = TwilioGateway(twilio.base_url, key, timeout_s, shipped_outcomes())
            try:
                yield gateway
            finally:
                await gateway.close()

    def accepting(self):
        return self._gateway()

    def refusing(self, code):
        return self._gateway(refused_numbers={TO: code})

    def too_busy(self):
        return self._gateway(too_many_share=1.0)

    def failing_after_creation(self):
        return self._gateway(error_after_share=1.0)

    def failing_before_creation(self):
        return self._gateway(error_before_share=1.0)

    def hanging_after_creation(self):
        return self._gateway(timeout_s=0.5, hang_after_share=1.0)

    @asynccontextmanager
    async def unreachable(self):
        with closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))  # held, so that nobody else gets it; and nobody listens
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            gateway = TwilioGateway(url, Credentials("AC1", "SK1", "secret"), TIMEOUT_S, shipped_outcomes())
            try:
                yield gateway
            finally:
                await gateway.close()

    def without_lists(self):
        return self._gateway(list_error_code=20500)

    def listing_late(self):
        return self._gateway(list_delay_s=None)

    def list_now(self):
        self.twilios[-1].set_faults(Faults())

    def listing_without_tags(self):
        return self._gateway(list_tags=False)

    def sending_at_once(self):
        return self._gateway(script=(Step("sent", 0.0),))

    def without_cancels(self):
        return self._gateway(cancel_error_code=20500)

    def now_ms(self):
        return SystemClock().now_ms()

    def created(self):
        return [message.body for twilio in self.twilios for message in twilio.messages]

    async def test_the_number_of_parts_is_what_the_gateway_says(self):
        async with self.accepting() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
        assert isinstance(answer, Accepted)
        assert (answer.parts, answer.status) == (1, "queued")

    async def test_wrong_credentials_are_a_refusal(self):
        """No retry helps, and no message was made."""
        async with FakeTwilio() as twilio:
            key = Credentials(twilio.account_sid, "SK1", "wrong")
            gateway = TwilioGateway(twilio.base_url, key, TIMEOUT_S, shipped_outcomes())
            answer = await gateway.create(MESSAGE, ATTEMPT)
            await gateway.close()
        assert answer == Refused("stop", 20003, 401, "stop", "account")


class TestSystemClock(ClockContract):
    def clock(self):
        return SystemClock()

    async def slept(self, clock, seconds):
        await clock.sleep(seconds)
        await asyncio.sleep(0)
