"""The time before which everything is handled, from the inputs to the owners: what gives up or releases goes by it.

A router writes beside each offset it commits up to which time it has read there. An owner reads the least of these,
the inputs' time T, each second. What reached the inputs before T was in `by-user` when T was read; so once an owner's
partition is handled up to an end that was asked for later, everything before T is handled there. While any input or
the partition itself lags, its time stands still.

Of a partition without a time beside its offset (its router has not said one yet, or the broker keeps no such notes) an
owner asks the end itself, and learns from the offset when that is reached: the same, but only since the owner began.

Every clock but the one that notes a router's time is this machine's monotonic one; routers' and owners' wall clocks
should agree to well below the shortest wait that is configured.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from streamer.core.commit_tracker import CommitTracker
from streamer.core.frontier import Frontier, decode_time
from streamer.errors import BrokerUnusable
from streamer.ports import Clock, End, GroupOffsets, Partition, RecordSource
from streamer.telemetry import logger

READ_EVERY_S: Final = 1.0
READS_KEPT: Final = 60  # a minute of them, where a partition's fetches are a second apart
WARN_EVERY_S: Final = 30.0  # timers that stand still for so long are worth a line; a rebalance takes a few seconds
LOOK_EVERY_S: Final = 0.25  # each look costs some 3 µs a partition, and its pace adds to how late a timer fires

log = logger(__name__)


class InputsTime:
    """The time up to which every partition of the inputs has been routed, as the routers' commits say."""

    def __init__(self, groups: GroupOffsets, group: str, topics: Sequence[str], clock: Clock) -> None:
        self._groups = groups
        self._group = group
        self._topics = topics
        self._clock = clock
        self._reads: deque[tuple[float, int]] = deque(maxlen=READS_KEPT)  # (when read, ms)
        self._frontiers: dict[Partition, Frontier] = {}  # of those that were without a time at some moment
        self._known_s = self._warned_s = clock.now_s()
        self._began_ms = clock.now_ms()

    async def run(self) -> None:
        """Read it each second, until cancelled."""
        while True:
            await self.read()
            await self._clock.sleep(READ_EVERY_S)

    async def read(self) -> None:
        """Read it now. What can't be read, or is not known of every partition, is left out, and in time warned of."""
        try:
            times = await self._times()
        except BrokerUnusable as error:
            self._stand_still(str(error))
            return
        least_ms = min(times.values(), default=0)
        if not least_ms:
            unknown = ", ".join(f"{place.topic}/{place.partition}" for place, ms in sorted(times.items()) if not ms)
            self._stand_still(f"no router has read to where these ended when this began: {unknown[:200]}")
            return
        self._known_s = self._clock.now_s()
        self._reads.append((self._known_s, min(least_ms, self._clock.now_ms())))  # a router's clock may be ahead

    def read_before(self, moment_s: float) -> int:
        """The last one that was read before that moment, in ms; 0 if none was."""
        return next((ms for read_s, ms in reversed(self._reads) if read_s < moment_s), 0)

    def behind_s(self) -> float:
        """How old it is; since the start, while nothing was ever read."""
        ms = self._reads[-1][1] if self._reads else self._began_ms
        return max(0, self._clock.now_ms() - ms) / 1000

    async def _times(self) -> dict[Partition, int]:
        """Of each partition the time up to which it is routed, in ms; 0 where that is unknown."""
        committed = await self._groups.read(self._group, self._topics)
        times = {place: decode_time(each.note) if each else 0 for place, each in committed.items()}
        without = [place for place, ms in times.items() if not ms]
        asked_ms = self._clock.now_ms()
        for place, end in (await self._groups.ends(without) if without else {}).items():
            self._frontiers.setdefault(place, Frontier()).note(end, asked_ms)
        for place, frontier in self._frontiers.items():
            at = committed.get(place)
            if at is not None:
                times[place] = max(times[place], frontier.reach(at.offset))
        return times

    def _stand_still(self, why: str) -> None:
        now_s = self._clock.now_s()
        if now_s - max(self._known_s, self._warned_s) >= WARN_EVERY_S:
            self._warned_s = now_s
            log.warning("timers.stand_still", why=why, seconds=round(now_s - self._known_s))


class HandledTimes:
    """Each tracker's frontier; a new tenure has new trackers, and begins not knowing.

    `time_of(end)` says, in ms, before which time all had come that lies below an end, or 0 where that is not known.
    """

    def __init__(self, source: RecordSource, time_of: Callable[[End], int], clock: Clock) -> None:
        self._source = source
        self._time_of = time_of
        self._clock = clock
        self._frontiers: dict[CommitTracker, tuple[Frontier, int]] = {}  # and when it began, in ms
        self._next_s = 0.0

    def look(self, trackers: Iterable[tuple[Partition, CommitTracker]], now_s: float) -> None:
        """Note where the partitions end, every LOOK_EVERY_S; called after a poll, with what is at work now."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_EVERY_S
        before, self._frontiers = self._frontiers, {}
        for place, tracker in trackers:
            frontier, began_ms = before.get(tracker) or (Frontier(), self._clock.now_ms())
            self._frontiers[tracker] = frontier, began_ms
            end = self._source.end(place)
            if end is not None:
                frontier.note(end.offset, self._time_of(end))

    def reach(self, tracker: CommitTracker) -> int:
        """The time, in ms, before which everything is handled of what `tracker` tracks; 0 while unknown."""
        known = self._frontiers.get(tracker)
        return known[0].reach(tracker.low_water_mark()) if known else 0

    def behind_s(self) -> float:
        """How old the oldest of these times is; since it began, where one is not known yet."""
        now_ms = self._clock.now_ms()
        times = (self.reach(tracker) or began_ms for tracker, (_, began_ms) in self._frontiers.items())
        return max(0, now_ms - min(times, default=now_ms)) / 1000
