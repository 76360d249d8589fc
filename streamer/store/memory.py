"""The `memory` engine: one dict of encoded records per partition, and now and then a snapshot of it.

After a revocation a partition is kept for KEEP_S, so that one that comes back reads only the changelog's tail.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from streamer.core.state import has_business
from streamer.errors import CopyUnusable
from streamer.ports import Clock, Log
from streamer.store.local import Stamp, judge, max_age_ms, stamp_of

SNAPSHOT_EVERY_S: Final = 180.0  # as much of the changelog a start after a crash reads
REFRESHES: Final = 4  # within the age that a copy may have: of a partition where nothing happens
KEEP_S: Final = 60.0  # a rolling restart moves a partition away and back within it
SCAN_RECORDS: Final = 20_000  # looked at in one turn of the loop: 1 ms


class Snapshots(Protocol):
    """Where snapshots are kept; the real one is `snapshot.SnapshotFolder`."""

    @property
    def clock(self) -> Clock:
        """The time by which they are stamped."""

    async def load(self, changelog: Log) -> tuple[Stamp, dict[bytes, bytes]] | None:
        """The usable copy of a partition, or None."""

    async def write(self, stamp: Stamp, records: dict[bytes, bytes]) -> bool:
        """Replace the copy of a partition; False, if it could not be written."""


class _Copy:
    """How far a partition's records are complete, and how far its snapshot is."""

    __slots__ = ("changelog", "closed_s", "is_closed", "offset", "saved_offset", "saved_s", "settled_ms")

    def __init__(self, changelog: Log, offset: int | None, now_s: float, now_ms: int) -> None:
        self.changelog = changelog
        self.offset = offset  # None: the first restore is not over
        self.settled_ms = now_ms  # when it was complete up to there
        self.saved_offset = -1 if offset is None else offset
        self.saved_s = now_s
        self.is_closed = False
        self.closed_s = now_s

    def settle(self, offset: int, now_ms: int) -> None:
        """Everything below `offset` is in the records."""
        self.offset, self.settled_ms = offset, now_ms

    def has_moved(self) -> bool:
        """A snapshot now would say more than the last one."""
        return self.offset is not None and self.offset > self.saved_offset

    def is_due(self, now_s: float, every_s: float) -> bool:
        """It has moved for long enough, or is about to be too old."""
        age_s = now_s - self.saved_s
        if self.offset is None:
            return False
        is_old = age_s * 1000 >= max_age_ms(self.changelog) / REFRESHES
        return is_old or (self.has_moved() and age_s >= every_s)


class MemoryStore:
    """Encoded state records by partition and key. Bounded by the people of the owned partitions.

    Without `snapshots` no copy is ever kept: every tenure reads the whole changelog. One is written `every_s`.
    """

    def __init__(self, snapshots: Snapshots | None = None, every_s: float = SNAPSHOT_EVERY_S) -> None:
        self._every_s = every_s
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._snapshots = snapshots
        self._copies: dict[int, _Copy] = {}

    async def open(self, log: Log) -> int | None:
        """Begin a tenure with what is still in memory, else with the snapshot; returns its offset, or None."""
        if self._snapshots is None:
            self._partitions.pop(log.partition, None)
            return None
        clock = self._snapshots.clock
        kept = self._copies.get(log.partition)
        if kept is not None and _is_usable(kept, log, clock.now_ms()):
            kept.is_closed, kept.changelog = False, log
            return kept.offset
        self._drop(log.partition)
        found = await self._snapshots.load(log)
        stamp, records = found or (None, {})
        offset = None if stamp is None else stamp.offset
        self._partitions[log.partition] = records
        copy = self._copies[log.partition] = _Copy(log, offset, clock.now_s(), clock.now_ms())
        if stamp is not None:
            copy.settled_ms = stamp.saved_ms
            copy.saved_s -= (clock.now_ms() - stamp.saved_ms) / 1000
        return offset

    async def busy(self, partition: int) -> Sequence[bytes]:
        """The keys with something left to do; a scan of 50 ns a record, in turns."""
        records = self._partitions.get(partition, {})
        keys, values, found = iter(records), iter(records.values()), list[bytes]()
        while block := list(islice(keys, SCAN_RECORDS)):
            found += [key for key, value in zip(block, values, strict=False) if has_business(value)]
            await asyncio.sleep(0)  # heartbeats share the loop
        return found

    async def fill(self, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Put what a restore has read, in order."""
        kept = self._partitions.setdefault(partition, {})
        for key, value in records:
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value

    async def save(self, offsets: Mapping[int, int]) -> None:
        """Write the snapshots that are due, one after another, and let go what was kept long enough."""
        if self._snapshots is None:
            return
        clock = self._snapshots.clock
        for partition, offset in offsets.items():
            copy = self._copies.get(partition)
            if copy is not None and not copy.is_closed:
                copy.settle(offset, clock.now_ms())
        for partition, copy in list(self._copies.items()):
            if self._copies.get(partition) is not copy:
                continue  # let go while another was written
            if copy.is_closed and clock.now_s() - copy.closed_s >= KEEP_S:
                await self._let_go(self._snapshots, partition, copy)
            elif not copy.is_closed and copy.is_due(clock.now_s(), self._every_s):
                await self._snapshot(self._snapshots, partition, copy)

    async def close(self, partition: int, offset: int | None) -> None:
        """Keep the partition for a while, should it come back; nothing is written here, for a rebalance waits."""
        copy = self._copies.get(partition)
        if self._snapshots is None or copy is None:
            self._drop(partition)
            return
        if offset is not None:
            copy.settle(offset, self._snapshots.clock.now_ms())
        if copy.offset is None:
            self._drop(partition)
            return
        copy.is_closed, copy.closed_s = True, self._snapshots.clock.now_s()

    async def stop(self) -> None:
        """Write a snapshot of what has moved."""
        for partition, copy in list(self._copies.items()):
            if self._snapshots is not None and copy.has_moved():
                await self._snapshot(self._snapshots, partition, copy)
            self._drop(partition)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The record of `key`, or None."""
        return self._partitions.get(partition, {}).get(key)

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set the record of `key`; None deletes it."""
        records = self._partitions.get(partition)
        if records is None:
            records = self._partitions[partition] = {}
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value

    def count(self, partition: int) -> int:
        """How many keys a partition holds."""
        return len(self._partitions.get(partition, ()))

    def _drop(self, partition: int) -> None:
        self._partitions.pop(partition, None)
        self._copies.pop(partition, None)

    async def _let_go(self, snapshots: Snapshots, partition: int, copy: _Copy) -> None:
        if copy.has_moved():
            await self._snapshot(snapshots, partition, copy)
        if copy.is_closed and self._copies.get(partition) is copy:  # it may have come back meanwhile
            self._drop(partition)

    async def _snapshot(self, snapshots: Snapshots, partition: int, copy: _Copy) -> None:
        """Write one; the records are copied first, in one turn of the loop: 10 ms for 500 000 of them."""
        assert copy.offset is not None
        copy.saved_s = snapshots.clock.now_s()  # one that fails is tried again no sooner than another is due
        stamp = stamp_of(copy.changelog, copy.offset, copy.settled_ms)
        if await snapshots.write(stamp, self._partitions[partition].copy()):
            copy.saved_offset = max(copy.saved_offset, stamp.offset)


def _is_usable(copy: _Copy, changelog: Log, now_ms: int) -> bool:
    if copy.offset is None:
        return False
    try:
        judge(stamp_of(copy.changelog, copy.offset, copy.settled_ms), changelog, now_ms)
    except CopyUnusable:
        return False
    return True
