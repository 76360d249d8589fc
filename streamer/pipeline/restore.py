"""Restore: a partition's changelog over its local copy, and the list of people with something left to do.

Runs before the partition's first record is handled. Bounded by the people of the partition.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from streamer.core.identity import RESERVED
from streamer.core.state import CHECKPOINT_KEY, decode_checkpoint, owes, timer_ms, waits
from streamer.pipeline.assignment import Assignment
from streamer.ports import Changelog, Log, Partition, Record, StateStore
from streamer.telemetry import PARTITIONS_RESTORING, RESTORED

COPIED_TURN: Final = 5_000  # keys of a copy looked up in one turn: 10 ms of lmdb
RESUME_TURN: Final = 200  # people taken up in one turn of the loop: about 10 ms
COPIED: Final = -1  # the state offset of a record that only the local copy has: below every other


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
        self, changelog: Changelog, store: StateStore, partition: Partition, progress: Progress | None = None
    ) -> None:
        self._changelog = changelog
        self._store = store
        self._partition = partition
        self._progress = progress or Progress()
        self._waiting: dict[bytes, int] = {}  # key to state offset: something waits in the record
        self._owing: dict[bytes, int] = {}  # key to state offset: outcomes to publish
        self._timers: dict[bytes, int] = {}  # key to when it is to be looked at
        self._copied: set[bytes] = set()  # keys with something left to do, of which only the local copy knows
        self._checkpoint = 0
        self._left = 0
        self._position = 0
        self.begun = 0  # the changelog was read from here on
        self.end = 0

    async def load(self) -> None:
        """Read the changelog from the local copy's offset up to the end it has now.

        Raises: BrokerUnusable; StoreUnusable.
        """
        with PARTITIONS_RESTORING.track_inprogress():
            try:
                self.end = await self._changelog.read(self._partition, self._begin, self._apply)
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
        for each in (self._waiting, self._owing, self._timers, self._copied):
            each.clear()
        return resumed

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
        self._left = log.end - self.begun
        self._progress.begin(self._left)
        return self.begun

    async def _apply(self, records: Sequence[Record]) -> None:
        kept: list[tuple[bytes, bytes | None]] = []
        copied, waiting, owing = self._copied, self._waiting, self._owing
        for record in records:
            key, value = record.key or b"", record.value
            if key.startswith(RESERVED):
                if key == CHECKPOINT_KEY and value is not None:
                    self._checkpoint = max(self._checkpoint, decode_checkpoint(value))
                continue
            kept.append((key, value))
            copied.discard(key)
            self._note(waiting, key, record.offset, value is not None and waits(value))
            self._note(owing, key, record.offset, value is not None and owes(value))
            due_ms = timer_ms(value) if value is not None else 0
            self._note(self._timers, key, due_ms, due_ms > 0)
        await self._store.fill(self._partition.partition, kept)
        RESTORED.inc(len(records))
        moved = records[-1].offset + 1 - self._position
        self._position += moved
        self._left -= moved
        self._progress.advance(moved)

    @staticmethod
    def _note(todo: dict[bytes, int], key: bytes, what: int, is_left: bool) -> None:
        if is_left:
            todo[key] = what
        else:
            todo.pop(key, None)
