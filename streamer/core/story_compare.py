"""What happened in a story against what it expects.

Everything that happens has to be expected, and all that is expected has to happen: one to one, in order of time; what
happens at one time may be listed in any order.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from msgspec import Struct

from streamer.core.filters import Check

COMPARED_MAX: Final = 2_000  # outcomes that are compared with what did not happen; more would take seconds

Wanted = tuple[str, dict[str, Any]]
"""A kind, and what is said of it by key."""


class Happened(Struct, frozen=True):
    """What came of the event with this number, from 1: `seen` has everything that an expectation may say of it."""

    kind: str
    at_ms: int
    event: int
    seen: dict[str, Any]


class Closest(Struct, frozen=True):
    """The event (by its number) that a mapping's `when` came closest to matching, and the conditions that failed."""

    event: int
    failing: tuple[Check, ...]


class Mismatch(Struct, frozen=True):
    """An expectation (by its place in the list) that was not met, or something that no one expected, or both: then
    they are alike, and differ in the keys `wrong`. `why` says what is known of a message that never came, `closest` by
    what its mapping missed it.
    """

    expectation: int | None = None
    happened: Happened | None = None
    wrong: tuple[str, ...] = ()
    why: str = ""
    closest: Closest | None = None


def is_met(wanted: Sequence[Wanted], happened: Sequence[Happened]) -> bool:
    """Whether each expectation, in order, is met by one thing that happened; those of one time in any order."""
    if len(wanted) != len(happened):
        return False
    at = 0
    for _, group in groupby(happened, key=lambda each: each.at_ms):
        things = list(group)
        if len(_matched(wanted[at : at + len(things)], things)) < len(things):
            return False
        at += len(things)
    return True


def _matched(wanted: Sequence[Wanted], happened: Sequence[Happened]) -> dict[int, int]:
    """As many expectations as can be, each with a thing of its own that meets it; by their indices.

    The augmenting paths of bipartite matching, found breadth first, as a path may be as long as the lists.
    """
    edges = [[j for j, each in enumerate(happened) if _meets(each, want)] for want in wanted]
    holder: dict[int, int] = {}  # of each thing, the expectation that has it
    for i in range(len(wanted)):
        came_from: dict[int, int] = {}  # of each thing reached, the expectation that could do with it
        queue = deque([i])
        free = None
        while queue and free is None:
            at = queue.popleft()
            for j in edges[at]:
                if j in came_from:
                    continue
                came_from[j] = at
                if j not in holder:
                    free = j
                    break
                queue.append(holder[j])
        has = {i: j for j, i in holder.items()} if free is not None else {}
        while free is not None:  # everyone on the path takes the next thing
            taker = came_from[free]
            holder[free], free = taker, has.get(taker)
    return {i: j for j, i in holder.items()}


def _meets(each: Happened, want: Wanted) -> bool:
    kind, said = want
    return kind == each.kind and all(each.seen.get(key) == value for key, value in said.items())


def _wrong(want: Wanted, each: Happened) -> tuple[str, ...]:
    """The keys in which something differs from an expectation."""
    kind, said = want
    wrong = tuple(key for key, value in said.items() if each.seen.get(key) != value)
    return wrong if kind == each.kind else ("kind", *wrong)


def mismatches(wanted: Sequence[Wanted], happened: Sequence[Happened]) -> list[Mismatch]:
    """What was not met and what was not expected, those that are alike together; none, if only the order is wrong."""
    matched = _matched(wanted, happened[:COMPARED_MAX])
    unmet = [i for i in range(len(wanted)) if i not in matched]
    met = set(matched.values())
    left = {j: each for j, each in enumerate(happened) if j not in met}
    found = []
    for i in unmet:
        alike = _nearest(wanted[i], left)
        if alike is None:
            found.append(Mismatch(i))
        else:
            each = left.pop(alike)
            found.append(Mismatch(i, each, _wrong(wanted[i], each)))
    return found + [Mismatch(happened=each) for each in left.values()]


def _nearest(want: Wanted, left: Mapping[int, Happened]) -> int | None:
    """What happened in place of an expectation: of its mapping if it names one, else of its kind; the most alike."""
    kind, said = want

    def is_alike(each: Happened) -> bool:
        return said["mapping"] == each.seen.get("mapping") if "mapping" in said else kind == each.kind

    alike = [(len(_wrong(want, each)), j) for j, each in left.items() if j < COMPARED_MAX and is_alike(each)]
    return min(alike)[1] if alike else None
