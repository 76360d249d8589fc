"""Reading Kafka: a group member behind the `RecordSource` port, and a changelog reader outside any group.

Limits of aiokafka 0.14 met here: the assigned callback gates nothing, so it pauses everything and returns; each
rebalance forgets pauses and positions, so every tenure opens its partitions anew; `commit` retries for ever, so it is
bounded; `stop` does not call the revoked callback, so this does.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told
from streamer.kafka.topics import describe_changelog
from streamer.ports import AssignmentListener, End, Log, Partition, Record

POLL_TIMEOUT_MS: Final = 200
UNOPENED_PAUSE_S: Final = 0.05
STOP_S: Final = 5.0  # to leave the group; with the broker away it never ends
COMMIT_TIMEOUT_S: Final = 5.0
WATCH_EVERY_S: Final = 0.1  # how exactly an answered fetch is dated; a look costs 1 µs a partition
REBALANCE_TIMEOUT_MS: Final = 45_000  # drain (3 s), flush and commit must end within it; aiokafka's default is 10 s
RESTORE_RECORDS_MAX: Final = 5_000  # a turn of the loop; 5 000 records of 300 B take about 15 ms to decode
RESTORE_FETCH_BYTES: Final = 4 * 1024 * 1024


class _Moment(NamedTuple):
    s: float = 0.0
    ms: int = 0


class _Answer(NamedTuple):
    """The last answered fetch that was seen of a partition: aiokafka's time of it, and one before it was asked for.

    `next_asked` is a moment before the fetch after it was asked for.
    """

    told_ms: int
    asked: _Moment
    next_asked: _Moment


class GroupSource:
    """One member of one consumer group, reading `topics`.

    `connection` holds aiokafka's own connection and security arguments.
    """

    def __init__(
        self, topics: Iterable[str], group: str, connection: Mapping[str, Any], session_timeout_s: float
    ) -> None:
        self._topics = tuple(topics)
        self._rebalance: _Rebalance | None = None
        self._is_stopped = False
        self._watched = _Moment()
        self._answers: dict[TopicPartition, _Answer] = {}
        self._consumer = AIOKafkaConsumer(
            **connection,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=int(session_timeout_s * 1000),
            heartbeat_interval_ms=int(session_timeout_s * 1000 / 4),
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_partition_fetch_bytes=1024 * 1024,
            isolation_level="read_committed",  # what a producer took back is not sent
        )

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group. Raises: BrokerUnusable."""
        self._rebalance = _Rebalance(self._consumer, listener)
        self._consumer.subscribe(topics=self._topics, listener=self._rebalance)
        try:
            await self._consumer.start()
        except KafkaError as error:
            raise BrokerUnusable(f"cannot join a consumer group: {told(error)}") from error

    async def poll(self, records_max: int) -> Mapping[Partition, Sequence[Record]]:
        """The next records, perhaps none. Raises: BrokerUnusable when the offsets to read are gone."""
        if self._rebalance is not None and self._rebalance.failure is not None:
            raise self._rebalance.failure
        try:
            batches: Mapping[Any, Sequence[Record]] = await self._consumer.getmany(
                timeout_ms=POLL_TIMEOUT_MS, max_records=records_max
            )
        except NoOffsetForPartitionError:
            await asyncio.sleep(UNOPENED_PAUSE_S)  # a partition added later: nothing is lost, `open` seeks its start
            return {}
        except OffsetOutOfRangeError as error:
            raise BrokerUnusable(
                f"the committed offset is not on the broker any more: {told(error)}; records were deleted before they"
                " were read. Raise the topic's retention, then set the group's offsets by hand where to go on"
            ) from error
        except KafkaError as error:
            raise BrokerUnusable(f"cannot read: {told(error)}") from error
        self._watch()
        return batches

    async def committed(self, partition: Partition) -> int:
        """The committed offset, or the log's start where none is. Raises: BrokerUnusable."""
        place = TopicPartition(*partition)
        try:
            offset = await self._consumer.committed(place)
            if offset is None:
                offset = (await self._consumer.beginning_offsets([place]))[place]
        except KafkaError as error:
            raise BrokerUnusable(
                f"the offsets of {place.topic}/{place.partition} can't be read: {told(error)}"
            ) from error
        return int(offset)

    def open(self, partition: Partition, offset: int) -> None:
        """Begin to fetch there. Nothing, if the tenure is over."""
        for place in self._held([partition]):
            self._consumer.seek(place, offset)
            self._consumer.resume(place)

    def end(self, partition: Partition) -> End | None:
        """The broker's end offset as of the last fetch, up to where it can be read; or None before one.

        That is where the first open transaction begins, if there is one. The moment is at most about a second old on an
        idle partition: one before its last fetch was asked for, however long the answer took.
        """
        if partition not in self._consumer.assignment():
            return None
        place = TopicPartition(*partition)
        stable: int | None = self._consumer.last_stable_offset(place)
        end: int | None = self._consumer.highwater(place)
        if end is None:
            return None
        answer, as_of = self._answers.get(place), _Moment()
        if answer is not None:
            is_seen = answer.told_ms == self._consumer.last_poll_timestamp(place)
            as_of = answer.asked if is_seen else answer.next_asked
        return End(end if stable is None or stable < 0 else stable, as_of.s, as_of.ms)

    def _watch(self) -> None:
        """Notice which fetches have been answered since the last look.

        aiokafka doesn't say when it asked for what it got; but a partition's next fetch leaves only after the answer of
        the one before, so a look that had not seen that answer yet was earlier. A leader that changes with a fetch
        under way is the exception; its answer is an error then, which moves no end.
        """
        now = _Moment(time.monotonic(), time.time_ns() // 1_000_000)
        if now.s - self._watched.s < WATCH_EVERY_S:
            return
        before, self._watched = self._watched, now
        answers: dict[TopicPartition, _Answer] = {}
        for place in self._consumer.assignment():
            answer, told_ms = self._answers.get(place), self._consumer.last_poll_timestamp(place)
            if told_ms is not None and (answer is None or answer.told_ms != told_ms):
                answer = _Answer(told_ms, answer.next_asked if answer else _Moment(), before)
            if answer is not None:
                answers[place] = answer
        self._answers = answers

    def position(self, partition: Partition) -> int | None:
        """The next offset to fetch, or None where nothing is fetched; 0.5 µs.

        aiokafka's own `position` is a coroutine that waits where there is none, so this looks at what it would say.
        """
        assigned = self._consumer._subscription.subscription
        if partition not in self._consumer.assignment() or assigned is None:
            return None
        state = assigned.assignment.state_value(TopicPartition(*partition))
        return state.position if state.has_valid_position and not state.paused else None

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching these; what was fetched and not polled is dropped and read again."""
        self._consumer.pause(*self._held(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these again."""
        self._consumer.resume(*self._held(partitions))

    async def commit(self, offsets: Mapping[Partition, int], notes: Mapping[Partition, str] | None = None) -> bool:
        """Commit the next offsets to read. False: the tenure is over, or the broker did not answer in time."""
        if self._is_stopped:  # the broker would take it from a group without members, whoever reads by now
            return False
        assigned = self._consumer.assignment()
        held = {
            TopicPartition(*partition): OffsetAndMetadata(offset, (notes or {}).get(partition, ""))
            for partition, offset in offsets.items()
            if partition in assigned
        }
        if not held:
            return not offsets
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._consumer.commit(held)
        except (KafkaError, TimeoutError):
            return False
        return len(held) == len(offsets)

    async def stop(self) -> None:
        """Leave the group. The listener's `on_revoked` runs first."""
        rebalance, self._rebalance = self._rebalance, None
        if rebalance is not None:
            rebalance.is_closed = True
            await rebalance.on_partitions_revoked(self._consumer.assignment())
            self._is_stopped = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._consumer.stop()

    def _held(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        """Those of `partitions` that a rebalance has not taken meanwhile."""
        assigned = self._consumer.assignment()
        return [TopicPartition(*partition) for partition in partitions if partition in assigned]


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka's base class is untyped
    """Passes tenures on. aiokafka swallows what its callbacks raise, so the next poll raises it."""

    def __init__(self, consumer: AIOKafkaConsumer, listener: AssignmentListener) -> None:
        self._consumer = consumer
        self._listener = listener
        self.failure: BaseException | None = None
        self.is_closed = False  # a tenure that begins while we leave is never told of
        self._revoking = asyncio.Lock()  # leaving during a rebalance waits for its drain instead of cutting it off

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        try:
            async with self._revoking:
                await self._listener.on_revoked(_partitions(revoked))
        except Exception as error:  # noqa: BLE001  # the boundary to aiokafka: kept, and raised by the next poll
            self.failure = error

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        if self.is_closed:
            return
        try:
            await self._listener.on_assigned(_partitions(assigned))
        except Exception as error:  # noqa: BLE001  # the boundary to aiokafka: kept, and raised by the next poll
            self.failure = error


def _partitions(places: Iterable[TopicPartition]) -> frozenset[Partition]:
    return frozenset(Partition(place.topic, place.partition) for place in places)


class ChangelogReader:
    """Reads compacted partitions, each with a consumer of its own that belongs to no group.

    The cluster's id and the topic's configuration are asked once.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._connection = connection
        self._described: dict[str, tuple[str, int]] = {}  # topic to cluster id and delete.retention.ms
        self._describing = asyncio.Lock()

    async def read(
        self,
        partition: Partition,
        begin: Callable[[Log], Awaitable[int]],
        apply: Callable[[Sequence[Record]], Awaitable[None]],
        end: int | None = None,
    ) -> int:
        """Give every record from the offset that `begin` says to `apply`, in order; returns the end offset.

        That is the log's of this moment, or `end`. Raises: BrokerUnusable.
        """
        place = TopicPartition(*partition)
        cluster, delete_retention_ms = await self._describe(partition.topic)
        consumer = AIOKafkaConsumer(
            **self._connection,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=RESTORE_FETCH_BYTES,
        )
        try:
            await consumer.start()
            consumer.assign([place])
            log_end: int = (await consumer.end_offsets([place]))[place]
            end = log_end if end is None else end
            start: int = (await consumer.beginning_offsets([place]))[place]
            consumer.seek(place, await begin(Log(cluster, *partition, start, max(end, log_end), delete_retention_ms)))
            while await consumer.position(place) < end:
                batches = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=RESTORE_RECORDS_MAX)
                for records in batches.values():
                    if (
                        below := records
                        if records[-1].offset < end
                        else [each for each in records if each.offset < end]
                    ):
                        await apply(below)
        except KafkaError as error:
            raise BrokerUnusable(f"{place.topic}/{place.partition} can't be restored: {told(error)}") from error
        finally:
            await consumer.stop()
        return end

    async def _describe(self, topic: str) -> tuple[str, int]:
        async with self._describing:
            if topic not in self._described:
                self._described[topic] = await describe_changelog(self._connection, topic)
            return self._described[topic]
