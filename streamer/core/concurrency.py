"""How many requests of one account may be in flight: raised while that pays, lowered by 429 and timeouts.

Twilio allows an account some number of requests at once, says to nobody which, and shares it among all who use the
account. What the limit learns, and from what:

1. It starts at START and rises by one an answer, doubling each round trip, until the first sign of congestion.
2. A 429 or a timeout names a level that was too high. One less is remembered as the ceiling, and the limit falls
   somewhat below; it comes back in a few round trips, crawls past, and hastens again the longer nothing happens.
   Refused below its own ceiling, it gives up a part of that too: someone else is asking for a share.
3. Latency says when to stop, not how far to fall. The first round of answers that is slower than the fastest ends the
   doubling and takes back what was risen since the last flat one; later ones only hold the limit. Limiters that shrink
   on latency mistake jitter for congestion and never find their level. Held long enough, the limit is halved once, to
   see whether the upper half bought anything but a queue; if it did, it is back in a few round trips.
4. Only a limit that is used rises. A refusal of the message itself is an answer like any other.

Where requests queue in our own loop, throughput does not depend on the limit: it rises to the cap, or stays where the
queue adds FLAT_EXCESS_S. The shape is AIMD with CUBIC's curve around the ceiling; figures: tests/property.
"""

from math import inf
from typing import Final

START: Final = 20  # two doublings below the usual cap of 64; a burst of 20 hurts nobody's account
RISE_MAX: Final = 0.125  # an answer: an eighth of the limit a round trip at most, once a ceiling is known
PULL: Final = 0.5  # of the distance to the ceiling, a round trip
PUSH: Final = 1 / 16  # of the distance past it: doubles in 11 round trips, for word of a timeout comes late
CRAWL: Final = 0.1  # a round trip at the ceiling: every tenth tries one more, so 100 in flight see 0.1 % refused
CRAWL_MAX: Final = 0.05  # an answer: from 1 to 2 within 20, so that a newcomer to a full account gets its foot in
USE_STARTING: Final = 0.5  # the share of the limit in flight that counts as used while each round trip doubles it
USE: Final = 0.8  # and afterwards
BUSY_SHARE: Final = 0.97  # of the level that passed: a 429 is cheap and exact, so the cut need not be deep
SHARED_SHARE: Final = 0.9  # of a level that passed before and does no more: somebody came, and how many is unknown
SHARED_CEILING_SHARE: Final = 0.95  # of it, to come back to; else two that send in step refuse each other 4 %
TIMEOUT_SHARE: Final = 0.7  # a timeout leaves its send unknown, and its cause in the dark
TIMEOUT_CEILING: Final = 32  # no timeout has the limit crawl below: with 5 % of requests hanging it would stay at 1
ROUND_MIN: Final = 20  # answers: one round trip at the start
ROUND_MAX: Final = 100  # answers; their mean wanders by a tenth when the jitter is exponential
FLAT_RATIO: Final = 1.5  # a round's mean rtt to the flat one, at most; Gradient2's tolerance
FLAT_EXCESS_S: Final = 0.05  # or this much over it: what our own loop adds with 128 in flight at 2 500 a second
OUTLIER_RATIO: Final = 4.0  # what one rtt counts at most, in flat ones
HELD_ROUNDS_MAX: Final = 10  # without a flat one between them, and
HELD_MAX_S: Final = 10.0  # as long: then the limit is halved and flat is learnt anew


class Limiter:
    """The limit of one account in one process; `floor` <= limit <= `cap`.

    `in_flight` is the level at which the request was SENT, itself included: word that comes back late still names the
    level that was refused. `now_s` is monotonic. A call takes constant time, 0.25 to 0.55 µs.
    """

    __slots__ = (
        "_cap",
        "_ceiling",
        "_flat_level",
        "_flat_s",
        "_floor",
        "_held_rounds",
        "_held_since_s",
        "_level",
        "_outlier_s",
        "_round_left",
        "_round_level",
        "_round_s",
        "_round_size",
        "limit",
    )

    def __init__(self, cap: int, floor: int = 1) -> None:
        self.limit = max(floor, min(cap, START))
        self._cap = cap
        self._floor = floor
        self._level = float(self.limit)  # the limit before it is rounded down
        self._ceiling = inf  # the level that passed when one more did not; inf: starting
        self._flat_s = inf  # about the least mean rtt of a round; inf: the next round says
        self._outlier_s = inf
        self._flat_level = self._round_level = self.limit  # in flight as the last flat round, and this one, began
        self._held_rounds = 0  # since the last flat one
        self._held_since_s = 0.0
        self._begin_round()

    def on_answer(self, rtt_s: float, in_flight: int, now_s: float) -> None:
        """A request was answered, whatever was said of its message."""
        limit = self.limit
        is_starting = self._ceiling == inf
        if in_flight > limit or in_flight < limit * (USE_STARTING if is_starting else USE):
            return  # sent before the limit fell, or the limit is not used
        self._round_s += min(self._outlier_s, rtt_s)
        self._round_left -= 1
        if not self._round_left:
            self._end_round(in_flight, now_s)
        if limit < self._cap and not self._held_rounds and self._flat_s != inf:
            self._level += 1.0 if is_starting else self._rise()  # at most 1, so never past the cap
            self.limit = int(self._level)

    def on_busy(self, now_s: float, in_flight: int) -> None:  # noqa: ARG002  # all three are called alike
        """A request was answered 429."""
        self._back_off(in_flight - 1, BUSY_SHARE)

    def on_timeout(self, now_s: float, in_flight: int) -> None:  # noqa: ARG002  # all three are called alike
        """A request was not answered in time.

        In an outage nothing is answered, and the limit falls to the floor. But some share of requests may hang at any
        level: where others are answered, it is back soon.
        """
        self._back_off(in_flight - 1, TIMEOUT_SHARE)
        self._ceiling = max(self._ceiling, min(self._cap, TIMEOUT_CEILING))

    def _back_off(self, passed: int, share: float) -> None:
        """Fall below `passed`. A burst falls once: what was sent above the limit of now tells nothing new."""
        if passed >= self.limit:
            return
        if self._ceiling == inf or passed >= self._ceiling:
            self._ceiling = float(passed)
        else:
            self._ceiling = passed * SHARED_CEILING_SHARE
            share = min(share, SHARED_SHARE)
        self._move(passed * share)

    def _rise(self) -> float:
        """How much one answer adds: much far from the ceiling, on either side, and little around it."""
        below = self._ceiling - self._level
        pull = below * PULL if below > 0 else -below * PUSH
        if pull < CRAWL:
            return min(CRAWL_MAX, CRAWL / self._level)
        return min(RISE_MAX, pull / self._level)

    def _begin_round(self) -> None:
        most = ROUND_MIN if self._ceiling == inf else ROUND_MAX
        self._round_size = self._round_left = max(ROUND_MIN, min(self.limit, most))
        self._round_s = 0.0

    def _end_round(self, in_flight: int, now_s: float) -> None:
        """Judge a round's latency: flat, or one that holds the limit."""
        mean_s = self._round_s / self._round_size
        if mean_s <= max(self._flat_s * FLAT_RATIO, self._flat_s + FLAT_EXCESS_S):
            # halfway down only: the least of many means is luck
            self._flat_s = mean_s if self._flat_s == inf else min(self._flat_s, (self._flat_s + mean_s) / 2)
            self._outlier_s = self._flat_s * OUTLIER_RATIO
            self._flat_level = self._round_level
            self._held_rounds = 0
        else:
            self._hold(now_s)
        self._round_level = min(in_flight, self.limit)
        self._begin_round()

    def _hold(self, now_s: float) -> None:
        self._held_rounds += 1
        if self._held_rounds == 1:
            self._held_since_s = now_s
        if self._ceiling == inf:
            self._move(min(self._level, self._flat_level))
            self._ceiling = self._level
        elif self._held_rounds > HELD_ROUNDS_MAX and now_s - self._held_since_s > HELD_MAX_S:
            self._ceiling = self._level
            self._flat_s = self._outlier_s = inf
            self._held_rounds = 0
            self._move(self._level / 2)

    def _move(self, level: float) -> None:
        self._level = max(float(self._floor), min(float(self._cap), level))
        self.limit = int(self._level)
