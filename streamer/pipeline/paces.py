"""What one account and its senders may send per second, as far as this process has a share of it."""

from collections.abc import Collection, Mapping
from math import inf
from typing import Final

from streamer.core import gcra
from streamer.core.gcra import Bucket, Pace, Wait


class _Tap:
    """The pace of one sender or account: this owner's share of a limit."""

    __slots__ = ("_bucket", "_limit", "_pace")

    def __init__(self, limit: Pace, now_s: float) -> None:
        self._limit = limit
        self._pace = Pace(0.0, 0.0)
        self._bucket = gcra.empty(now_s)

    def share(self, owned: int, total: int, now_s: float) -> None:
        pace = gcra.shared(self._limit, owned, total)
        self._bucket = gcra.changed(self._bucket, self._pace, pace, now_s)
        self._pace = pace

    def opens_s(self, parts: int, now_s: float) -> float:
        found = gcra.take(self._bucket, self._pace, parts, now_s)
        return found.until_s if isinstance(found, Wait) else -inf

    def takes_s(self, parts: int) -> float:
        return parts / self._pace.parts_per_s if parts and self._pace.parts_per_s else 0.0

    def take(self, parts: int, now_s: float) -> None:
        found = gcra.take(self._bucket, self._pace, parts, now_s)
        assert isinstance(found, Bucket)  # asked before, in the same turn
        self._bucket = found


_NO_TAPS: Final[tuple[_Tap, ...]] = ()


class Paces:
    """Those of one account: `requests` is its own, `limits` its senders'; `lone` senders have one owner each.

    Units: monotonic seconds; parts, of which a request is one to the account.
    """

    def __init__(self, requests: Pace | None, limits: Mapping[str, Pace], lone: Collection[str], now_s: float) -> None:
        self._requests = None if requests is None else _Tap(requests, now_s)
        self._senders = {sender: _Tap(pace, now_s) for sender, pace in limits.items()}
        self._lone = frozenset(lone)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._senders) or self._requests is not None

    def share(self, owned: int, total: int, at_home: Collection[str], now_s: float) -> None:
        """Take this process's share of every limit, as it owns so many of all partitions.

        That of a sender that has one owner is not shared: `at_home` are those of which it is us, and theirs are whole.
        """
        if self._requests is not None:
            self._requests.share(owned, total, now_s)
        for sender, tap in self._senders.items():
            if sender in self._lone:
                tap.share(int(sender in at_home), 1, now_s)
            else:
                tap.share(owned, total, now_s)

    def opens_s(self, sender: str, parts: int, now_s: float) -> float:
        """When so many parts of a sender pass, if nothing else does before; -inf: now."""
        taps = self._of(sender)
        return max((tap.opens_s(self._dear(tap, parts), now_s) for tap in taps), default=-inf)

    def take(self, sender: str, parts: int, now_s: float) -> None:
        """Take so many parts of a sender, which were found to pass in the same turn."""
        for tap in self._of(sender):
            tap.take(self._dear(tap, parts), now_s)

    def takes_s(self, sender: str, parts: int, requests: int) -> float:
        """How long so many parts of a sender take, and so many requests of the account: the longer of both."""
        tap = self._senders.get(sender)
        sender_s = tap.takes_s(parts) if tap is not None else 0.0
        return sender_s if self._requests is None else max(sender_s, self._requests.takes_s(requests))

    def request_opens_s(self, now_s: float) -> float:
        """When a request that is no message passes; -inf: now, and it is taken."""
        if self._requests is None:
            return -inf
        opens_s = self._requests.opens_s(1, now_s)
        if opens_s <= now_s:
            self._requests.take(1, now_s)
        return opens_s

    def _of(self, sender: str) -> tuple[_Tap, ...]:
        if not self:
            return _NO_TAPS
        return tuple(tap for tap in (self._requests, self._senders.get(sender)) if tap is not None)

    def _dear(self, tap: _Tap, parts: int) -> int:
        return 1 if tap is self._requests else parts
