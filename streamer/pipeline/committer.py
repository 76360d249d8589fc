"""Commits: once a second, what each stage has completed, if it or the note beside it moved; with a lease all of it."""

from collections.abc import Iterable
from typing import Final, Protocol

from streamer.core.commit_tracker import CommitTracker
from streamer.pipeline.lease import Lease
from streamer.ports import Clock, Partition, RecordSource
from streamer.telemetry import COMMITS, RECORDS_LAG

COMMIT_EVERY_S: Final = 1.0  # what a crash repeats; a redelivered record costs a look-up and a delivery event
PASS_EVERY_S: Final = 1.0  # how often a stage looks for offsets that nobody can read: one look costs 0.5 µs a partition


class Passing:
    """Has trackers pass what their source never returns: else an idle stage would lag by the marker of a transaction,
    and in the end its commit would lie before the log's start.

    Called right after a poll, when all that it returned is tracked; a poll that failed may have lost what it passed.
    """

    def __init__(self, source: RecordSource) -> None:
        self._source = source
        self._next_s = 0.0

    def look(self, trackers: Iterable[tuple[Partition, CommitTracker]], now_s: float) -> None:
        """Advance them to the source's positions, every PASS_EVERY_S."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + PASS_EVERY_S
        for place, tracker in trackers:
            position = self._source.position(place)
            if position is not None:
                tracker.advance(position)


class Stage(Protocol):
    """A member of a group that says what may be committed."""

    def positions(self) -> dict[Partition, int]:
        """The next offset to read after a restart, per partition of the present tenure."""

    def notes(self) -> dict[Partition, str]:
        """What to say beside them, of the partitions where there is something."""


class Committer:
    """Commits one stage's positions and watches its lag. `moved_s`: when a commit last succeeded or had no need to.

    A `lease` is renewed by each commit, which is then of all positions and made as often as the lease needs it.
    """

    def __init__(self, role: str, stage: Stage, source: RecordSource, clock: Clock, lease: Lease | None = None) -> None:
        self.role = role
        self._stage = stage
        self._source = source
        self._clock = clock
        self._lease = lease
        self._every_s = COMMIT_EVERY_S if lease is None else lease.commit_every_s
        self._committed: dict[Partition, tuple[int, str]] = {}
        self.moved_s = clock.now_s()

    async def run(self) -> None:
        """Commit every second or more often, until cancelled. A failed commit is made again with the next positions."""
        while True:
            await self._clock.sleep(self._every_s)
            await self.commit()

    async def commit(self) -> None:
        """Commit what moved since the last success."""
        positions, notes = self._stage.positions(), self._stage.notes()
        marks = {place: (offset, notes.get(place, "")) for place, offset in positions.items()}
        is_all = self._lease is not None
        changed = {place: mark for place, mark in marks.items() if is_all or self._committed.get(place) != mark}
        has_moved = any(self._committed.get(place, (-1,))[0] != offset for place, (offset, _) in changed.items())
        lag = self._lag(positions)
        RECORDS_LAG.labels(self.role).set(lag)
        if not (has_moved or lag):
            self.moved_s = self._clock.now_s()
        if not changed:
            return
        offsets = {place: offset for place, (offset, _) in changed.items()}
        asked_s = self._clock.now_s()
        if await self._source.commit(offsets, {place: note for place, (_, note) in changed.items() if note}):
            COMMITS.labels(self.role, "done").inc()
            if self._lease is not None:
                self._lease.renew(asked_s)
            self._committed = marks
            if has_moved:
                self.moved_s = self._clock.now_s()
        else:
            COMMITS.labels(self.role, "failed").inc()
            if has_moved:
                self._committed = {}

    def _lag(self, positions: dict[Partition, int]) -> int:
        ends = {place: self._source.end(place) for place in positions}
        return sum(max(0, end.offset - positions[place]) for place, end in ends.items() if end is not None)
