"""The lease: whether this process surely still is its group's member, and so may start a send; and what else must hold.

A broker that takes a commit gives the member a whole session timeout from then on, as at a heartbeat, and nobody else
owns its partitions before that is over. So from the moment the commit was asked for, which is earlier, until the
timeout less a margin, there is no successor.

A send may start only while the copy of the suppressions is fresh, too: else somebody may have said STOP.
"""

import math
from collections.abc import Callable
from itertools import islice
from typing import Final

# Of the session timeout. What was checked still has to reach the gateway: a process that stalls in between for less
# than this does no harm, nor does a clock that runs slow by it. A quarter, as heartbeats are apart.
MARGIN_SHARE: Final = 0.25
COMMITS_A_SESSION: Final = 4  # one of them may be lost or late before the lease lapses
COMMIT_EVERY_MAX_S: Final = 1.0
FRESH_S: Final = 10.0  # Source: ARCHITECTURE, "Suppressions"
TURNED_AWAY_MAX: Final = 4_096  # people of one partition: 20 MB; beyond, no more are looked at
OPENED_MAX: Final = 200  # let in again in one turn of the loop, about 20 ms


class Lease:
    """One process's, for all its partitions: a member has them all or none. Units: monotonic seconds.

    Invariant: it holds only within a tenure, and only by a commit that was asked for in it.
    """

    def __init__(self, session_timeout_s: float) -> None:
        self.commit_every_s = min(COMMIT_EVERY_MAX_S, session_timeout_s / COMMITS_A_SESSION)
        self._length_s = session_timeout_s * (1 - MARGIN_SHARE)
        self._begun_s = math.inf
        self.until_s = -math.inf

    def begin(self, now_s: float) -> None:
        """A tenure begins."""
        self._begun_s = now_s

    def renew(self, asked_s: float) -> None:
        """A commit that was asked for then has succeeded; one of an earlier tenure says nothing."""
        if asked_s >= self._begun_s:
            self.until_s = max(self.until_s, asked_s + self._length_s)

    def fall(self) -> None:
        """The tenure ends: a revocation has begun."""
        self._begun_s, self.until_s = math.inf, -math.inf

    def holds(self, now_s: float) -> bool:
        """Whether a send may start."""
        return now_s < self.until_s


class Freshness:
    """Up to when the copy of the suppressions counts as whole. Units: monotonic seconds."""

    def __init__(self) -> None:
        self.until_s = -math.inf

    def renew(self, asked_s: float) -> None:
        """It was read past where its topic ended when that was asked for, then."""
        self.until_s = max(self.until_s, asked_s + FRESH_S)

    def is_fresh(self, now_s: float) -> bool:
        """Whether a send may start."""
        return now_s < self.until_s


class Gate:
    """Lease and freshness as one tenure asks them: it keeps in mind whom it turned away, for when both hold again."""

    def __init__(self, lease: Lease, freshness: Freshness, now_s: Callable[[], float]) -> None:
        self._lease = lease
        self._freshness = freshness
        self._now_s = now_s
        self._waiting: dict[bytes, None] = {}  # keys, bounded by the lanes in memory

    def crowd_share(self) -> float:
        """How many wait that it turned away, of as many as may; from 1 on no more should come."""
        return len(self._waiting) / TURNED_AWAY_MAX

    def lets(self, key: bytes) -> bool:
        """Whether a send of this person may start; else `opened` will name them. Costs 0.1 µs."""
        now_s = self._now_s()
        # As `holds` and `is_fresh`, without a call: asked twice for every send.
        if now_s < self._lease.until_s and now_s < self._freshness.until_s:
            return True
        self._waiting[key] = None
        return False

    def opened(self) -> tuple[bytes, ...]:
        """Whom it turned away, once it lets them; the first of them, if they are many. Asked every tick."""
        now_s = self._now_s()
        if not (self._waiting and self._lease.holds(now_s) and self._freshness.is_fresh(now_s)):
            return ()
        let = tuple(islice(self._waiting, OPENED_MAX))
        for key in let:
            del self._waiting[key]
        return let
