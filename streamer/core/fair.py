"""Who goes next, among all that wait for one account: in turns, so that no sender and no mapping delays another.

Urgent ones first; then the senders by turns, within a sender its groups (a mapping's, to one region) by turns, and in a
group whoever came first. A sender of which none may go sleeps until the earliest time that one may.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Group(NamedTuple):
    """What is served by turns within a sender."""

    mapping: str
    region: str


class Next(NamedTuple, Generic[T]):
    """Who goes, and from where."""

    sender: str
    group: Group
    item: T


May = Callable[[str, Group, T], float]
"""From when on an item may go, in monotonic seconds: not after now if it may, inf while nothing says when."""


class _Groups(Generic[T]):
    """The groups of one sender and urgency, in turn."""

    __slots__ = ("items", "turns")

    def __init__(self) -> None:
        self.items: dict[Group, deque[T]] = {}
        self.turns: deque[Group] = deque()

    def push(self, group: Group, item: T) -> None:
        waiting = self.items.get(group)
        if waiting is None:
            waiting = self.items[group] = deque()
            self.turns.append(group)
        waiting.append(item)

    def pop(self, sender: str, may: "May[T]", now_s: float) -> tuple[Group, T] | float:
        """The next that may go, or from when on one may."""
        first_s = inf
        for _ in range(len(self.turns)):
            group = self.turns[0]
            waiting = self.items[group]
            at_s = may(sender, group, waiting[0])
            if at_s <= now_s:
                item = waiting.popleft()
                self.turns.popleft()
                if waiting:
                    self.turns.append(group)
                else:
                    del self.items[group]
                return group, item
            first_s = min(first_s, at_s)
            self.turns.rotate(-1)
        return first_s

    def keep(self, is_kept: Callable[[T], bool]) -> None:
        for group in list(self.items):
            kept = deque(item for item in self.items[group] if is_kept(item))
            if kept:
                self.items[group] = kept
            else:
                del self.items[group]
                self.turns.remove(group)


URGENT: Final = 0
NORMAL: Final = 1


class Line(Generic[T]):
    """All that waits for one account. Bounded by its callers."""

    def __init__(self) -> None:
        self._lanes: tuple[dict[str, _Groups[T]], dict[str, _Groups[T]]] = ({}, {})  # by urgency, then by sender
        self._turns: deque[str] = deque()  # the senders that are awake
        self._asleep: list[tuple[float, str]] = []  # a heap
        self._known: set[str] = set()  # senders with something in line
        self._sleepers: set[str] = set()  # those of them that are asleep
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, sender: str, group: Group, item: T, *, is_urgent: bool = False) -> None:
        """Have an item wait, behind those of its group; its sender stays asleep if it is."""
        lane = self._lanes[URGENT if is_urgent else NORMAL]
        groups = lane.get(sender)
        if groups is None:
            groups = lane[sender] = _Groups()
        groups.push(group, item)
        self._count += 1
        if sender not in self._known:
            self._known.add(sender)
            self._turns.append(sender)

    def pop(self, may: "May[T]", now_s: float) -> Next[T] | None:
        """Take out the next that may go. Costs: 1 µs for the first in turn; each sender that may not goes to sleep.

        An urgent item of a sender that may go comes before those of all other senders.
        """
        while self._asleep and self._asleep[0][0] <= now_s:
            sender = heappop(self._asleep)[1]
            self._sleepers.discard(sender)
            self._turns.append(sender)
        found = self._pop_of(URGENT, may, now_s) if self._lanes[URGENT] else None
        return found or self._pop_of(NORMAL, may, now_s)

    def rouse(self) -> None:
        """What the sleepers sleep for may be over: each is asked again."""
        self._turns.extend(sender for _, sender in self._asleep)
        self._asleep.clear()
        self._sleepers.clear()

    def is_next(self, sender: str) -> bool:
        """Whether anything of a sender waits that may go, as far as is known: others of it take their turn behind."""
        return sender in self._known and sender not in self._sleepers

    def keep(self, is_kept: Callable[[T], bool]) -> None:
        """Drop every item that is not to be kept. Costs: 0.1 µs an item."""
        for lane in self._lanes:
            for sender in list(lane):
                lane[sender].keep(is_kept)
                if not lane[sender].items:
                    del lane[sender]
        self._forget(self._known - self._lanes[0].keys() - self._lanes[1].keys())
        self._count = sum(1 for _ in self.items())

    def items(self) -> Iterator[T]:
        """All items, in no order that counts."""
        for lane in self._lanes:
            for groups in lane.values():
                for waiting in groups.items.values():
                    yield from waiting

    def _pop_of(self, urgency: int, may: "May[T]", now_s: float) -> Next[T] | None:
        lane, other = self._lanes[urgency], self._lanes[1 - urgency]
        for _ in range(len(self._turns)):
            sender = self._turns[0]
            groups = lane.get(sender)
            found = inf if groups is None else groups.pop(sender, may, now_s)
            if isinstance(found, float):
                self._turns.popleft()
                if urgency == NORMAL and sender not in other:
                    heappush(self._asleep, (found, sender))
                    self._sleepers.add(sender)
                else:  # the sender's others have not been asked, or were a moment ago
                    self._turns.append(sender)
                continue
            self._count -= 1
            self._turns.popleft()
            if groups is not None and not groups.items:
                del lane[sender]
            if sender in lane or sender in other:
                self._turns.append(sender)
            else:
                self._known.discard(sender)
            return Next(sender, *found)
        return None

    def _forget(self, senders: Iterable[str]) -> None:
        gone = set(senders)
        if gone:
            self._known -= gone
            self._sleepers -= gone
            self._turns = deque(sender for sender in self._turns if sender not in gone)
            self._asleep = [each for each in self._asleep if each[1] not in gone]
            heapify(self._asleep)
