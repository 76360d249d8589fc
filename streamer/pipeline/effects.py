"""Which state records have led to all that they list: up to where a restore need not produce anything again."""

from streamer.core.commit_tracker import CommitTracker


class Effects:
    """Those of one tenure, by offset in the changelog, from `begin` on. Bounded by what is being produced."""

    def __init__(self, begin: int) -> None:
        self._tracker = CommitTracker(begin)
        self._left: dict[int, int] = {}  # how many are not acked, by offset
        self._told = 0

    def owe(self, at: int) -> None:
        """Let nothing pass the record at `at`, of which `begin` will say how many effects it has."""
        self._tracker.track(at)

    def written(self, at: int) -> int:
        """A record of ours is safe. Returns its offset: at least that of the last where the broker did not say (-1)."""
        at = max(at, self._tracker.position)
        self._tracker.advance(at + 1)
        return at

    def begin(self, at: int, count: int) -> None:
        """The record at `at` has so many effects on their way."""
        self._tracker.track(at)
        self._left[at] = count

    def done(self, at: int) -> None:
        """One of them is safe."""
        self._left[at] -= 1
        if not self._left[at]:
            del self._left[at]
            self._tracker.resolve(at)

    def settled(self) -> int:
        """The offset below which every effect is safe."""
        return self._tracker.low_water_mark()

    def moved(self) -> int:
        """The same, if it moved since this was asked last; else 0."""
        mark = self.settled()
        if mark <= self._told:
            return 0
        self._told = mark
        return mark
