"""A fake of `GroupOffsets` over a `MemoryLog`; beside `fakes`, which has the others."""

import asyncio
from collections.abc import Mapping, Sequence

from streamer.errors import BrokerUnusable
from streamer.ports import Committed, Partition
from streamer.testing.memory_log import MemoryLog


class FakeGroupOffsets:
    """What the groups of a MemoryLog have committed. `is_answering` False: the broker is away.

    `keeps_notes` False: it is one that takes them and forgets them.
    """

    def __init__(self, log: MemoryLog) -> None:
        self.is_answering = True
        self.keeps_notes = True
        self._log = log

    async def read(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Committed | None]:
        """Of every partition of `topics` what `group` has committed, or None."""
        await self._answered()
        absent = [topic for topic in topics if topic not in self._log.topics]
        if absent:
            raise BrokerUnusable(f"the broker does not describe {', '.join(absent)}")
        places = [Partition(topic, number) for topic in topics for number in range(self._log.topics[topic])]
        found = self._log.group(group)
        return {
            place: Committed(found.committed[place], found.notes[place] if self.keeps_notes else "")
            if place in found.committed
            else None
            for place in places
        }

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where each ends."""
        await self._answered()
        return {place: self._log.end_offset(place) for place in partitions}

    async def _answered(self) -> None:
        await asyncio.sleep(0)
        if not self.is_answering:
            raise BrokerUnusable("no answer")

    async def close(self) -> None:
        """Nothing is open."""
