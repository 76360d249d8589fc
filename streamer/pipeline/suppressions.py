"""An owner process' copy of the suppressions topic: read from its beginning, outside any group, and kept whole.

An answer is only as good as its copy: so no send starts (`lease.Gate`) unless the copy was read past an end of the
topic that the broker was asked for less than `lease.FRESH_S` ago. Source: ARCHITECTURE, "Suppressions".
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from streamer.core.suppressions import PARTITIONS
from streamer.errors import BadRecord, BrokerUnusable
from streamer.pipeline.lane import Services
from streamer.ports import Changelog, GroupOffsets, Log, Partition, Record
from streamer.telemetry import SUPPRESSIONS, SUPPRESSIONS_BAD, SUPPRESSIONS_BEHIND, logger

LOOK_EVERY_S: Final = 1.0  # a STOP of another process counts here as soon; nine looks may fail before sends wait
READ_S: Final = 30.0  # of one read, which goes on where it was; a million records take 5 s
WARN_EVERY_S: Final = 30.0

log = logger(__name__)


class SuppressionReader:
    """Keeps the `suppressions` of `services` as the topic is, and their `freshness`. One task runs it."""

    def __init__(self, services: Services, changelog: Changelog, groups: GroupOffsets) -> None:
        self._known = services.suppressions
        self._freshness = services.freshness
        self._clock = services.clock
        self._changelog = changelog
        self._groups = groups
        self._places = [Partition(services.suppressions_topic, number) for number in range(PARTITIONS)]
        self._positions = dict.fromkeys(self._places, 0)
        self._read_s = self._warned_s = services.clock.now_s()
        self._bad: list[tuple[Record, str]] = []  # the first that this look could not read

    async def run(self) -> None:
        """Look every second, until cancelled. Broker trouble only makes the copy stale."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Ask where the topic ends, and read up to there."""
        asked_s = self._clock.now_s()
        try:
            ends = await self._groups.ends(self._places)
            for place in self._places:
                await self._read(place, ends[place])
        except (BrokerUnusable, TimeoutError) as error:
            self._warn(str(error) or f"not read within {READ_S} s")
            return
        finally:
            self._say_bad()
        self._read_s = asked_s
        self._freshness.renew(asked_s)

    def observe(self) -> None:
        """Set the gauges."""
        SUPPRESSIONS.set(len(self._known))
        SUPPRESSIONS_BEHIND.set(self._clock.now_s() - self._read_s)

    async def _read(self, place: Partition, end: int) -> None:
        if (
            end < self._positions[place]
        ):  # somebody made the topic anew; what it stopped before stays so until a restart
            self._positions[place] = 0
        if end == self._positions[place]:
            return

        async def begin(found: Log) -> int:
            return max(self._positions[place], found.start)

        async def apply(records: Sequence[Record]) -> None:
            for record in records:
                self._take(record)
            self._positions[place] = records[-1].offset + 1

        async with asyncio.timeout(READ_S):
            await self._changelog.read(place, begin, apply, end)
        self._positions[place] = end

    def _take(self, record: Record) -> None:
        try:
            self._known.put(record.key, record.value)
        except BadRecord as bad:
            SUPPRESSIONS_BAD.labels(bad.reason).inc()
            if not self._bad:
                self._bad.append((record, bad.reason))

    def _say_bad(self) -> None:
        """One line a look at most: a file imported wrongly has many."""
        for record, reason in self._bad:
            log.warning("suppression.unreadable", reason=reason, partition=record.partition, offset=record.offset)
        self._bad.clear()

    def _warn(self, why: str) -> None:
        now_s = self._clock.now_s()
        if now_s - max(self._read_s, self._warned_s) >= WARN_EVERY_S:
            self._warned_s = now_s
            log.warning("suppressions.stale", why=why, seconds=round(now_s - self._read_s))
