"""How many requests one account may have in flight: raised while that pays, lowered by 429 and timeouts.

Twilio allows an account some number of requests at once, tells nobody which, and shares it among all its users. So:

1. From START the limit rises by one an answer, doubling each round (slow start), until the first sign of congestion.
2. A 429 or a timeout tells a level that was too much. The limit falls a little under it and remembers it as its
   ceiling: it comes back fast, crawls past, and hastens again the farther nothing happens.
3. Latency only stops the rise: a round slower than the fastest one takes the limit back to where it was flat, never
   below. Limiters that shrink by latency alone are known to mistake jitter for congestion and never find their level.
4. Only a limit that is used rises. A refusal of the message itself is an answer like any other.
"""

from math import inf
from typing import Final

START: Final = 20  # as many as anybody's smallest account takes; two doublings from the usual cap of 64
ROUND_ANSWERS_MIN: Final = 20  # a mean of fewer is jitter
SLOW_START_USE: Final = 0.5  # share of the limit that must be in flight for it to rise; a round doubles it
USE: Final = 0.8  # the same afterwards, when a round adds an eighth at most
RISE_MAX: Final = 0.125  # an answer, so an eighth of the limit a round
RISE_MIN: Final = 1 / 500  # an answer: at the ceiling one request in 500 at most goes to try one more
BUSY_SHARE: Final = 0.95  # of the level that passed; CUBIC's idea, gentler, for a 429 is cheap and says it exactly
TIMEOUT_SHARE: Final = 0.7  # a timeout leaves a send unknown, so it costs more
FLAT_RATIO: Final = 1.5  # a round's mean rtt to the least one's; Gradient2's tolerance
FLAT_EXCESS_S: Final = 0.05  # a smaller rise is our own queue: 64 requests take a busy process 20 ms at 3 000 a second
OUTLIER_RATIO: Final = 4.0  # one rtt counts as this many times the least mean at most
HELD_MAX_S: Final = 10.0  # after so long without a flat round, half the limit shows what flat is now


class Limiter:
    """The limit of one account in one process. Levels are requests in flight as one was sent, itself included.

    Invariant: floor <= limit <= cap. Every call takes constant time; there is no clock, `now_s` is monotonic seconds.
    """

    __slots__ = (
        "_cap",
        "_ceiling",
        "_flat_level",
        "_flat_rtt_s",
        "_floor",
        "_held_since_s",
        "_is_flat",
        "_level",
        "_round_answers",
        "_round_left",
        "_round_rtt_s",
        "limit",
    )

    def __init__(self, cap: int, floor: int = 1) -> None:
        self.limit = max(floor, min(cap, START))
        self._cap = cap
        self._floor = floor
        self._level = float(self.limit)  # the limit before it is rounded down
        self._ceiling = inf  # the level that passed when one more did not; inf: slow start
        self._flat_level = self.limit
        self._flat_rtt_s = inf
        self._is_flat = True
        self._held_since_s = 0.0
        self._begin_round()

    def on_answer(self, rtt_s: float, in_flight: int, now_s: float) -> None:
        """A request was answered, whatever was said of its message."""
        level = self._level
        is_starting = self._ceiling == inf
        if in_flight < level * (SLOW_START_USE if is_starting else USE):
            return
        self._round_rtt_s += min(rtt_s, self._flat_rtt_s * OUTLIER_RATIO)
        self._round_left -= 1
        if not self._round_left:
            self._end_round(in_flight, now_s)
            level = self._level
        if self._is_flat and level < self._cap:
            distance = abs(self._ceiling - level)
            rise = 1.0 if is_starting else max(RISE_MIN, min(RISE_MAX, distance / (2 * level)))
            self._set(level + rise)

    def on_busy(self, now_s: float, in_flight: int) -> None:
        """A request was answered 429."""
        self._back_off(in_flight - 1, BUSY_SHARE)

    def on_timeout(self, now_s: float, in_flight: int) -> None:
        """A request was not answered in time."""
        self._back_off(in_flight - 1, TIMEOUT_SHARE)

    def _back_off(self, passed: int, share: float) -> None:
        """Fall below `passed`; one refused at a level the limit has left already tells nothing new."""
        if passed >= self.limit:
            return
        is_known = self._ceiling <= passed or self._ceiling == inf
        self._ceiling = passed if is_known else passed * BUSY_SHARE  # lower than ever: others want their share
        self._set(passed * share)

    def _begin_round(self) -> None:
        self._round_answers = self._round_left = max(self.limit, ROUND_ANSWERS_MIN)
        self._round_rtt_s = 0.0

    def _end_round(self, in_flight: int, now_s: float) -> None:
        """Judge the round's latency."""
        mean_s = self._round_rtt_s / self._round_answers
        flat_s = self._flat_rtt_s
        was_flat = self._is_flat
        self._is_flat = mean_s <= max(flat_s * FLAT_RATIO, flat_s + FLAT_EXCESS_S)
        if self._is_flat:
            self._flat_rtt_s = min(flat_s, mean_s)
            self._flat_level = in_flight
        elif was_flat:
            self._held_since_s = now_s
            self._set(min(self._level, self._flat_level))
            self._ceiling = min(self._ceiling, self._level)
        elif now_s - self._held_since_s > HELD_MAX_S:
            self._ceiling = self._level
            self._flat_rtt_s = inf
            self._is_flat = True
            self._set(self._level / 2)
        self._begin_round()

    def _set(self, level: float) -> None:
        self._level = max(float(self._floor), min(float(self._cap), level))
        self.limit = int(self._level)
