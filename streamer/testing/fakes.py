"""A fake behind each port, over one `MemoryLog` and a clock that the test moves.

Nothing here waits for real time: a fake goes on when the test tells it to, or at once in the loop's next turn.
`crash` makes a fake deaf: whatever its process still calls has no effect, as if the process were gone.
(The `memory` engine in `streamer.store` is a `StateStore` without Kafka or disk already: it needs no fake; those of
`SmsGateway` and `GroupOffsets` are in `fake_gateway` and `fake_groups`.)
"""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar

from streamer.errors import BrokerUnusable
from streamer.ports import AssignmentListener, End, Log, Partition, Record
from streamer.testing.memory_log import MemoryLog, MemoryRecord

ROUNDS_MAX: Final = 10_000  # a loop that isn't quiet after so many turns never will be
ALL: Final = sys.maxsize
RESTORE_RECORDS_MAX: Final = 7  # small, so that a restore takes several turns
CLUSTER: Final = "memory"
DELETE_RETENTION_MS: Final = 7 * 24 * 60 * 60 * 1000
EPOCH_MS: Final = 1_767_225_600_000  # where a ManualClock's wall time begins: 2026-01-01
T = TypeVar("T")


class ManualClock:
    """A `Clock` that stands still until the test advances it."""

    def __init__(self, start_ms: int = EPOCH_MS) -> None:
        self._start_ms = start_ms
        self._now_s = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        """Seconds advanced so far."""
        return self._now_s

    def now_ms(self) -> int:
        """Wall time, ms since the epoch."""
        return self._start_ms + round(self._now_s * 1000)

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been advanced by `seconds`."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self._now_s + seconds, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move the time on and wake, in order, whoever slept until then; they run in the loop's next turn."""
        self._now_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, woken = heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a ManualClock's, so that `asyncio.timeout` too waits for the test."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def time(self) -> float:
        """The clock's seconds."""
        return self._clock.now_s()


def run_manually(main: Coroutine[Any, Any, T], clock: ManualClock) -> T:
    """Run `main` on a loop of its own whose time is `clock`'s."""
    with asyncio.Runner(loop_factory=lambda: ManualLoop(clock)) as runner:
        return runner.run(main)


async def settle() -> None:
    """Let every other task run until none can go on without the test. Raises: RuntimeError, when that never comes."""
    ready: deque[Any] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # asyncio's own queue of turns
    for _ in range(ROUNDS_MAX):
        await asyncio.sleep(0)
        if not ready:
            return
    raise RuntimeError(f"the loop is still busy after {ROUNDS_MAX} turns")


class FakeSource:
    """A group member over a MemoryLog. `batch_max` bounds a poll further; `is_committing` False makes commits fail.

    `commit_turns` is how many turns of the loop a commit takes.
    `is_revoking` says that the listener is being told the end of its tenure.
    """

    def __init__(self, log: MemoryLog, group: str, topics: Iterable[str]) -> None:
        self.batch_max = ALL
        self.is_committing = True
        self.commit_turns = 1
        self.is_revoking = False
        self._log = log
        self._name = group
        self._group = log.group(group)
        self._topics = frozenset(topics)
        self._listener: AssignmentListener | None = None
        self._tasks = asyncio.TaskGroup()
        self._beat: asyncio.Task[None] | None = None
        self._generation = -1
        self._assigned: frozenset[Partition] = frozenset()
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, End] = {}
        self._paused: set[Partition] = set()
        self._revoking = asyncio.Lock()
        self._failure: Exception | None = None
        self._wake = asyncio.Event()
        self._is_nudged = False
        self._is_crashed = False

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; the listener is told in the loop's next turns."""
        self._listener = listener
        await self._tasks.__aenter__()
        self._log.append_watchers.append(self._appended)
        self._group.enter(self, self._topics)
        self._beat = self._tasks.create_task(self._follow(listener), name="fake_source.heartbeat")

    async def poll(self, records_max: int) -> Mapping[Partition, Sequence[Record]]:
        """The next records; waits in the fake until there may be some."""
        batches = self._fetch(min(records_max, self.batch_max))
        if not (batches or self._is_nudged):
            await self._wake.wait()
            batches = self._fetch(min(records_max, self.batch_max))
        self._is_nudged = False
        return batches

    async def committed(self, partition: Partition) -> int:
        """The committed offset, or the log's start where none is."""
        await asyncio.sleep(0)
        return self._group.committed.get(partition, self._log.start_offset(partition))

    def open(self, partition: Partition, offset: int) -> None:
        """Begin to fetch there. Nothing, if the tenure is over."""
        if partition in self._assigned:
            self._positions[partition] = offset
            self._paused.discard(partition)
            self._wake.set()

    def end(self, partition: Partition) -> End | None:
        """The end offset as of the last fetch, or None before one."""
        return self._ends.get(partition)

    def position(self, partition: Partition) -> int | None:
        """The next offset to fetch, or None where nothing is fetched."""
        return None if partition in self._paused else self._positions.get(partition)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching these."""
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these again."""
        self._paused.difference_update(partitions)
        self._wake.set()

    async def commit(self, offsets: Mapping[Partition, int], notes: Mapping[Partition, str] | None = None) -> bool:
        """Commit what of `offsets` is assigned. False: not all of it is, or the broker did not answer."""
        for _ in range(self.commit_turns):
            await asyncio.sleep(0)
        if self._is_crashed or not self.is_committing:
            return False
        held = {partition: offset for partition, offset in offsets.items() if partition in self._assigned}
        self._log.commit(self._name, held, notes or {})
        return len(held) == len(offsets)

    async def stop(self) -> None:
        """Leave the group. The listener's `on_revoked` runs first."""
        beat, self._beat = self._beat, None
        if beat is None:
            return
        if not self._is_crashed and self._listener is not None:
            await self._revoke(self._listener)
        self._go()
        beat.cancel()
        await self._tasks.__aexit__(None, None, None)

    def nudge(self) -> None:
        """Let the poll that waits, or else the next, return without records, as the real one does after a while."""
        self._is_nudged = True
        self._wake.set()

    def crash(self) -> None:
        """Its process is gone: nothing it calls has an effect any more, and its session has ended."""
        self._is_crashed = True
        self._go()

    def _is_leaving(self) -> bool:
        return self._is_crashed or self._beat is None

    def _go(self) -> None:
        self._group.leave(self)
        self._assigned = frozenset()
        self._positions.clear()
        if self._appended in self._log.append_watchers:
            self._log.append_watchers.remove(self._appended)

    async def _follow(self, listener: AssignmentListener) -> None:
        """What a group's coordinator does: rebalance whenever the generation moves on."""
        while True:
            await self._group.until(self._is_behind)
            if self._is_crashed:
                return
            await self._tell(self._revoke(listener))
            await self._rejoin()
            if self._is_leaving():
                return  # a tenure that begins while we leave is never told of
            await self._tell(listener.on_assigned(self._assigned))
            self._wake.set()

    def _is_behind(self) -> bool:
        return self._group.generation != self._generation

    async def _revoke(self, listener: AssignmentListener) -> None:
        async with self._revoking:  # leaving during a rebalance waits for its drain
            self.is_revoking = True
            try:
                await listener.on_revoked(self._assigned)
            finally:
                self.is_revoking = False

    async def _rejoin(self) -> None:
        """Join the newest generation and wait until everyone has."""
        while not self._is_crashed:
            self._generation = generation = self._group.generation
            self._group.join(self)

            def is_over(begun: int = generation) -> bool:
                return self._group.is_complete() or self._group.generation != begun

            await self._group.until(is_over)
            if self._group.generation == generation and not self._is_crashed:
                self._assigned = self._group.share(self)
                self._positions.clear()
                self._ends.clear()
                self._paused.clear()
                return

    async def _tell(self, callback: Coroutine[Any, Any, None]) -> None:
        """Await a listener's callback; as with the real client, what it raises is raised by the next poll."""
        try:
            await callback
        except Exception as error:  # noqa: BLE001  # the boundary to the listener: kept, and raised by the next poll
            self._failure = error
            self._wake.set()

    def _appended(self, record: MemoryRecord) -> None:
        if record[:2] in self._positions:
            self._wake.set()

    def _fetch(self, records_max: int) -> dict[Partition, list[MemoryRecord]]:
        self._wake.clear()
        if self._failure is not None:
            raise self._failure
        batches: dict[Partition, list[MemoryRecord]] = {}
        left = 0 if self._is_crashed else records_max
        for partition, position in sorted(self._positions.items(), key=lambda each: each[1]):  # none starves
            if partition in self._paused:
                continue
            if position < self._log.start_offset(partition):
                raise BrokerUnusable(f"offset {position} of {partition} is not on the broker any more")
            self._ends[partition] = self._log.end(partition)
            records = self._log.read(partition, position, left)
            if len(records) < left:
                self._positions[partition] = self._log.end_offset(partition)  # beyond may lie what nobody gets
            if records:
                batches[partition] = records
                left -= len(records)
                self._positions[partition] = max(self._positions[partition], records[-1].offset + 1)
        return batches


class _Item(NamedTuple):
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]] | None
    on_ack: Callable[[int], None] | None


class FakeSink:
    """A producer over a MemoryLog. `run` writes and acks by itself if `is_automatic`; else the test does, in two steps:
    `write` puts records into the log, `ack` tells their writer. Between them they are on the broker, and nobody knows.
    """

    def __init__(self, log: MemoryLog, *, is_automatic: bool = True) -> None:
        self._log = log
        self._is_automatic = is_automatic
        self._queued: dict[Partition, deque[_Item]] = {}
        self._written: dict[Partition, deque[tuple[_Item, int]]] = {}
        self._pending = 0
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._failure: BrokerUnusable | None = None
        self._is_over = False

    @property
    def records_pending(self) -> int:
        """Records appended and not yet acked."""
        return self._pending

    @property
    def bytes_pending(self) -> int:
        """Their keys and values."""
        return self._pending_bytes

    @property
    def queued(self) -> list[Partition]:
        """Partitions with records to `write`."""
        return [partition for partition, items in self._queued.items() if items]

    @property
    def written(self) -> list[Partition]:
        """Partitions with records to `ack`."""
        return [partition for partition, items in self._written.items() if items]

    def append(
        self,
        partition: Partition,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_ack: Callable[[int], None] | None = None,
    ) -> None:
        """Queue one record; `on_ack(offset)` runs once it is acked, never within this call."""
        if self._is_over:
            return
        self._queued.setdefault(partition, deque()).append(_Item(key, value, headers, on_ack))
        self._pending += 1
        self._pending_bytes += len(key) + len(value or b"")
        self._empty.clear()
        self._wake.set()

    def write(self, partition: Partition, records_max: int = ALL) -> None:
        """Put what is queued for a partition into the log, in order."""
        items, written = self._queued[partition], self._written.setdefault(partition, deque())
        for _ in range(min(records_max, len(items))):
            item = items.popleft()
            written.append((item, self._log.append(partition, item.key, item.value, item.headers)))

    def write_again(self, partition: Partition) -> None:
        """The producer was rebuilt: what was written and not acked is written a second time, in order."""
        again = deque(item for item, _ in self._written[partition])
        self._written[partition].clear()
        self._queued[partition].extendleft(reversed(again))
        self.write(partition, len(again))

    def ack(self, partition: Partition, records_max: int = ALL, *, is_offset_told: bool = True) -> None:
        """Acknowledge written records in order; without their offset (-1) if the broker does not tell."""
        written = self._written[partition]
        for _ in range(min(records_max, len(written))):
            item, offset = written.popleft()
            self._pending -= 1
            self._pending_bytes -= len(item.key) + len(item.value or b"")
            if item.on_ack is not None:
                item.on_ack(offset if is_offset_told else -1)
        if not self._pending:
            self._empty.set()

    async def run(self) -> None:
        """Until `stop`: write and ack what is appended, if automatic. Raises: what `fail` was given."""
        while not self._is_over:
            await self._wake.wait()
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            if self._is_automatic:
                for partition in self.queued:
                    self.write(partition)
                await asyncio.sleep(0)
                for partition in self.written:
                    self.ack(partition)

    async def flush(self) -> None:
        """Return when nothing is pending."""
        await self._empty.wait()

    async def stop(self) -> None:
        """End `run`; what is still pending is not written."""
        self._is_over = True
        self._wake.set()

    def fail(self, error: BrokerUnusable) -> None:
        """Have `run` raise."""
        self._failure = error
        self._wake.set()

    def crash(self, survivors: Callable[[int], int]) -> None:
        """Its process is gone: of n records queued for a partition the first `survivors(n)` still arrive, unacked."""
        for partition, items in self._queued.items():
            self.write(partition, survivors(len(items)))
        self._is_over = True


class FakeChangelog:
    """Reads one partition of a MemoryLog, a few records a turn, and counts them."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.records_read = 0

    async def read(
        self,
        partition: Partition,
        begin: Callable[[Log], Awaitable[int]],
        apply: Callable[[Sequence[Record]], Awaitable[None]],
        end: int | None = None,
    ) -> int:
        """Give every record from the offset that `begin` says to `apply`, in order; returns the end offset."""
        log_end = self._log.end_offset(partition)
        end = log_end if end is None else end
        start = self._log.start_offset(partition)
        position = await begin(Log(CLUSTER, *partition, start, log_end, DELETE_RETENTION_MS))
        while True:
            await asyncio.sleep(0)
            records = self._log.read(partition, position, RESTORE_RECORDS_MAX)
            below = [record for record in records if record.offset < end]
            if not below:
                return end
            self.records_read += len(below)
            await apply(below)
            position = below[-1].offset + 1
