"""Up to which time everything that came has been handled, of one partition and one stage.

The broker says where a partition ends, and when; once the low-water mark has reached that end, all that had come by
then is handled. So the answer needs no record's timestamp: producers set those, and may set any.
"""

import re
from typing import Final

MARKS_MAX: Final = 16  # ends not reached yet; with fewer the time would follow a steady lag in coarser steps
_NOTE: Final = re.compile(r"t1:([1-9][0-9]{0,14})")


class Frontier:
    """One partition's, for one tenure.

    Invariant: the marks not reached yet ascend in both end and time, and are at most MARKS_MAX. Behind by a steady lag
    of L the time is at most about 2 L old; while the low-water mark stands, it stands.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[int, int]] = []  # (end, ms)
        self._noted = (-1, 0)
        self._ms = 0

    def note(self, end: int, ms: int) -> None:
        """Learn that all that came before `ms` lies below the offset `end`; what is older than the last is ignored.

        A lower end at a later time says less than what is known: a broker that has just become the leader.
        """
        last_end, last_ms = self._noted
        if end < last_end or ms <= last_ms:
            return
        self._noted = (end, ms)
        if self._marks and end == last_end:
            self._marks[-1] = self._noted
            return
        if len(self._marks) == MARKS_MAX:
            del self._marks[1::2]  # the first stays: it is the next to be reached, however long the lag
        self._marks.append(self._noted)

    def reach(self, low_water: int) -> int:
        """The time, in ms, before which everything is handled when all below `low_water` is; 0 while unknown."""
        while self._marks and self._marks[0][0] <= low_water:
            self._ms = self._marks.pop(0)[1]
        return self._ms


def encode_time(ms: int) -> str:
    """The text that a commit carries; none while the time is unknown."""
    return f"t1:{ms}" if ms else ""


def decode_time(text: str) -> int:
    """The time in a commit's text; 0, unknown, for any other text."""
    found = _NOTE.fullmatch(text)
    return int(found[1]) if found else 0
