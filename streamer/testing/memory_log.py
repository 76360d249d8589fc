"""Kafka in memory: topics, partitions, offsets, groups and their commits; what outlives a crash of its clients.

One `MemoryLog` is shared by the fake sources and sinks of a test, so a "crash" drops the process objects and keeps it.
Everything but `MemoryGroup.until` changes state without an await. Not thread-safe; one event loop.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from streamer.ports import Clock, End, Partition


class MemoryRecord(NamedTuple):
    """One stored record; a `Record` of the ports."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class MemoryGroup:
    """A consumer group: its commits, and its members, who are rebalanced eagerly.

    A change of members begins a new generation. Each member revokes and joins it; once all have, each has its share.
    The shares rotate from one generation to the next, so that every rebalance moves partitions.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.committed: dict[Partition, int] = {}
        self.notes: dict[Partition, str] = {}  # beside the commits
        self.generation = 0
        self._topics = topics
        self._members: dict[object, frozenset[str]] = {}
        self._joined: set[object] = set()
        self._changed = asyncio.Event()

    def enter(self, member: object, topics: frozenset[str]) -> None:
        """A new member, or one whose topics change: begins a generation."""
        self._members[member] = topics
        self._begin()

    def leave(self, member: object) -> None:
        """A member goes, by itself or because its session ended: begins a generation."""
        if self._members.pop(member, None) is not None:
            self._begin()

    def join(self, member: object) -> None:
        """A member has revoked what it had and waits for its share of this generation."""
        self._joined.add(member)
        self._notify()

    def is_complete(self) -> bool:
        """Every member has joined this generation."""
        return self._joined >= self._members.keys()

    def share(self, member: object) -> frozenset[Partition]:
        """The partitions that are the member's in this generation."""
        shared: set[Partition] = set()
        for topic in sorted(self._members[member]):
            takers = [other for other, topics in self._members.items() if topic in topics]
            shared |= {
                Partition(topic, number)
                for number in range(self._topics[topic])
                if takers[(number + self.generation) % len(takers)] is member
            }
        return frozenset(shared)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Return once `is_true`, which is asked again whenever the group changes."""
        while not is_true():
            await self._changed.wait()

    def _begin(self) -> None:
        self.generation += 1
        self._joined.clear()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class MemoryLog:
    """All topics of a broker. `watchers` are told each appended record, and each commit as (group, partition, offset).

    Bounded by the test that uses it: nothing is deleted but by `compact` and `delete_before`.
    """

    def __init__(self, topics: Mapping[str, int], clock: Clock) -> None:
        self.topics = dict(topics)
        self.append_watchers: list[Callable[[MemoryRecord], None]] = []
        self.commit_watchers: list[Callable[[str, Partition, int], None]] = []
        self.clock = clock
        self._records: dict[Partition, list[MemoryRecord]] = {}
        self._ends: dict[Partition, int] = {}
        self._starts: dict[Partition, int] = {}
        self._groups: dict[str, MemoryGroup] = {}
        for topic, count in topics.items():
            for number in range(count):
                self._records[Partition(topic, number)] = []
                self._ends[Partition(topic, number)] = self._starts[Partition(topic, number)] = 0

    def append(
        self,
        partition: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> int:
        """Store one record at the partition's end with the clock's time; returns its offset."""
        offset = self._ends[partition]
        record = MemoryRecord(*partition, offset, self.clock.now_ms(), key, value, tuple(headers or ()))
        self._records[partition].append(record)
        self._ends[partition] = offset + 1
        for watcher in list(self.append_watchers):
            watcher(record)
        return offset

    def skip(self, partition: Partition, count: int) -> None:
        """Let offsets hold nothing that is ever returned: aborted records, and the marker that ends a transaction."""
        self._ends[partition] += count

    def read(self, partition: Partition, offset: int, count: int) -> list[MemoryRecord]:
        """At most `count` records from `offset` on; offsets have gaps where the topic was compacted."""
        records = self._records[partition]
        first = bisect_left(records, offset, key=attrgetter("offset"))
        return records[first : first + count]

    def records(self, topic: str) -> list[MemoryRecord]:
        """Every record of a topic, partition by partition."""
        return [each for number in range(self.topics[topic]) for each in self._records[Partition(topic, number)]]

    def end_offset(self, partition: Partition) -> int:
        """One past the last record's offset."""
        return self._ends[partition]

    def end(self, partition: Partition) -> End:
        """The same with the moment, which is now."""
        return End(self._ends[partition], self.clock.now_s(), self.clock.now_ms())

    def start_offset(self, partition: Partition) -> int:
        """The lowest offset that can be read."""
        return self._starts[partition]

    def compact(self, partition: Partition) -> None:
        """Keep the last record of each key."""
        last = {record.key: record for record in self._records[partition]}
        self._records[partition] = sorted(last.values(), key=attrgetter("offset"))

    def delete_before(self, partition: Partition, offset: int) -> None:
        """Drop what lies below `offset`, as retention does."""
        self._records[partition] = [each for each in self._records[partition] if each.offset >= offset]
        self._starts[partition] = max(self._starts[partition], offset)

    def group(self, name: str) -> MemoryGroup:
        """The consumer group of that name, made if there is none."""
        return self._groups.setdefault(name, MemoryGroup(self.topics))

    def commit(self, group: str, offsets: Mapping[Partition, int], notes: Mapping[Partition, str]) -> None:
        """Store a group's commits, each with its note."""
        for partition, offset in offsets.items():
            self.group(group).committed[partition] = offset
            self.group(group).notes[partition] = notes.get(partition, "")
            for watcher in self.commit_watchers:
                watcher(group, partition, offset)
