"""Who goes next, among all that wait for one account: in turns, so that no sender and no mapping delays another.

Urgent ones first; then the senders by turns, within a sender its groups (a mapping's, to one region) by turns, and
in a group whoever came first. A group that is stopped loses its turn; one whose sender's pace is not open keeps it, for
others that are cheaper would use the pace up for ever. A sender of which none may go sleeps until one may.
"""

from collections import deque
from collections.abc import Callable, Iterator
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
"""From when on a group is not stopped, in monotonic seconds: not after now if it isn't, inf while nothing says when."""
Opens = Callable[[str, T], float]
"""From when on the sender's pace lets an item pass, alike."""


def _at_once(_sender: str, _item: object) -> float:
    return -inf


class _Groups(Generic[T]):
    """The groups of one sender and urgency, in turn."""

    __slots__ = ("count", "items", "turns")

    def __init__(self) -> None:
        self.items: dict[Group, deque[T]] = {}
        self.turns: deque[Group] = deque()
        self.count = 0

    def push(self, group: Group, item: T) -> bool:
        """Have an item wait; whether it is the first of its group."""
        waiting = self.items.get(group)
        is_new = waiting is None
        if waiting is None:
            waiting = self.items[group] = deque()
            self.turns.append(group)
        waiting.append(item)
        self.count += 1
        return is_new

    def turn(self, sender: str, may: "May[T]", now_s: float) -> float:
        """Bring the next group that is not stopped to the front; or say from when on one is not."""
        first_s = inf
        for _ in range(len(self.turns)):
            group = self.turns[0]
            at_s = may(sender, group, self.items[group][0])
            if at_s <= now_s:
                return at_s
            first_s = min(first_s, at_s)
            self.turns.rotate(-1)
        return first_s

    def first(self) -> T:
        return self.items[self.turns[0]][0]

    def take(self) -> tuple[Group, T]:
        """Take out the first; its group's next turn is behind all others'."""
        group = self.turns.popleft()
        waiting = self.items[group]
        item = waiting.popleft()
        self.count -= 1
        if waiting:
            self.turns.append(group)
        else:
            del self.items[group]
        return group, item

    def ahead(self, group: Group) -> int:
        turns = len(self.items.get(group, ())) + 1
        return min(self.count, turns * len(self.turns))

    def keep(self, is_kept: Callable[[T], bool]) -> None:
        for group in list(self.items):
            kept = deque(item for item in self.items[group] if is_kept(item))
            if kept:
                self.items[group] = kept
            else:
                del self.items[group]
                self.turns.remove(group)
        self.count = sum(map(len, self.items.values()))


class _Sleep(NamedTuple):
    """Until when a sender is not asked; `is_stopped`: since all its groups are, and not for its pace."""

    until_s: float
    is_stopped: bool


URGENT: Final = 0
NORMAL: Final = 1


class Line(Generic[T]):
    """All that waits for one account. Bounded by its callers."""

    def __init__(self) -> None:
        self._lanes: tuple[dict[str, _Groups[T]], dict[str, _Groups[T]]] = ({}, {})  # by urgency, then by sender
        self._turns: deque[str] = deque()  # the senders that are awake
        self._asleep: dict[str, _Sleep] = {}
        self._wakes_s = inf  # none wakes before
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, sender: str, group: Group, item: T, *, is_urgent: bool = False) -> None:
        """Have an item wait, behind those of its group. Its sender stays asleep, but for a group that wasn't asked."""
        lane = self._lanes[URGENT if is_urgent else NORMAL]
        is_known = self._has(sender)
        groups = lane.get(sender)
        if groups is None:
            groups = lane[sender] = _Groups()
        is_new = groups.push(group, item)
        self._count += 1
        sleep = self._asleep.get(sender)
        if not is_known:
            self._turns.append(sender)
        elif is_new and sleep is not None and sleep.is_stopped:
            del self._asleep[sender]
            self._turns.append(sender)

    def pop(self, may: "May[T]", now_s: float, opens: "Opens[T]" = _at_once) -> Next[T] | None:
        """Take out the next that may go. Costs: 1 µs for the first in turn; each sender that may not goes to sleep.

        An urgent item of a sender that may go comes before those of all other senders.
        """
        if self._wakes_s <= now_s:
            self._wake(now_s)
        found = self._pop_of(URGENT, may, now_s, opens) if self._lanes[URGENT] else None
        return found or self._pop_of(NORMAL, may, now_s, opens)

    def rouse(self) -> None:
        """What the sleepers sleep for may be over: each is asked again."""
        self._wake(inf)

    def is_next(self, sender: str) -> bool:
        """Whether anything of a sender waits that is not stopped, as far as is known: others take their turn behind."""
        sleep = self._asleep.get(sender)
        return self._has(sender) and not (sleep is not None and sleep.is_stopped)

    def ahead(self, sender: str, group: Group) -> int:
        """How many of its sender have their turn before one that joined its group now; at most so many."""
        if not self.is_next(sender):
            return 0
        return sum(groups.ahead(group) for lane in self._lanes if (groups := lane.get(sender)) is not None)

    def last(self, sender: str, group: Group) -> T | None:
        """Who came last to a group, if anybody waits there."""
        for lane in self._lanes:
            groups = lane.get(sender)
            waiting = None if groups is None else groups.items.get(group)
            if waiting:
                return waiting[-1]
        return None

    @property
    def senders(self) -> int:
        """How many senders have something here; one with urgent ones too counts twice."""
        return len(self._lanes[URGENT]) + len(self._lanes[NORMAL])

    def keep(self, is_kept: Callable[[T], bool]) -> None:
        """Drop every item that is not to be kept. Costs: 0.1 µs an item."""
        for lane in self._lanes:
            for sender in list(lane):
                lane[sender].keep(is_kept)
                if not lane[sender].items:
                    del lane[sender]
        self._turns = deque(sender for sender in self._turns if self._has(sender))
        self._asleep = {sender: sleep for sender, sleep in self._asleep.items() if self._has(sender)}
        self._count = sum(groups.count for lane in self._lanes for groups in lane.values())

    def items(self) -> Iterator[T]:
        """All items, in no order that counts."""
        for lane in self._lanes:
            for groups in lane.values():
                for waiting in groups.items.values():
                    yield from waiting

    def _has(self, sender: str) -> bool:
        return sender in self._lanes[NORMAL] or sender in self._lanes[URGENT]

    def _pop_of(self, urgency: int, may: "May[T]", now_s: float, opens: "Opens[T]") -> Next[T] | None:
        lane, other = self._lanes[urgency], self._lanes[1 - urgency]
        for _ in range(len(self._turns)):
            sender = self._turns.popleft()
            groups = lane.get(sender)
            until_s = inf if groups is None else groups.turn(sender, may, now_s)
            if groups is None or until_s > now_s:
                if urgency == URGENT:
                    self._turns.append(sender)  # its others have not been asked
                    continue
                if sender in other:
                    until_s = min(until_s, other[sender].turn(sender, may, now_s))
                self._sleep(sender, _Sleep(until_s, is_stopped=True))
                continue
            opens_s = opens(sender, groups.first())
            if opens_s > now_s:
                self._sleep(sender, _Sleep(opens_s, is_stopped=False))
                continue
            return self._take(sender, groups, lane)
        return None

    def _take(self, sender: str, groups: _Groups[T], lane: dict[str, _Groups[T]]) -> Next[T]:
        group, item = groups.take()
        self._count -= 1
        if not groups.items:
            del lane[sender]
        if self._has(sender):
            self._turns.append(sender)
        return Next(sender, group, item)

    def _sleep(self, sender: str, sleep: _Sleep) -> None:
        self._asleep[sender] = sleep
        self._wakes_s = min(self._wakes_s, sleep.until_s)

    def _wake(self, now_s: float) -> None:
        """Ask those again whose time has come."""
        for sender in [each for each, sleep in self._asleep.items() if sleep.until_s <= now_s]:
            del self._asleep[sender]
            self._turns.append(sender)
        self._wakes_s = min((sleep.until_s for sleep in self._asleep.values()), default=inf)
