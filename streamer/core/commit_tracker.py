"""Which offset of one partition may be committed while its records complete out of order.

Records not tracked are complete as soon as the position has passed them, so a run of irrelevant ones costs nothing.
"""


class CommitTracker:
    """One partition's in-flight offsets, for one tenure.

    Invariant: offsets are tracked in ascending order, so the first still in flight is the low-water mark.
    """

    def __init__(self, position: int) -> None:
        self._position = position
        self._in_flight: dict[int, int] = {}  # offset to size
        self._bytes = 0

    @property
    def in_flight(self) -> int:
        """How many offsets are tracked and not resolved."""
        return len(self._in_flight)

    @property
    def bytes_in_flight(self) -> int:
        """The sum of their sizes, as they were given."""
        return self._bytes

    @property
    def position(self) -> int:
        """One past the last offset read."""
        return self._position

    def track(self, offset: int, size: int = 0) -> None:
        """Note a record that is being worked on, and what it takes of memory."""
        self._in_flight[offset] = size
        self._bytes += size
        if offset >= self._position:
            self._position = offset + 1

    def advance(self, position: int) -> None:
        """Note that everything below `position` has been read."""
        self._position = max(self._position, position)

    def resolve(self, offset: int) -> None:
        """Nothing more will be done for `offset`; unknown offsets are ignored."""
        self._bytes -= self._in_flight.pop(offset, 0)

    def low_water_mark(self) -> int:
        """The lowest unresolved offset, or one past the last read if none: what may be committed."""
        return next(iter(self._in_flight), self._position)
