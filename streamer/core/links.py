"""Who a key's events belong to, by event time: an anonymous id's user, or the user that an alias names.

A key that has links is a pointer: its state moved on with the first, and what comes later is forwarded. What is older
than the first link belongs to that one's person; nothing that is older than a later link reaches that one's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from streamer.core.state import Link

LINKS_MAX: Final = 64  # of one key; only the first, and the ends of runs of one person, are kept
LINKS_BYTES_MAX: Final = 8 * 1024
ERASED: Final = ""  # the target of a link whose person was forgotten on demand, or of one there was no room for
GONE: Final = "#"  # where an event went that was passed on to somebody who was erased since
LATELY_MAX: Final = 100_000  # pairs a router remembers: 30 MB; one that fell out is linked again, which changes nothing
REFRESH_MS: Final = 60_000  # of event time: how much of a run may be missing at an owner, that has it from routers


def linked(links: list[Link], event_ms: int, target: str) -> list[Link]:
    """The links with one more; the same list if it says nothing new.

    Of a run of one target only its ends are kept; as far as no later arrival falls between them, the order of arrival
    makes no difference. Beyond the bounds the oldest but the first goes: its times are nobody's from then on, for they
    must not become another person's.
    """
    link = (event_ms, target)
    at = sum(each <= link for each in links)
    if at and links[at - 1] == link:
        return links
    before = links[at - 1][1] if at else None
    after = links[at][1] if at < len(links) else None
    if before == target == after:
        return links
    kept = _ends_of_runs([*links[:at], link, *links[at:]])
    while _is_too_much(kept):
        oldest = next(number for number, each in enumerate(kept) if number and each[1] != ERASED)
        kept[oldest] = (kept[oldest][0], ERASED)
        kept = _ends_of_runs(kept)
    return kept


def _is_too_much(links: Sequence[Link]) -> bool:
    if len(links) > LINKS_MAX:
        return True
    targets = [key for _, key in links[1:] if key != ERASED]
    return len(targets) > 1 and sum(len(key.encode()) for _, key in links) > LINKS_BYTES_MAX


def target_at(links: Sequence[Link], event_ms: int) -> str:
    """Whose an event of this time is; `links` must not be empty."""
    target = links[0][1]
    for link_ms, key in links:
        if link_ms > event_ms:
            break
        target = key
    return target


def targets(links: Sequence[Link]) -> tuple[str, ...]:
    """Everyone who ever was linked, once each, in order of time; those erased are left out."""
    return tuple(dict.fromkeys(key for _, key in links if key != ERASED))


def is_nobodys(links: Sequence[Link], event_ms: int) -> bool:
    """Whether an event of this time lies between links, and where they don't say whose it is.

    What comes after the last link is not: where that one was erased, the key is a person of its own again.
    """
    return bool(links) and event_ms < links[-1][0] and target_at(links, event_ms) == ERASED


def erased(links: Sequence[Link], target: str, to_ms: int) -> list[Link]:
    """The links without any word of `target` until `to_ms`: its times until then belong to nobody.

    A run of it that goes on later begins right after; what was linked later is none of the erasure's business.
    """
    kept: list[Link] = []
    for at, (ms, key) in enumerate(links):
        if key != target or ms > to_ms:
            kept.append((ms, key))
            continue
        kept.append((ms, ERASED))
        after = links[at + 1] if at + 1 < len(links) else None
        if after is not None and after[1] == target and after[0] > to_ms:
            kept.append((to_ms + 1, target))
    return _ends_of_runs(kept)


def _ends_of_runs(links: list[Link]) -> list[Link]:
    last = len(links) - 1
    return [
        link for at, link in enumerate(links) if at in (0, last) or not links[at - 1][1] == link[1] == links[at + 1][1]
    ]


class LatelyLinked:
    """The links that a router sent on lately, so that not every event of a known device becomes one.

    A link is needed where a key's user changes, where the event is older than what was sent, or a run grew by
    REFRESH_MS. Bounded by `size_max` pairs.
    """

    def __init__(self, size_max: int = LATELY_MAX) -> None:
        self._runs: OrderedDict[str, tuple[str, int, int]] = OrderedDict()  # target, first and last time sent
        self._size_max = size_max

    def needs(self, key: str, target: str, event_ms: int) -> bool:
        """Whether this link must be sent; if so it counts as sent."""
        if self.knows(key, target, event_ms):
            return False
        known = self._runs.get(key)
        if known is not None and known[0] == target:
            _, first_ms, last_ms = known
            self._runs[key] = (target, min(first_ms, event_ms), max(last_ms, event_ms))
        else:
            self._runs[key] = (target, event_ms, event_ms)
        self._runs.move_to_end(key)
        if len(self._runs) > self._size_max:
            self._runs.popitem(last=False)
        return True

    def knows(self, key: str, target: str, event_ms: int) -> bool:
        """Whether this link was sent, so that it need not be; 0.1 µs."""
        known = self._runs.get(key)
        return known is not None and known[0] == target and known[1] <= event_ms < known[2] + REFRESH_MS

    def clear(self) -> None:
        """Forget them all: a tenure ended, and what was sent may not have arrived."""
        self._runs.clear()
