"""Restore: a partition's changelog into the store, and the list of people with something left to do.

Runs before the partition's first record is handled. Bounded by the people of the partition.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from streamer.core.identity import RESERVED
from streamer.core.state import CHECKPOINT_KEY, decode_checkpoint, owes, timer_ms, waits
from streamer.pipeline.assignment import Assignment
from streamer.ports import Changelog, Partition, Record, StateStore
from streamer.telemetry import PARTITIONS_RESTORING, RESTORED

RESUME_TURN: Final = 200  # people taken up in one turn of the loop: about 10 ms


class Restore:
    """One partition's restore: `load` the changelog, then `resume` what its people had left to do."""

    def __init__(self, changelog: Changelog, store: StateStore, partition: Partition) -> None:
        self._changelog = changelog
        self._store = store
        self._partition = partition
        self._waiting: dict[bytes, int] = {}  # key to state offset: sends are due or held
        self._owing: dict[bytes, int] = {}  # key to state offset: outcomes to publish
        self._timers: dict[bytes, int] = {}  # key to when it is to be looked at
        self._checkpoint = 0
        self.end = 0

    async def load(self) -> None:
        """Read the changelog up to the end it has now. Raises: BrokerUnusable."""
        self._store.drop(self._partition.partition)
        with PARTITIONS_RESTORING.track_inprogress():
            self.end = await self._changelog.read(self._partition, self._apply)

    async def resume(self, assignment: Assignment) -> int:
        """Hand every person with something left to do to the assignment, oldest record first; returns how many.

        The partition is opened only after it, so no event overtakes what its person had left to do. Stops where the
        assignment drains: the rest is left to the next owner.
        """
        owing = {key: at for key, at in self._owing.items() if at >= self._checkpoint}
        for at in sorted(owing.values()):
            assignment.owe(at)
        for key, due_ms in self._timers.items():
            assignment.remind(key, due_ms)
        todo = owing | self._waiting
        for number, (key, at) in enumerate(sorted(todo.items(), key=lambda item: item[1])):
            if number % RESUME_TURN == 0:
                await asyncio.sleep(0)  # heartbeats share the loop
            if assignment.is_draining:
                break
            assignment.recover(key, at, is_published=at < self._checkpoint)
        self._owing.clear()
        self._waiting.clear()
        self._timers.clear()
        return len(todo)

    def _apply(self, records: Sequence[Record]) -> None:
        put, partition = self._store.put, self._partition.partition
        for record in records:
            key, value = record.key or b"", record.value
            if key.startswith(RESERVED):
                if key == CHECKPOINT_KEY and value is not None:
                    self._checkpoint = decode_checkpoint(value)
                continue
            put(partition, key, value)
            self._note(self._waiting, key, record.offset, value is not None and waits(value))
            self._note(self._owing, key, record.offset, value is not None and owes(value))
            due_ms = timer_ms(value) if value is not None else 0
            self._note(self._timers, key, due_ms, due_ms > 0)
        RESTORED.inc(len(records))

    @staticmethod
    def _note(todo: dict[bytes, int], key: bytes, what: int, is_left: bool) -> None:
        if is_left:
            todo[key] = what
        else:
            todo.pop(key, None)
