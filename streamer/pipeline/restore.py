"""Restore: a partition's changelog over its local copy, and the list of people with something left to do.

Runs before the partition's first record is handled, up to and with the tenure's own claim. Of each key the record of
the highest epoch counts, and of those the last: one of a lower epoch is of a process that had lost the partition.
Bounded by the people of the partition.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from streamer.core.identity import RESERVED
from streamer.core.state import (
    CHECKPOINT_KEY,
    CLAIM_KEY,
    decode_checkpoint,
    decode_claim,
    encode_claim,
    epoch_of,
    owes,
    timer_ms,
    waits,
)
from streamer.pipeline.assignment import Assignment
from streamer.ports import Changelog, Log, Partition, Record, StateStore
from streamer.telemetry import PARTITIONS_RESTORING, RECORDS_FENCED, RESTORED, logger

COPIED_TURN: Final = 5_000  # keys of a copy looked up in one turn: 10 ms of lmdb
RESUME_TURN: Final = 200  # people taken up in one turn of the loop: about 10 ms
COPIED: Final = -1  # the state offset of a record that only the local copy has: below every other

log = logger(__name__)


class Progress:
    """How far the restores of one process are, in offsets of the changelog; `total` begins anew once all are done."""

    def __init__(self) -> None:
        self.total = 0
        self.left = 0

    def begin(self, count: int) -> None:
        """A partition has `count` offsets to read."""
        self.total = count + (self.total if self.left else 0)
        self.left += count

    def advance(self, count: int) -> None:
        """So many of them are read, or will not be."""
        self.left -= count


class Restore:
    """One partition's restore: `load` the changelog, then `resume` what its people had left to do."""

    def __init__(
        self,
        changelog: Changelog,
        store: StateStore,
        partition: Partition,
        epoch: int,
        progress: Progress | None = None,
    ) -> None:
        self._changelog = changelog
        self._store = store
        self._partition = partition
        self._epoch = epoch
        self._progress = progress or Progress()
        self._waiting: dict[bytes, int] = {}  # key to state offset: something waits in the record
        self._owing: dict[bytes, int] = {}  # key to state offset: outcomes to publish
        self._timers: dict[bytes, int] = {}  # key to when it is to be looked at
        self._copied: set[bytes] = set()  # keys with something left to do, of which only the local copy knows
        self._deleted: dict[bytes, int] = {}  # key to its tombstone's epoch, of those read
        self._overruled: dict[bytes, None] = {}  # keys whose last record is not the one that counts
        self._checkpoint = 0
        self._copy_epoch = 0  # of whom a local copy has no record, its owner had none
        self._highest = 0  # no epoch above it has been seen
        self._left = 0
        self._position = 0
        self.begun = 0  # the changelog was read from here on
        self.end = epoch + 1

    async def load(self) -> None:
        """Read the changelog from the local copy's offset up to and with the claim.

        Raises: BrokerUnusable; StoreUnusable.
        """
        number = self._partition.partition
        with PARTITIONS_RESTORING.track_inprogress():
            try:
                await self._changelog.read(self._partition, self._begin, self._apply, self.end)
                # Last: a copy whose first restore did not end has an older claim, or none.
                await self._store.fill(number, [(CLAIM_KEY, encode_claim(max(self._epoch, self._copy_epoch)))])
            finally:
                self._progress.advance(self._left)

    async def resume(self, assignment: Assignment) -> int:
        """Hand every person with something left to do to the assignment, oldest record first; returns how many.

        The partition is opened only after it, so no event overtakes what its person had left to do. Stops where the
        assignment drains: the rest is left to the next owner. What only the copy has lies below its offset, so its
        outcomes are published.
        """
        owing = {key: at for key, at in self._owing.items() if at >= self._checkpoint}
        for at in sorted(owing.values()):
            assignment.owe(at)
        for key, due_ms in self._timers.items():
            assignment.remind(key, due_ms)
        todo = dict.fromkeys(await self._take_up_copied(assignment), COPIED) | owing | self._waiting
        resumed = 0
        for number, (key, at) in enumerate(sorted(todo.items(), key=lambda item: item[1])):
            if number % RESUME_TURN == 0:
                await asyncio.sleep(0)  # heartbeats share the loop
            if assignment.is_draining:
                break
            assignment.recover(key, at, is_published=at < self._checkpoint)
            resumed += 1
        self._write_again(assignment)
        for each in (self._waiting, self._owing, self._timers, self._copied, self._deleted, self._overruled):
            each.clear()
        return resumed

    def _write_again(self, assignment: Assignment) -> None:
        """Have the records that count follow those that don't, which compaction would keep in their place."""
        if self._overruled:
            RECORDS_FENCED.inc(len(self._overruled))
            log.warning("owner.fenced_writes", partition=self._partition.partition, keys=len(self._overruled))
        for key in self._overruled:
            assignment.write_again(key)

    async def _take_up_copied(self, assignment: Assignment) -> list[bytes]:
        """Remind of the timers that only the local copy knows; returns the keys of whom something is due."""
        waiting: list[bytes] = []
        for number, key in enumerate(self._copied):
            if number % COPIED_TURN == 0:
                await asyncio.sleep(0)
            value = self._store.get(self._partition.partition, key)
            if value is None:
                continue
            if due_ms := timer_ms(value):
                assignment.remind(key, due_ms)
            if waits(value):
                waiting.append(key)
        return sorted(waiting)

    async def _begin(self, log: Log) -> int:
        """From where to read; everything below is in the store by then."""
        copied_to = await self._store.open(log)
        self.begun = self._position = log.start if copied_to is None else copied_to
        if copied_to is not None:
            self._copied.update(await self._store.busy(log.partition))
            self._checkpoint = copied_to
            claimed = self._store.get(log.partition, CLAIM_KEY)
            self._highest = self._copy_epoch = 0 if claimed is None else decode_claim(claimed)
        self._left = max(0, self.end - self.begun)
        self._progress.begin(self._left)
        return self.begun

    async def _apply(self, records: Sequence[Record]) -> None:
        kept: dict[bytes, bytes | None] = {}
        copied, waiting, owing = self._copied, self._waiting, self._owing
        for record in records:
            key, value = record.key or b"", record.value
            if key.startswith(RESERVED):
                if key == CHECKPOINT_KEY and value is not None:
                    self._checkpoint = max(self._checkpoint, decode_checkpoint(value))
                continue
            if not self._counts(record, key, kept):
                continue
            kept[key] = value
            copied.discard(key)
            self._note(waiting, key, record.offset, value is not None and waits(value))
            self._note(owing, key, record.offset, value is not None and owes(value))
            due_ms = timer_ms(value) if value is not None else 0
            self._note(self._timers, key, due_ms, due_ms > 0)
        await self._store.fill(self._partition.partition, list(kept.items()))
        RESTORED.inc(len(records))
        moved = records[-1].offset + 1 - self._position
        self._position += moved
        self._left -= moved
        self._progress.advance(moved)

    def _counts(self, record: Record, key: bytes, kept: Mapping[bytes, bytes | None]) -> bool:
        """Whether it is of no lower epoch than what is known of its key; looked up only where it can be."""
        epoch = epoch_of(record.value, record.headers)
        if epoch < self._highest and epoch < self._epoch_known(key, kept):
            self._overruled[key] = None
            return False
        self._highest = max(self._highest, epoch)
        if record.value is None:
            self._deleted[key] = epoch
        if self._overruled:
            self._overruled.pop(key, None)
        return True

    def _epoch_known(self, key: bytes, kept: Mapping[bytes, bytes | None]) -> int:
        value = kept[key] if key in kept else self._store.get(self._partition.partition, key)
        return epoch_of(value) if value is not None else self._deleted.get(key, self._copy_epoch)

    @staticmethod
    def _note(todo: dict[bytes, int], key: bytes, what: int, is_left: bool) -> None:
        if is_left:
            todo[key] = what
        else:
            todo.pop(key, None)
