"""What every `RecordSource`, `RecordSink`, `GroupOffsets` and `Changelog` does, each on a broker that outlives it.

One `Broker` per test makes topics, and clients of them; the fakes' is a `MemoryLog`, the adapters' a real Kafka.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from contextlib import asynccontextmanager

import pytest

from streamer.core.state import CLAIM_KEY, Person, encode, epoch_of
from streamer.errors import BrokerUnusable
from streamer.pipeline.claims import Claim, claim
from streamer.ports import Changelog, Committed, GroupOffsets, Partition, RecordSink, RecordSource

ANSWER_S = 30.0
CLOCKS_MS = 100  # by how much two clocks read one after the other may part on a busy machine


class Broker(ABC):
    """Topics of one test and what reads and writes them."""

    @abstractmethod
    async def create(self, name: str, partitions: int, *, is_compacted: bool = False) -> str:
        """A new topic; returns its whole name."""

    @abstractmethod
    async def source(self, topic: str, group: str = "g") -> RecordSource:
        """A member that is not started; its group is prepared as the service prepares it: from the beginning."""

    @abstractmethod
    def sink(self) -> RecordSink: ...

    @abstractmethod
    def changelog(self) -> Changelog: ...

    @abstractmethod
    def groups(self) -> GroupOffsets: ...

    @abstractmethod
    def named(self, name: str) -> str:
        """What a group or topic of that name is really called."""

    def moment(self) -> tuple[float, int]:
        """Now, by the two clocks that date an end: monotonic in s, the wall's in ms."""
        return time.monotonic(), time.time_ns() // 1_000_000

    @abstractmethod
    async def transact(self, partition: Partition, value: bytes, *, is_committed: bool) -> None:
        """Write one record in a transaction of its own, and commit or abort it; its marker takes an offset too."""


@asynccontextmanager
async def writing(broker):
    """A sink that runs; what it raises is raised here."""
    sink = broker.sink()
    async with asyncio.timeout(ANSWER_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(sink.run(), name="sink")
        yield sink
        await sink.flush()
        await sink.stop()


async def write(broker, partition, *values):
    """Records without a key of meaning; returns their offsets."""
    offsets = []
    async with writing(broker) as sink:
        for value in values:
            sink.append(partition, b"k", value, None, offsets.append)
    return offsets


class Member:
    """A group member that opens whatever it is assigned, and keeps what it is told."""

    def __init__(self, source, *, is_opening=True):
        self.source = source
        self.is_opening = is_opening
        self.told = []
        self._changed = asyncio.Event()
        self.assigned = frozenset()
        self.positions = {}
        self.read = defaultdict(list)
        self.commit_at_revoke = {}
        self.may_revoke = asyncio.Event()
        self.may_revoke.set()
        self.revoking = []  # how many calls were in `on_revoked` at each of its beginnings
        self._in_revoked = 0
        self.was_committed = None
        self.tasks = asyncio.TaskGroup()

    async def on_assigned(self, partitions):
        self.told.append("assigned")
        self.assigned = partitions
        self._changed.set()
        if self.is_opening:
            self.tasks.create_task(self._open(partitions), name="open")

    async def on_revoked(self, partitions):
        self.told.append("revoked")
        self._in_revoked += 1
        self.revoking.append(self._in_revoked)
        self._changed.set()
        await self.may_revoke.wait()
        self._in_revoked -= 1
        if self.commit_at_revoke:
            self.was_committed = await self.source.commit(self.commit_at_revoke)
        self.assigned = frozenset()

    async def _open(self, partitions):
        for partition in partitions:
            self.positions[partition] = await self.source.committed(partition)
            self.source.open(partition, self.positions[partition])

    async def when(self, is_true):
        """Wait until a rebalance has made it true."""
        async with asyncio.timeout(ANSWER_S):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()

    async def until(self, is_true):
        """Poll until `is_true`."""
        async with asyncio.timeout(ANSWER_S):
            while not is_true():
                for partition, records in (await self.source.poll(10)).items():
                    assert 0 < len(records) <= 10
                    self.read[partition] += records

    def values(self, partition):
        return [record.value for record in self.read[partition]]


@asynccontextmanager
async def member(broker, topic, group="g", is_opening=True):
    """A started member, which leaves at the end."""
    joined = Member(await broker.source(topic, group), is_opening=is_opening)
    async with joined.tasks:
        await joined.source.start(joined)
        try:
            yield joined
        finally:
            await joined.source.stop()


class RecordSourceContract(ABC):
    @abstractmethod
    def broker(self) -> Broker: ...

    async def test_records_come_in_order_with_all_that_was_written(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        async with writing(broker) as sink:
            sink.append(place, b"key", b"one", [("a", b"\x00"), ("b", b"")])
            sink.append(place, b"", b"")
            sink.append(place, b"key", None)
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.read[place]) == 3)
        one, two, three = reader.read[place]
        assert [record.offset for record in reader.read[place]] == [0, 1, 2]
        assert (one.topic, one.partition, one.key, one.value) == (topic, 0, b"key", b"one")
        assert list(one.headers) == [("a", b"\x00"), ("b", b"")]
        assert (two.key, two.value, list(two.headers)) == (b"", b"", [])
        assert three.value is None
        assert one.timestamp > 1_700_000_000_000

    async def test_a_poll_returns_no_more_than_asked_for(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        values = [str(number).encode() for number in range(95)]
        await write(broker, place, *values)
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.read[place]) == 95)  # asserts the bound for each poll
        assert reader.values(place) == values

    async def test_a_new_group_opens_at_the_logs_start(self):
        broker = self.broker()
        topic = await broker.create("in", 2)
        await write(broker, Partition(topic, 0), b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.positions) == 2 and reader.read)
        assert set(reader.positions.values()) == {0}

    async def test_a_partition_that_is_not_opened_is_not_fetched(self):
        """A restore must end before the first record is handled."""
        broker = self.broker()
        topic = await broker.create("in", 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        for place in (first, second):
            await write(broker, place, b"one", b"two")
        async with member(broker, topic, is_opening=False) as reader:
            await reader.when(lambda: reader.assigned)
            reader.source.open(first, 1)
            await reader.until(lambda: reader.read[first])
        assert reader.values(first) == [b"two"]
        assert not reader.read[second]

    async def test_what_was_committed_is_where_the_next_member_goes_on(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one", b"two", b"three")
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.read[place]) == 3)
            assert await reader.source.commit({place: 1})
        async with member(broker, topic) as again:
            await again.until(lambda: len(again.read[place]) == 2)
        assert again.positions == {place: 1}
        assert again.values(place) == [b"two", b"three"]

    async def test_groups_commit_apart(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one")
        async with member(broker, topic, group="g") as reader:
            await reader.until(lambda: reader.read[place])
            assert await reader.source.commit({place: 1})
        async with member(broker, topic, group="other") as other:
            await other.until(lambda: other.read[place])
        assert other.values(place) == [b"one"]

    async def test_a_commit_in_the_revoked_callback_still_counts(self):
        """The last of a tenure: without it the next owner reads everything again."""
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one", b"two")
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.read[place]) == 2)
            reader.commit_at_revoke = {place: 2}
        assert reader.was_committed is True
        async with member(broker, topic) as again:
            await write(broker, place, b"three")
            await again.until(lambda: again.read[place])
        assert again.values(place) == [b"three"]

    async def test_stop_revokes_once_and_may_be_called_twice(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        await write(broker, Partition(topic, 0), b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.read)
            before = reader.told.count("revoked")
            await reader.source.stop()
            await reader.source.stop()
        assert reader.told.count("revoked") == before + 1
        assert reader.told[-1] == "revoked"

    async def test_a_commit_after_the_tenure_is_refused(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.read)
            await reader.source.stop()
            assert await reader.source.commit({place: 1}) is False

    async def test_committing_nothing_succeeds(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        await write(broker, Partition(topic, 0), b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.read)
            assert await reader.source.commit({}) is True

    async def test_a_paused_partition_rests_and_a_resumed_one_loses_nothing(self):
        broker = self.broker()
        topic = await broker.create("in", 2)
        paused, other = Partition(topic, 0), Partition(topic, 1)
        for place in (paused, other):
            await write(broker, place, b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.read) == 2)
            reader.source.pause([paused])
            await write(broker, paused, b"two")
            await write(broker, other, b"two")
            await reader.until(lambda: len(reader.read[other]) == 2)
            assert reader.values(paused) == [b"one"]
            reader.source.resume([paused])
            await reader.until(lambda: len(reader.read[paused]) == 2)
        assert reader.values(paused) == [b"one", b"two"]

    async def test_the_end_offset_is_known_once_something_was_fetched(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one", b"two")
        async with member(broker, topic, is_opening=False) as reader:
            assert reader.source.end(place) is None
            await self._opened(reader, place)
            await reader.until(lambda: len(reader.read[place]) == 2)
            assert reader.source.end(place).offset == 2

    async def test_an_end_that_is_dated_later_lies_beyond_all_that_was_written_before(self):
        """A time that is said too early gives up a track whose identify is in the log already."""
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        async with member(broker, topic) as reader, writing(broker) as sink:
            for count in range(1, 6):
                sink.append(place, b"k", b"v")
                await sink.flush()
                now_s, now_ms = broker.moment()
                end = await self._dated_after(reader, place, now_s)
                assert count == end.offset
                assert abs((end.as_of_ms - now_ms) - 1_000 * (end.as_of_s - now_s)) <= CLOCKS_MS
            await self._dated_after(reader, place, broker.moment()[0])  # it goes on though nothing comes

    async def test_the_position_is_one_past_what_was_returned(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, *(b"x" for _ in range(25)))
        async with member(broker, topic, is_opening=False) as reader:
            assert reader.source.position(place) is None
            await self._opened(reader, place)
            while len(reader.read[place]) < 25:
                count = len(reader.read[place])
                await reader.until(lambda count=count: len(reader.read[place]) > count)
                assert reader.source.position(place) == reader.read[place][-1].offset + 1
            reader.source.pause([place])
            assert reader.source.position(place) is None

    async def test_an_aborted_transaction_is_not_read_and_the_position_passes_it_and_every_marker(self):
        """Else what was taken back is sent; and an idle service lags behind for ever."""
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await broker.transact(place, b"aborted", is_committed=False)
        await broker.transact(place, b"good", is_committed=True)
        await broker.transact(place, b"aborted too", is_committed=False)
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.source.position(place) == 6)
            assert reader.source.end(place).offset == 6
            assert await reader.source.commit({place: 6})
        assert [(record.offset, record.value) for record in reader.read[place]] == [(2, b"good")]
        async with member(broker, topic) as again:
            await write(broker, place, b"next")
            await again.until(lambda: again.read[place])
        assert again.values(place) == [b"next"]

    async def test_what_is_not_assigned_is_neither_opened_paused_nor_committed(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        place, stranger = Partition(topic, 0), Partition("another", 5)
        await write(broker, place, b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.read)
            reader.source.open(stranger, 0)
            reader.source.pause([stranger])
            reader.source.resume([stranger])
            assert reader.source.end(stranger) is None
            assert reader.source.position(stranger) is None
            assert await reader.source.commit({place: 1, stranger: 1}) is False

    async def test_a_second_member_takes_a_share_after_the_first_has_let_go(self):
        broker = self.broker()
        topic = await broker.create("in", 2)
        places = [Partition(topic, 0), Partition(topic, 1)]
        for place in places:
            await write(broker, place, b"one")
        async with member(broker, topic) as first:
            await first.until(lambda: len(first.read) == 2)
            async with member(broker, topic) as second:
                await self._shared(first, second)
                assert not first.assigned & second.assigned
                assert first.assigned | second.assigned == set(places)
            assert "revoked" in first.told

    async def test_leaving_during_a_rebalance_waits_for_its_drain(self):
        """If a second call returned at once, the next owner would begin beside this one, and text people twice."""
        broker = self.broker()
        topic = await broker.create("in", 2)
        await write(broker, Partition(topic, 0), b"one")
        async with member(broker, topic) as leaving:
            await leaving.until(lambda: leaving.read)
            leaving.may_revoke.clear()
            leaving.revoking.clear()
            joining = Member(await broker.source(topic))
            async with asyncio.timeout(ANSWER_S), joining.tasks, asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(leaving.until(lambda: False), name="poll")
                starting = tasks.create_task(joining.source.start(joining), name="start")
                await leaving.when(lambda: leaving.revoking)
                polling.cancel()  # as a stage does before it leaves
                stopping = tasks.create_task(leaving.source.stop(), name="stop")
                for _ in range(20):
                    await asyncio.sleep(0)
                assert leaving.revoking == [1]
                leaving.may_revoke.set()
                await stopping
                await starting
                await joining.source.stop()
        assert set(leaving.revoking) == {1}

    @staticmethod
    async def _dated_after(reader, place, moment_s):
        """The first end that is dated later; each one seen until then is dated in order."""
        dates = [0.0]

        def is_later():
            end = reader.source.end(place)
            if end is not None:
                assert (end.as_of_s > 0) == (end.as_of_ms > 0)
                dates.append(end.as_of_s)
            return dates[-1] > moment_s

        await reader.until(is_later)
        assert dates == sorted(dates)
        return reader.source.end(place)

    async def _opened(self, reader, place):
        await reader.when(lambda: reader.assigned)
        reader.source.open(place, await reader.source.committed(place))

    async def _shared(self, *members):
        """Both poll, as members must, until each has one partition."""
        async with asyncio.TaskGroup() as tasks:
            polls = [tasks.create_task(each.until(lambda: False), name="poll") for each in members]
            for each in members:
                await each.when(lambda each=each: len(each.assigned) == 1)
            for poll in polls:
                poll.cancel()


class RecordSinkContract(ABC):
    @abstractmethod
    def broker(self) -> Broker: ...

    async def test_acks_come_in_order_with_the_records_offset(self):
        broker = self.broker()
        place = Partition(await broker.create("out", 1), 0)
        assert await write(broker, place, *(b"x" * 100 for _ in range(3_000))) == list(range(3_000))

    async def test_partitions_keep_their_own_order(self):
        broker = self.broker()
        topic = await broker.create("out", 2)
        acked = []
        async with writing(broker) as sink:
            for number in range(200):
                place = Partition(topic, number % 2)
                sink.append(place, b"k", b"v", None, lambda at, place=place: acked.append((place.partition, at)))
        for partition in range(2):
            assert [at for where, at in acked if where == partition] == list(range(100))

    async def test_no_ack_comes_within_the_append(self):
        """Its caller is in the middle of a change."""
        broker = self.broker()
        place = Partition(await broker.create("out", 1), 0)
        acked = []
        async with writing(broker) as sink:
            for _ in range(100):
                sink.append(place, b"k", b"v", None, acked.append)
                assert not acked
            assert (sink.records_pending, sink.bytes_pending) == (100, 200)
            sink.append(place, b"key", None, None, acked.append)
            assert (sink.records_pending, sink.bytes_pending) == (101, 203)
        assert (sink.records_pending, sink.bytes_pending) == (0, 0)

    async def test_an_ack_may_append(self):
        """A decided outcome is published at the ack of its state record."""
        broker = self.broker()
        place = Partition(await broker.create("out", 1), 0)
        acked = []

        def again(at):
            acked.append(at)
            if len(acked) < 5:
                sink.append(place, b"k", b"v", None, again)

        async with writing(broker) as sink:
            sink.append(place, b"k", b"v", None, again)
            await sink.flush()
        assert acked == [0, 1, 2, 3, 4]

    async def test_a_flush_with_nothing_pending_returns_at_once(self):
        broker = self.broker()
        await broker.create("out", 1)
        async with writing(broker) as sink:
            await sink.flush()
            await sink.flush()

    async def test_a_flush_returns_after_the_last_ack(self):
        broker = self.broker()
        place = Partition(await broker.create("out", 1), 0)
        acked = []
        async with writing(broker) as sink:
            for _ in range(10):
                sink.append(place, b"k", b"v", None, acked.append)
            await sink.flush()
            assert len(acked) == 10


class Claimant:
    """An owner of one partition that notes what follows from its writes, and whom it would write again."""

    def __init__(self, sink, place, epoch):
        self.acked, self.again = [], []
        self.claim = Claim(sink, place, epoch, lambda: None)

    def put(self, key):
        self.claim.append(key, encode(Person(), self.claim.epoch), self.acked.append)


async def claimed(sink, place):
    """One that has just claimed it."""
    return Claimant(sink, place, await claim(sink, place))


class ChangelogContract(ABC):
    @abstractmethod
    def broker(self) -> Broker: ...

    async def _read(self, broker, place, offset=None, upto=None):
        read = []

        async def begin(log):
            self.log = log
            return log.start if offset is None else offset

        async def apply(records):
            read.extend(records)

        async with asyncio.timeout(ANSWER_S):
            end = await broker.changelog().read(place, begin, apply, upto)
        return read, end

    async def test_every_record_below_the_end_is_applied_in_order(self):
        broker = self.broker()
        place = Partition(await broker.create("state", 2, is_compacted=True), 1)
        values = [str(number).encode() for number in range(12_000)]
        await write(broker, place, *values)
        read, end = await self._read(broker, place)
        assert [record.value for record in read] == values
        assert end == 12_000

    async def test_an_empty_partition_is_read_at_once(self):
        broker = self.broker()
        topic = await broker.create("state", 2, is_compacted=True)
        await write(broker, Partition(topic, 0), b"other")
        assert await self._read(broker, Partition(topic, 1)) == ([], 0)

    async def test_a_tombstone_is_applied(self):
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        await write(broker, place, b"one", None)
        read, _ = await self._read(broker, place)
        assert [record.value for record in read] == [b"one", None]

    async def test_two_reads_give_the_same(self):
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        await write(broker, place, b"one")
        first, _ = await self._read(broker, place)
        second, _ = await self._read(broker, place)
        assert [record.offset for record in first] == [record.offset for record in second] == [0]

    async def test_it_begins_where_it_is_told(self):
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        await write(broker, place, b"one", b"two", b"three")
        read, end = await self._read(broker, place, 2)
        assert ([record.value for record in read], end) == ([b"three"], 3)

    async def test_beginning_at_the_end_reads_nothing(self):
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        await write(broker, place, b"one")
        assert await self._read(broker, place, 1) == ([], 1)

    async def test_nothing_at_or_beyond_the_end_that_was_asked_for_is_given(self):
        """A restore must not see what lies behind its claim, nor a gap what its owner wrote after it."""
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        await write(broker, place, *(str(number).encode() for number in range(10)))
        read, end = await self._read(broker, place, 3, 6)
        assert ([record.offset for record in read], end) == ([3, 4, 5], 6)
        assert await self._read(broker, place, 4, 4) == ([], 4)

    async def test_a_claim_lies_behind_all_that_was_written_before_and_is_read_with_it(self):
        """Its offset is the epoch: a later one is higher, whoever makes it."""
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        async with writing(broker) as sink, writing(broker) as other:
            first = await claim(sink, place)
            other.append(place, b"u:1", b"a stranger's")
            await other.flush()
            second = await claim(other, place)
            read, end = await self._read(broker, place, first, second + 1)
        assert first < second == end - 1
        assert [record.key for record in read] == [CLAIM_KEY, b"u:1", CLAIM_KEY]

    async def test_of_two_owners_that_write_at_once_the_later_claimant_goes_on_and_the_other_is_stopped(self):
        """Nothing follows from what the first wrote behind the second's claim; and that is overruled."""
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        async with writing(broker) as sink, writing(broker) as other:
            first, second = await claimed(sink, place), await claimed(other, place)
            for number in range(20):
                for each in (first, second):
                    each.put(f"u:{number % 5}".encode())
                await asyncio.sleep(0)
            await sink.flush()
            await other.flush()
            for each in (first, second):
                await each.claim.fill_gaps(broker.changelog(), each.again.append)
        assert (first.claim.is_lost, len(first.acked)) == (True, 0)
        assert (second.claim.is_lost, len(second.acked)) == (False, 20)
        assert second.acked == sorted(second.acked)
        assert set(second.again) <= {f"u:{number}".encode() for number in range(5)}

    async def test_a_tombstone_bears_its_writers_epoch(self):
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        async with writing(broker) as sink:
            owner = await claimed(sink, place)
            owner.claim.append(b"u:1", None)
            await sink.flush()
        read, _ = await self._read(broker, place, owner.claim.epoch + 1)
        assert [(each.value, epoch_of(each.value, each.headers)) for each in read] == [(None, owner.claim.epoch)]

    async def test_who_follows_the_ends_is_given_every_record_once_and_never_waits_at_a_marker(self):
        """So a topic is followed outside any group; a marker, which ends a transaction, takes an offset too."""
        broker = self.broker()
        place = Partition(await broker.create("state", 1, is_compacted=True), 0)
        groups, values, position = broker.groups(), [], 0
        for written, is_committed, end in (([b"1", b"2"], True, 4), ([b"3"], False, 7), ([], True, 9)):
            await write(broker, place, *written)
            await broker.transact(place, b"in one", is_committed=is_committed)
            async with asyncio.timeout(ANSWER_S):  # the marker is written after the broker's answer
                while await groups.ends([place]) != {place: end}:
                    pass
            read, position = await self._read(broker, place, position, end)
            values += [record.value for record in read if record.value != b"in one"]
        assert (values, position) == ([b"1", b"2", b"3"], 9)
        await groups.close()

    async def test_it_says_which_log_it_reads(self):
        """A local copy is judged by it."""
        broker = self.broker()
        place = Partition(await broker.create("state", 2, is_compacted=True), 1)
        await write(broker, place, b"one", b"two")
        await self._read(broker, place)
        assert self.log.cluster
        assert self.log[1:] == (*place, 0, 2, 7 * 24 * 60 * 60 * 1000)


class GroupOffsetsContract(ABC):
    @abstractmethod
    def broker(self) -> Broker: ...

    async def _committed(self, broker, group, *topics):
        groups = broker.groups()
        try:
            return await groups.read(broker.named(group), topics)
        finally:
            await groups.close()

    async def test_what_a_member_commits_is_read_with_its_note(self):
        """And by the same client again, when it has changed."""
        broker = self.broker()
        topic = await broker.create("in", 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        for place in (first, second):
            await write(broker, place, b"one", b"two")
        groups = broker.groups()
        async with member(broker, topic) as reader:
            await reader.until(lambda: len(reader.read[first]) == len(reader.read[second]) == 2)
            assert await reader.source.commit({first: 1, second: 2}, {first: "t1:1700000000000"})
            found = await groups.read(broker.named("g"), [topic])
            assert found == {first: Committed(1, "t1:1700000000000"), second: Committed(2, "")}
            assert await reader.source.commit({second: 2}, {second: "é" * 1_000})
            assert await reader.source.commit({first: 1})
            found = await groups.read(broker.named("g"), [topic])
            assert found == {first: Committed(1, ""), second: Committed(2, "é" * 1_000)}
        await groups.close()

    async def test_what_was_committed_is_read_when_its_member_is_gone(self):
        """A router that is down has said how far it came."""
        broker = self.broker()
        topic = await broker.create("in", 1)
        place = Partition(topic, 0)
        await write(broker, place, b"one")
        async with member(broker, topic) as reader:
            await reader.until(lambda: reader.read[place])
            assert await reader.source.commit({place: 1}, {place: "t1:5"})
        assert await self._committed(broker, "g", topic) == {place: Committed(1, "t1:5")}

    async def test_a_group_that_committed_nothing_has_every_partition_with_nothing(self):
        """Left out, a partition that nobody reads yet would not count."""
        broker = self.broker()
        topic = await broker.create("in", 2)
        nothing = {Partition(topic, 0): None, Partition(topic, 1): None}
        assert await self._committed(broker, "stranger", topic) == nothing

    async def test_the_ends_are_those_of_the_moment(self):
        """What is asked for twice has moved on with what was written between."""
        broker = self.broker()
        topic = await broker.create("in", 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        groups = broker.groups()
        assert await groups.ends([first, second]) == {first: 0, second: 0}
        await write(broker, first, b"one", b"two")
        assert await groups.ends([first, second]) == {first: 2, second: 0}
        await broker.transact(second, b"aborted", is_committed=False)
        ends = {}
        async with asyncio.timeout(10):  # the marker that ends it is written after the broker's answer
            while ends != {second: 2}:
                ends = await groups.ends([second])
        await groups.close()

    async def test_a_topic_that_is_not_there_is_an_error(self):
        broker = self.broker()
        topic = await broker.create("in", 1)
        with pytest.raises(BrokerUnusable):
            await self._committed(broker, "g", topic, broker.named("absent"))

    async def test_it_may_be_closed_twice_and_before_it_was_used(self):
        groups = self.broker().groups()
        await groups.close()
        await groups.close()
