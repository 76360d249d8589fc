"""Timers by the million: keys to be looked at when their time comes, in slots, so that waiting costs memory and no CPU.

A key may stand in several slots; who is told looks whether there is still something to do.
"""

from heapq import heappop, heappush
from itertools import islice
from typing import Final

SLOT_MS: Final = 100  # how much late a key may be told; a million keys over 10 minutes fill 6 000 slots


class TimerWheel:
    """Keys by the time they are to be told. Units: ms. Bounded by what its user adds: 100 bytes a key at most."""

    def __init__(self) -> None:
        self._slots: dict[int, dict[bytes, None]] = {}
        self._order: list[int] = []  # a heap of the slots' numbers
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, key: bytes, due_ms: int) -> None:
        """Have `key` told once `due_ms` has come; twice for one slot is once."""
        number = -(-due_ms // SLOT_MS)  # the slot ends after the time, so that no key is told early
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            heappush(self._order, number)
        self._size -= len(slot)
        slot[key] = None
        self._size += len(slot)

    def due(self, now_ms: int, keys_max: int) -> list[bytes]:
        """Take out keys whose time has come, the earliest slot's first, at most `keys_max`; none if there is none."""
        if not self._order or self._order[0] * SLOT_MS > now_ms:
            return []
        slot = self._slots[self._order[0]]
        keys = list(islice(slot, keys_max))
        for key in keys:
            del slot[key]
        if not slot:
            del self._slots[heappop(self._order)]
        self._size -= len(keys)
        return keys
