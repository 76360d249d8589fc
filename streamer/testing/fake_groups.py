"""A fake of `GroupOffsets` over a `MemoryLog`; beside `fakes`, which has the others."""

import asyncio
from collections.abc import Mapping, Sequence

from streamer.errors import BrokerUnusable
from streamer.ports import Committed, Partition
from streamer.testing.memory_log import MemoryLog


class FakeGroupOffsets:
    """What the groups of a MemoryLog have committed. `is_answering` False: the broker is away."""

    def __init__(self, log: MemoryLog) -> None:
        self.is_answering = True
        self._log = log

    async def read(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Committed | None]:
        """Of every partition of `topics` what `group` has committed, or None."""
        await asyncio.sleep(0)
        if not self.is_answering:
            raise BrokerUnusable("no answer")
        absent = [topic for topic in topics if topic not in self._log.topics]
        if absent:
            raise BrokerUnusable(f"the broker does not describe {', '.join(absent)}")
        places = [Partition(topic, number) for topic in topics for number in range(self._log.topics[topic])]
        found = self._log.group(group)
        return {
            place: Committed(found.committed[place], found.notes[place]) if place in found.committed else None
            for place in places
        }

    async def close(self) -> None:
        """Nothing is open."""
