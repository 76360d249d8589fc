"""The fakes keep the ports' contracts, and do what the tests that drive them rely on."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from streamer.config_outcomes import shipped_outcomes
from streamer.core.delivery import Accepted, Attempt, Message, Refused, Unknown
from streamer.errors import BrokerUnusable
from streamer.ports import Partition
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fakes import (
    ROUNDS_MAX,
    FakeChangelog,
    FakeSink,
    FakeSource,
    ManualClock,
    run_manually,
    settle,
)
from streamer.testing.memory_log import MemoryLog
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
from tests.contracts.sms_gateway import ATTEMPT, EVER, MESSAGE, TO, SmsGatewayContract

PLACE = Partition("t", 0)
ACCEPTED = Accepted("", "queued")


class MemoryBroker(Broker):
    def __init__(self):
        self.clock = ManualClock()
        self.log = MemoryLog({"t": 2, "in": 2, "in1": 1, "out": 2, "state": 2}, self.clock)
        self.sources = []

    async def create(self, name, partitions, *, is_compacted=False):
        return "in1" if (name, partitions) == ("in", 1) else name

    async def source(self, topic, group="g"):
        self.sources.append(FakeSource(self.log, group, [topic]))
        return self.sources[-1]

    def sink(self):
        return FakeSink(self.log)

    def changelog(self):
        return FakeChangelog(self.log)

    def groups(self):
        return FakeGroupOffsets(self.log)

    def named(self, name):
        return name

    def moment(self):
        self.clock.advance(1.0)
        now = self.clock.now_s(), self.clock.now_ms()
        self.clock.advance(1.0)
        for source in self.sources:
            source.nudge()
        return now

    async def transact(self, partition, value, *, is_committed):
        if is_committed:
            self.log.append(partition, b"k", value)
        self.log.skip(partition, 1 if is_committed else 2)


class TestFakeSource(RecordSourceContract):
    def broker(self):
        return MemoryBroker()

    async def test_reading_what_retention_deleted_is_an_error(self):
        """Skipping on would lose records without a word."""
        broker = MemoryBroker()
        await write(broker, PLACE, b"one", b"two", b"three")
        async with member(broker, "t") as reader:
            await reader.until(lambda: len(reader.read[PLACE]) == 3)
            await reader.source.commit({PLACE: 1})
        broker.log.delete_before(PLACE, 2)
        async with member(broker, "t") as again:
            with pytest.raises(BrokerUnusable):
                await again.until(lambda: again.read)

    async def test_what_a_listener_raises_the_next_poll_raises(self):
        """As with the real client, whose callbacks swallow it."""
        broker = MemoryBroker()

        class Broken:
            async def on_assigned(self, partitions):
                raise BrokerUnusable("assigned")

            async def on_revoked(self, partitions):
                pass

        source = await broker.source("t")
        await source.start(Broken())
        with pytest.raises(BrokerUnusable, match="assigned"):
            await source.poll(10)
        await source.stop()

    async def test_a_crashed_member_is_told_nothing_and_its_calls_do_nothing(self):
        broker = MemoryBroker()
        await write(broker, PLACE, b"one")
        async with member(broker, "t") as reader:
            await reader.until(lambda: reader.read)
            told = list(reader.told)
            reader.source.crash()
            assert await reader.source.commit({PLACE: 1}) is False
        assert reader.told == told
        async with member(broker, "t") as again:
            await again.until(lambda: again.read)
        assert again.values(PLACE) == [b"one"]

    async def test_a_failing_commit_says_so(self):
        broker = MemoryBroker()
        await write(broker, PLACE, b"one")
        async with member(broker, "t") as reader:
            await reader.until(lambda: reader.read)
            reader.source.is_committing = False
            assert await reader.source.commit({PLACE: 1}) is False
        assert broker.log.group("g").committed == {}


class TestFakeSink(RecordSinkContract):
    def broker(self):
        return MemoryBroker()

    async def test_written_and_acked_are_two_steps(self):
        log, acked = MemoryLog({"t": 1}, ManualClock()), []
        sink = FakeSink(log, is_automatic=False)
        for value in (b"one", b"two", b"three"):
            sink.append(PLACE, b"k", value, None, acked.append)
        sink.write(PLACE, 2)
        assert log.end_offset(PLACE) == 2
        assert not acked
        sink.ack(PLACE, 1)
        assert (acked, sink.records_pending) == ([0], 2)
        sink.ack(PLACE, is_offset_told=False)
        assert acked == [0, -1]
        assert (sink.queued, sink.written) == ([PLACE], [])

    async def test_a_rebuilt_producer_writes_what_was_not_acked_twice_and_in_order(self):
        log, acked = MemoryLog({"t": 1}, ManualClock()), []
        sink = FakeSink(log, is_automatic=False)
        for value in (b"one", b"two", b"three"):
            sink.append(PLACE, b"k", value, None, acked.append)
        sink.write(PLACE, 2)
        sink.write_again(PLACE)
        sink.write(PLACE)
        sink.ack(PLACE)
        assert [record.value for record in log.read(PLACE, 0, 9)] == [b"one", b"two", b"one", b"two", b"three"]
        assert acked == [2, 3, 4]

    async def test_a_crash_keeps_a_first_part_and_acks_nothing(self):
        log, acked = MemoryLog({"t": 1}, ManualClock()), []
        sink = FakeSink(log, is_automatic=False)
        for value in (b"one", b"two", b"three"):
            sink.append(PLACE, b"k", value, None, acked.append)
        sink.crash(lambda queued: queued - 1)
        sink.append(PLACE, b"k", b"after", None, acked.append)
        assert [record.value for record in log.read(PLACE, 0, 9)] == [b"one", b"two"]
        assert not acked

    async def test_a_failure_ends_the_run(self):
        sink = FakeSink(MemoryLog({"t": 1}, ManualClock()))
        sink.fail(BrokerUnusable("gone"))
        with pytest.raises(BrokerUnusable, match="gone"):
            await sink.run()


class TestFakeGroupOffsets(GroupOffsetsContract):
    def broker(self):
        return MemoryBroker()

    async def test_a_broker_that_is_away_is_an_error(self):
        groups = MemoryBroker().groups()
        groups.is_answering = False
        with pytest.raises(BrokerUnusable):
            await groups.read("g", ["in"])


async def from_start(log):
    return log.start


class TestFakeChangelog(ChangelogContract):
    def broker(self):
        return MemoryBroker()

    async def test_a_compacted_partition_has_gaps_and_keeps_its_end(self):
        log, read = MemoryLog({"t": 1}, ManualClock()), []
        for number in range(100):
            log.append(PLACE, str(number % 10).encode(), str(number).encode())
        log.compact(PLACE)

        async def apply(records):
            read.extend(records)

        assert await FakeChangelog(log).read(PLACE, from_start, apply) == 100
        assert [record.offset for record in read] == list(range(90, 100))

    async def test_records_appended_meanwhile_are_not_read(self):
        log, read = MemoryLog({"t": 1}, ManualClock()), []
        for _ in range(20):
            log.append(PLACE, b"k", b"v")

        async def apply(records):
            read.extend(records)
            log.append(PLACE, b"k", b"late")

        assert await FakeChangelog(log).read(PLACE, from_start, apply) == 20
        assert len(read) == 20


class TestManualClock(ClockContract):
    def clock(self):
        return ManualClock()

    async def slept(self, clock, seconds):
        async with asyncio.TaskGroup() as tasks:
            sleeper = tasks.create_task(clock.sleep(seconds), name="sleeper")
            await settle()
            clock.advance(seconds / 2)
            await settle()
            assert not sleeper.done()
            clock.advance(seconds / 2)

    async def test_sleepers_wake_in_order_of_their_time(self):
        clock, woken = ManualClock(), []

        async def sleep(seconds):
            await clock.sleep(seconds)
            woken.append(seconds)

        async with asyncio.TaskGroup() as tasks:
            for seconds in (3.0, 1.0, 2.0):
                tasks.create_task(sleep(seconds), name="sleeper")
            await settle()
            clock.advance(10.0)
        assert woken == [1.0, 2.0, 3.0]

    async def test_a_cancelled_sleeper_is_passed_over(self):
        clock = ManualClock()
        async with asyncio.TaskGroup() as tasks:
            sleeper = tasks.create_task(clock.sleep(1.0), name="sleeper")
            await settle()
            sleeper.cancel()
            await settle()
            clock.advance(2.0)
        assert sleeper.cancelled()

    def test_a_timeout_too_waits_for_the_test(self):
        clock = ManualClock()

        async def main():
            async with asyncio.TaskGroup() as tasks:
                waiter = tasks.create_task(self._timed_out(), name="waiter")
                await settle()
                clock.advance(3599.0)
                await settle()
                assert not waiter.done()
                clock.advance(1.0)
            return waiter.result()

        assert run_manually(main(), clock) == "timed out"

    @staticmethod
    async def _timed_out():
        try:
            async with asyncio.timeout(3600.0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"


async def test_a_loop_that_is_never_quiet_is_found():
    async def spin():
        for _ in range(2 * ROUNDS_MAX):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        busy = tasks.create_task(spin(), name="busy")
        with pytest.raises(RuntimeError, match="still busy"):
            await settle()
        busy.cancel()


class TestFakeGateway(SmsGatewayContract):
    gateways: tuple[FakeGateway, ...] = ()

    @pytest.fixture(autouse=True)
    def _clock(self):
        self.clock = ManualClock()

    @asynccontextmanager
    async def _deciding(self, answer, **settings):
        gateway = FakeGateway(lambda message: answer, self.clock)
        for name, value in settings.items():
            setattr(gateway, name, value)
        self.gateways += (gateway,)
        yield gateway
        await gateway.close()
        assert gateway.is_closed

    def accepting(self):
        return self._deciding(ACCEPTED)

    def refusing(self, code):
        return self._deciding(shipped_outcomes().refusal(400, code))

    def too_busy(self):
        return self._deciding(Refused("gateway_busy", 20429, 429, kind="retry"))

    @asynccontextmanager
    async def _told(self, answer):
        """Created first, then answered."""
        gateway = FakeGateway(lambda message: None, self.clock)
        self.gateways += (gateway,)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell(gateway, answer), name="other side")
            yield gateway

    @staticmethod
    async def _tell(gateway, answer):
        for _ in range(10):  # turns of the loop; the call comes in the first
            await asyncio.sleep(0)
        gateway.arrive(gateway.open[0])
        gateway.answer(gateway.open[0], answer)

    def failing_after_creation(self):
        return self._told(Unknown("gateway_error", 500))

    def failing_before_creation(self):
        return self._deciding(Unknown("gateway_error", 503))

    def hanging_after_creation(self):
        return self._told(Unknown("timeout"))

    def unreachable(self):
        return self._deciding(Refused("not_sent", kind="retry"))

    def without_lists(self):
        return self._deciding(ACCEPTED, has_lists=False)

    def listing_late(self):
        return self._deciding(ACCEPTED, listed_after_s=60.0)

    def list_now(self):
        self.clock.advance(60.0)

    def listing_without_tags(self):
        return self._deciding(ACCEPTED, has_list_tags=False)

    def sending_at_once(self):
        return self.accepting()

    def without_cancels(self):
        return self._deciding(ACCEPTED, has_cancels=False)

    def now_ms(self):
        return self.clock.now_ms()

    def created(self):
        return [message.body for gateway in self.gateways for _, message in gateway.created]

    async def test_a_request_stays_open_until_it_is_told(self):
        gateway = FakeGateway(lambda message: None)
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(gateway.create(Message("main", "sms", "+1", "Hi"), ATTEMPT), name="call")
            await settle()
            assert not call.done()
            [request] = gateway.open
            gateway.answer(request, Accepted("", "queued"))
        assert call.result() == Accepted(gateway.created[0][0], "queued")
        assert not gateway.open

    async def test_at_its_time_a_message_is_sent_unless_it_was_cancelled(self):
        async with self.accepting() as gateway:
            first, second = [(await gateway.create(self.scheduled(), ATTEMPT)).sid for _ in range(2)]
            assert await gateway.cancel(first)
            self.clock.advance(3_600.0)
            assert (True, False) == (await gateway.cancel(first), await gateway.cancel(second))
        assert [first, first, second] == gateway.cancels

    async def test_one_requests_message_may_be_listed_when_the_test_says(self):
        """Of several unknown ones each is found at its own time, or never."""
        gateway = FakeGateway(lambda message: None, self.clock)
        async with asyncio.TaskGroup() as tasks:
            for number in (1, 2):
                tasks.create_task(gateway.create(MESSAGE, Attempt(ATTEMPT.send_id, number, "u:1")), name=str(number))
            await settle()
            first, second = gateway.open
            first.listed_after_s, second.listed_after_s = None, 5.0
            for request in (first, second):
                gateway.answer(request, ACCEPTED)
        assert await gateway.find(TO, "sms", EVER) == ()
        self.clock.advance(5.0)
        assert [message.sid for message in await gateway.find(TO, "sms", EVER)] == [second.sid]
        assert gateway.created_by(second.attempt) == [second]
