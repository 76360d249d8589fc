"""A group member that can lose its group's coordinator and nothing else, so that it works on beside its successor."""

import asyncio
from collections.abc import Iterable, Mapping

from streamer.ports import Partition
from streamer.testing.fakes import FakeSource
from streamer.testing.memory_log import MemoryLog


class ZombieSource(FakeSource):
    """A `FakeSource` that a test may `cut_off`, `expire` and `reconnect`.

    `heard_s` is when the coordinator last took its joining or a commit of it: a session ends a timeout later.
    """

    def __init__(self, log: MemoryLog, group: str, topics: Iterable[str]) -> None:
        super().__init__(log, group, topics)
        self.is_cut_off = False
        self.heard_s = 0.0
        self._is_joined = False

    @property
    def is_member(self) -> bool:
        """It has its share of the group's present generation."""
        return self._is_joined and not (self._is_leaving() or self.is_revoking or self._is_behind())

    def cut_off(self) -> None:
        """It does not reach the coordinator any more; one that `is_member`. It goes on reading what it had."""
        self.is_cut_off = True

    def expire(self) -> None:
        """The coordinator gives its partitions to others, and it is not told."""
        self._group.leave(self)

    def reconnect(self) -> None:
        """It learns what became of it, and joins anew."""
        self.is_cut_off = False
        if not self._is_leaving():
            self._group.enter(self, self._topics)

    async def commit(self, offsets: Mapping[Partition, int], notes: Mapping[Partition, str] | None = None) -> bool:
        """As the base's; False while it is cut off."""
        if self.is_cut_off:
            await asyncio.sleep(0)
            return False
        is_done = await super().commit(offsets, notes)
        if is_done:
            self.heard_s = self._log.clock.now_s()
        return is_done

    def _is_behind(self) -> bool:
        return super()._is_behind() and not self.is_cut_off

    async def _rejoin(self) -> None:
        self._is_joined = False
        await super()._rejoin()
        self._is_joined, self.heard_s = True, self._log.clock.now_s()
