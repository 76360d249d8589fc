"""The first stage, stateless: read any topic, check, correct the time, drop what nobody needs, hop to `by-user`.

An input offset is complete when the record it caused is acked; an irrelevant one as soon as it is read. A bad record
becomes one dead letter, and holds the commit back until that is written.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from streamer.core import records
from streamer.core.commit_tracker import CommitTracker
from streamer.core.frontier import encode_time
from streamer.core.identity import partition_of
from streamer.core.links import LatelyLinked
from streamer.core.routing import Routed, routed
from streamer.core.rules import RuleSet
from streamer.errors import BadRecord
from streamer.pipeline.committer import Passing
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.handled import HandledTimes
from streamer.ports import Clock, Partition, Record, RecordSink, RecordSource
from streamer.telemetry import PARTITIONS_OPEN, PARTITIONS_PAUSED, RECORDS_PENDING, RECORDS_READ, RECORDS_ROUTED, logger

POLL_RECORDS_MAX: Final = 500  # 400 KB, which a core's cache holds: 2 000 were 10 to 20 % slower
PENDING_HIGH: Final = 20_000  # records on their way to by-user: about 20 MB
PENDING_LOW: Final = 10_000
PENDING_BYTES_HIGH: Final = 64 * 1024 * 1024  # of them: an event may have 32 KB
PENDING_BYTES_LOW: Final = 32 * 1024 * 1024
DRAIN_S: Final = 3.0

log = logger(__name__)


@dataclass(frozen=True)
class RouterPlan:
    """What a router needs to know: the mappings, and where the next stage reads."""

    mappings: RuleSet
    by_user: str
    partitions: int


class Router:
    """One member of the router group. All methods run on one event loop; state changes without an await between."""

    def __init__(
        self, plan: RouterPlan, source: RecordSource, sink: RecordSink, letters: DeadLetters, clock: Clock
    ) -> None:
        self._plan = plan
        self._source = source
        self._sink = sink
        self._letters = letters
        self._clock = clock
        self._trackers: dict[Partition, CommitTracker] = {}
        self._lately = LatelyLinked()
        self._passing = Passing(source)
        self._read_up_to = HandledTimes(source, lambda end: end.as_of_ms, clock)
        self._is_paused = False
        self._opening: asyncio.Task[None] | None = None
        self._hops = [Partition(plan.by_user, number) for number in range(plan.partitions)]
        self.is_ready = False
        self.polled_s = clock.now_s()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain and leave the group. Raises: BrokerUnusable."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                pump = self._tasks.create_task(self._pump(), name="router.pump")
                await stop.wait()
                pump.cancel()  # it may be waiting to join, or for a rebalance to end
                if self._opening is not None:
                    self._opening.cancel()
                await self._source.stop()  # while tasks can still be made: until then a tenure may begin
        finally:
            await self._source.stop()

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """Open the partitions of a new tenure."""
        self._trackers = {}
        self._lately.clear()
        self._is_paused = False
        self._opening = self._tasks.create_task(self._open(partitions), name="router.open")

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Stop intake, wait for what is on its way, commit once, let go."""
        if self._opening is not None:
            self._opening.cancel()
        trackers, self._trackers = self._trackers, {}
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._sink.flush()
        except TimeoutError:
            log.warning("router.drain_timeout", pending=self._sink.records_pending)  # they will be read again
        marks = {place: tracker.low_water_mark() for place, tracker in trackers.items()}
        is_committed = await self._source.commit(marks, self._notes(trackers))
        if trackers:
            log.info("router.revoked", partitions=len(partitions), committed=is_committed)

    def positions(self) -> dict[Partition, int]:
        """What may be committed, per partition."""
        return {place: tracker.low_water_mark() for place, tracker in self._trackers.items()}

    def notes(self) -> dict[Partition, str]:
        """The time before which everything that came is in `by-user`, per partition where it is known."""
        return self._notes(self._trackers)

    def _notes(self, trackers: dict[Partition, CommitTracker]) -> dict[Partition, str]:
        times = {place: self._read_up_to.reach(tracker) for place, tracker in trackers.items()}
        return {place: encode_time(ms) for place, ms in times.items() if ms}

    def observe(self) -> None:
        """Set the gauges."""
        PARTITIONS_OPEN.labels("router").set(len(self._trackers))
        PARTITIONS_PAUSED.labels("router").set(len(self._trackers) if self._is_paused else 0)
        RECORDS_PENDING.labels("hop").set(self._sink.records_pending)

    async def _open(self, partitions: frozenset[Partition]) -> None:
        trackers = self._trackers
        for place in sorted(partitions):
            position = await self._source.committed(place)
            if trackers is not self._trackers:
                return  # the tenure ended meanwhile
            trackers[place] = CommitTracker(position)
            self._source.open(place, position)
            if self._is_paused:
                self._source.pause([place])
        self.is_ready = True
        log.info("router.assigned", partitions=len(trackers))

    async def _pump(self) -> None:
        await self._source.start(self)
        while True:
            await self._turn()

    async def _turn(self) -> None:
        batches = await self._source.poll(POLL_RECORDS_MAX)
        self.polled_s = self._clock.now_s()
        for place, batch in batches.items():
            tracker = self._trackers.get(place)
            if tracker is not None:
                self._route(tracker, batch)
        self._passing.look(self._trackers.items(), self.polled_s)
        self._read_up_to.look(self._trackers.items(), self.polled_s)
        self._regulate()

    def _regulate(self) -> None:
        """Backpressure: pause on the high mark, resume on the low one; pausing drops what was prefetched."""
        pending, pending_bytes = self._sink.records_pending, self._sink.bytes_pending
        if not self._is_paused and (pending > PENDING_HIGH or pending_bytes > PENDING_BYTES_HIGH):
            self._is_paused = True
            self._source.pause(self._trackers)
        elif self._is_paused and pending < PENDING_LOW and pending_bytes < PENDING_BYTES_LOW:
            self._is_paused = False
            self._source.resume(self._trackers)

    def _route(self, tracker: CommitTracker, batch: Sequence[Record]) -> None:
        """The hot path: an irrelevant event costs its slim decode and one look-up."""
        slim, rules, lately = records.slim, self._plan.mappings, self._lately
        dead = forwarded = 0
        for record in batch:
            try:
                event = slim(record.value)
                value = record.value
                assert value is not None  # slim refused it otherwise
                hops = routed(event, value, record, rules, lately)
                if hops:
                    forwarded += 1
                    tracker.track(record.offset)
                    self._forward(tracker, record.offset, hops)
            except BadRecord as bad:
                dead += 1
                tracker.track(record.offset)
                self._letters.put(record, bad, partial(self._resolved, tracker, record.offset))
        tracker.advance(batch[-1].offset + 1)
        RECORDS_READ.labels("router").inc(len(batch))
        RECORDS_ROUTED.labels("forwarded").inc(forwarded)
        RECORDS_ROUTED.labels("dead_letter").inc(dead)
        RECORDS_ROUTED.labels("irrelevant").inc(len(batch) - forwarded - dead)

    def _forward(self, tracker: CommitTracker, offset: int, hops: Sequence[Routed]) -> None:
        """Send on what an input record became; it is complete once all of it is acked."""
        left = len(hops)

        def acked(_at: int) -> None:
            nonlocal left
            left -= 1
            if not left:
                tracker.resolve(offset)

        for hop in hops:
            place = self._hops[partition_of(hop.key, self._plan.partitions)]
            self._sink.append(place, hop.key, hop.value, hop.headers, acked)

    @staticmethod
    def _resolved(tracker: CommitTracker, offset: int, _acked_at: int) -> None:
        tracker.resolve(offset)
