"""The second stage: the single writer of its partitions' people.

A tenure goes: assigned (everything closed) → claim → restore → open → records, timers, sends → revoked: drain, commit,
let go. One that finds its claim lost closes its partition at once, and claims it anew if the group says it is ours.
Backpressure is by partition, so that one partition's busy person pauses only that partition; the pump keeps polling.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from streamer.core.identity import home_of
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.claims import claim
from streamer.pipeline.committer import Passing
from streamer.pipeline.dispatch import TICK_S
from streamer.pipeline.handled import HandledTimes, InputsTime
from streamer.pipeline.lane import Services
from streamer.pipeline.restore import Progress, Restore
from streamer.pipeline.suppressions import SuppressionReader
from streamer.ports import Changelog, Partition, RecordSource
from streamer.telemetry import (
    CLAIMS_LOST,
    HANDLED_BEHIND,
    PARTITIONS_OPEN,
    PARTITIONS_PAUSED,
    PEOPLE,
    PEOPLE_WAITING,
    RECORDS_PENDING,
    RECORDS_READ,
    RECORDS_TO_RESTORE,
    RECORDS_WAITING,
    SENDS_HELD,
    logger,
)

POLL_RECORDS_MAX: Final = 100  # 3 ms of decisions, so that answers and acks are not kept waiting; 500 were 5 % slower
WAITING_MAX: Final = 32_768  # records in memory over all partitions: about 50 MB
WAITING_MIN: Final = 256  # and of one partition at least, however many there are
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024  # of their values: an event may have 32 KB
WAITING_BYTES_MIN: Final = 1024 * 1024  # alike
RESUME_SHARE: Final = 0.6  # resume well below the mark: pausing drops what was prefetched
RESTORES_MAX: Final = 4  # partitions restored at a time
REVOKE_DRAIN_S: Final = 3.0
FLUSH_S: Final = 3.0  # more, and a broker that acks nothing would hold up the group's rebalance
SAVE_EVERY_S: Final = 1.0  # the lmdb engine flushes as often, and holds what came since in memory
CLOSE_S: Final = 10.0  # of a rebalance's 45 s: the store's files are synced and closed
SAY_EVERY_S: Final = 5.0  # how far a restore is
MEMBER_EVERY_S: Final = 1.0  # how often one whose claim was lost asks whether the partition is its own

log = logger(__name__)


@dataclass(frozen=True)
class OwnerPlan:
    """Which topic an owner reads, and how long requests may take to end when the process stops."""

    by_user: str
    stop_drain_s: float


class Owner:
    """One member of the owner group. All methods run on one event loop; state changes without an await between."""

    def __init__(
        self,
        plan: OwnerPlan,
        source: RecordSource,
        changelog: Changelog,
        inputs: InputsTime,
        services: Services,
        suppressions: SuppressionReader,
    ) -> None:
        self._plan = plan
        self._source = source
        self._changelog = changelog
        self._services = services
        self._assignments: dict[Partition, Assignment] = {}
        self._passing = Passing(source)
        self._inputs = inputs
        self._suppressions = suppressions
        self._handled = HandledTimes(source, lambda end: inputs.read_before(end.as_of_s), services.clock)
        self._paused: set[Partition] = set()
        self._restores = asyncio.Semaphore(RESTORES_MAX)
        self._opening: list[asyncio.Task[None]] = []
        self._filling: set[asyncio.Task[None]] = set()  # of gaps that others left in our changelogs
        self._drain_s = REVOKE_DRAIN_S
        self._tenure = 0
        self._unopened = 0
        self._was_assigned = False
        self._said_s = services.clock.now_s()
        self.progress = Progress()
        self.polled_s = services.clock.now_s()

    @property
    def is_ready(self) -> bool:
        """Assigned, and every partition restored and open."""
        return self._was_assigned and not self._unopened

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain, leave the group and save the store. Raises: BrokerUnusable; StoreUnusable."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                senders = [
                    self._tasks.create_task(dispatcher.run(), name=f"senders.{account}")
                    for account, dispatcher in self._services.dispatchers.items()
                ]
                timers = self._tasks.create_task(self._release_held(), name="owner.timers")
                inputs = self._tasks.create_task(self._inputs.run(), name="owner.inputs_time")
                suppressions = self._tasks.create_task(self._suppressions.run(), name="owner.suppressions")
                saver = self._tasks.create_task(self._save(), name="owner.saver")
                pump = self._tasks.create_task(self._pump(), name="owner.pump")
                await stop.wait()
                pump.cancel()  # it may be waiting to join, or for a rebalance to end
                self._drain_s = self._plan.stop_drain_s
                await self._source.stop()
                for task in (timers, inputs, suppressions, saver, *senders):
                    task.cancel()
        finally:
            await self._source.stop()
            await self._services.store.stop()

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """Begin to restore the partitions of a new tenure."""
        self._tenure += 1
        self._services.lease.begin(self._services.clock.now_s())
        self._was_assigned = True
        self._unopened = len(partitions)
        self._opening = [
            self._tasks.create_task(self._open(place, self._tenure), name=f"owner.open.{place.partition}")
            for place in sorted(partitions)
        ]

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Start nothing, give requests in flight their time, flush, commit once, let go."""
        self._services.lease.fall()
        self._tenure += 1
        self._was_assigned = False
        for opening in self._opening:
            opening.cancel()  # the next tenure fills the same store: a slower one would bring older records back
        assignments, self._assignments = self._assignments, {}
        self._share()
        self._paused.clear()
        try:
            async with asyncio.timeout(self._drain_s), asyncio.TaskGroup() as drains:
                for assignment in assignments.values():
                    drains.create_task(assignment.drain(), name=f"owner.drain.{assignment.partition}")
        except TimeoutError:
            log.warning("owner.drain_timeout")  # the next owner finds their postings, and calls them unknown
        marks = {p: each.tracker.low_water_mark() for p, each in assignments.items() if not each.claim.is_lost}
        for assignment in assignments.values():
            assignment.close()  # before the commit: nothing is written or published once its offset may move on
        for filling in list(self._filling):
            filling.cancel()
        await self._flush_state()
        is_committed = await self._source.commit(marks)
        await self._close_stores(partitions, assignments)
        if assignments:
            log.info("owner.revoked", partitions=len(partitions), committed=is_committed)

    async def _close_stores(self, partitions: frozenset[Partition], assignments: dict[Partition, Assignment]) -> None:
        """Let go the partitions' stores, those that are not restored too; what takes too long ends in its thread."""
        store = self._services.store
        try:
            async with asyncio.timeout(CLOSE_S), asyncio.TaskGroup() as closing:
                for place in sorted(partitions):
                    assignment = assignments.get(place)
                    offset = None if assignment is None else assignment.settled_offset()
                    name = f"owner.close.{place.partition}"
                    closing.create_task(store.close(place.partition, offset), name=name)
        except TimeoutError:
            log.warning("owner.close_timeout")

    def _share(self) -> None:
        """Tell the dispatchers how much of every limit is ours now."""
        owned, total = {place.partition for place in self._assignments}, self._services.partitions
        at_home = {sender for sender in self._services.lone_senders if home_of(sender, total) in owned}
        for dispatcher in self._services.dispatchers.values():
            dispatcher.share(len(owned), total, at_home)

    async def _flush_state(self) -> None:
        """Wait for the writes of a drain that was cut off: the next owner must not restore before them."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._services.state_sink.flush()
        except TimeoutError:
            log.warning("owner.flush_timeout", pending=self._services.state_sink.records_pending)

    def positions(self) -> dict[Partition, int]:
        """What may be committed, per partition; also has each assignment note what is published."""
        for assignment in self._assignments.values():
            assignment.write_checkpoint()
        return {place: each.tracker.low_water_mark() for place, each in self._assignments.items()}

    def notes(self) -> dict[Partition, str]:
        """Nothing: nobody asks how far an owner is."""
        return {}

    def observe(self) -> None:
        """Set the gauges."""
        store = self._services.store
        PARTITIONS_OPEN.labels("owner").set(len(self._assignments))
        PARTITIONS_PAUSED.labels("owner").set(len(self._paused))
        PEOPLE.set(sum(store.count(place.partition) - 1 for place in self._assignments))  # one of them is the claim
        RECORDS_TO_RESTORE.set(self.progress.left)
        self._say_progress()
        RECORDS_WAITING.set(sum(each.tracker.in_flight for each in self._assignments.values()))
        SENDS_HELD.set(sum(len(each.held) for each in self._assignments.values()))
        PEOPLE_WAITING.set(sum(len(each.wheel) for each in self._assignments.values()))
        RECORDS_PENDING.labels("state").set(self._services.state_sink.records_pending)
        self._suppressions.observe()
        HANDLED_BEHIND.labels("inputs").set(self._inputs.behind_s())
        HANDLED_BEHIND.labels("owner").set(self._handled.behind_s())
        RECORDS_PENDING.labels("deliveries").set(self._services.event_sink.records_pending)
        for dispatcher in self._services.dispatchers.values():
            dispatcher.observe()

    async def _open(self, place: Partition, tenure: int) -> None:
        """Restore one partition, then read it; gives up quietly if the tenure ends meanwhile."""
        async with self._restores:
            if tenure != self._tenure:
                return
            began_s = self._services.clock.now_s()
            changelog = Partition(self._services.state_topic, place.partition)
            epoch = await claim(self._services.state_sink, changelog)
            restore = Restore(self._changelog, self._services.store, changelog, epoch, self.progress)
            await restore.load()
        if tenure != self._tenure:
            return
        position = await self._source.committed(place)
        if tenure != self._tenure:
            return
        await self._renew(place, position)
        if tenure != self._tenure:
            return
        assignment = Assignment(place.partition, self._services, position, epoch, partial(self._fill, place))
        self._assignments[place] = assignment
        self._share()
        resumed = await restore.resume(assignment)
        if tenure != self._tenure:
            return
        self._source.open(place, position)
        self._unopened -= 1
        took_s = round(self._services.clock.now_s() - began_s, 3)
        log.info(
            "owner.restored",
            partition=place.partition,
            read_from=restore.begun,
            read_to=restore.end,
            resumed=resumed,
            seconds=took_s,
        )

    async def _renew(self, place: Partition, committed: int) -> bool:
        """Have the lease begin before the next commit does: by one that moves nothing. False: it was refused."""
        asked_s = self._services.clock.now_s()
        is_member = await self._source.commit({place: committed})
        if is_member:
            self._services.lease.renew(asked_s)
        return is_member

    def _fill(self, place: Partition, assignment: Assignment) -> None:
        """Somebody else was seen to write to our changelog."""
        filling = self._tasks.create_task(self._fill_gaps(place, assignment), name=f"owner.gap.{place.partition}")
        self._filling.add(filling)
        filling.add_done_callback(self._filling.discard)

    async def _fill_gaps(self, place: Partition, assignment: Assignment) -> None:
        await assignment.claim.fill_gaps(self._changelog, assignment.write_again)
        if assignment.claim.is_lost:
            CLAIMS_LOST.inc()
            log.warning("owner.claim_lost", partition=place.partition, epoch=assignment.claim.epoch)
            assignment.close()
            if self._assignments.get(place) is assignment:
                self._close_lost(place)

    def _close_lost(self, place: Partition) -> None:
        """Let a partition go that somebody else claimed; and have it back, should that be who had lost it."""
        del self._assignments[place]
        self._share()
        self._source.pause([place])
        self._paused.discard(place)
        self._unopened += 1
        reopening = self._tasks.create_task(self._reopen(place, self._tenure), name=f"owner.open.{place.partition}")
        self._opening.append(reopening)

    async def _reopen(self, place: Partition, tenure: int) -> None:
        """Claim a partition anew once the group has said after the loss that it is ours; else the tenure ends soon."""
        await self._services.store.close(place.partition, None)
        while tenure == self._tenure and not await self._renew(place, await self._source.committed(place)):
            await self._services.clock.sleep(MEMBER_EVERY_S)
        await self._open(place, tenure)

    async def _pump(self) -> None:
        await self._source.start(self)
        while True:
            await self._turn()

    async def _turn(self) -> None:
        batches = await self._source.poll(POLL_RECORDS_MAX)
        self.polled_s = self._services.clock.now_s()
        for place, records in batches.items():
            assignment = self._assignments.get(place)
            if assignment is not None:
                RECORDS_READ.labels("owner").inc(len(records))
                assignment.accept(records)
        trackers = [(place, each.tracker) for place, each in self._assignments.items()]
        self._passing.look(trackers, self.polled_s)
        self._handled.look(trackers, self.polled_s)
        self._regulate()

    def _regulate(self) -> None:
        share = max(1, len(self._assignments))
        high, bytes_high = max(WAITING_MIN, WAITING_MAX // share), max(WAITING_BYTES_MIN, WAITING_BYTES_MAX // share)
        filled = {
            place: max(each.tracker.in_flight / high, each.tracker.bytes_in_flight / bytes_high, each.crowd_share())
            for place, each in self._assignments.items()
        }
        full = {place for place, part in filled.items() if part > 1}
        if full - self._paused:
            self._source.pause(full - self._paused)
        roomy = {place for place in self._paused if filled[place] < RESUME_SHARE}
        if roomy:
            self._source.resume(roomy)
        self._paused = (self._paused | full) - roomy

    async def _save(self) -> None:
        while True:
            await self._services.clock.sleep(SAVE_EVERY_S)
            offsets = {place.partition: each.settled_offset() for place, each in self._assignments.items()}
            await self._services.store.save(offsets)

    def _say_progress(self) -> None:
        """Log how far the restores are, now and then."""
        progress, now_s = self.progress, self._services.clock.now_s()
        if progress.left > 0 and now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            percent = (progress.total - progress.left) * 100 // progress.total
            log.info("owner.restoring", percent=percent, unrestored=progress.left)

    async def _release_held(self) -> None:
        while True:
            await self._services.clock.sleep(TICK_S)
            for assignment in list(self._assignments.values()):
                assignment.handled_ms = self._handled.reach(assignment.tracker)
                assignment.tick()
            for dispatcher in self._services.dispatchers.values():
                dispatcher.tick()
