"""When a send that the gateway definitely refused is tried again: soon, or later by a named schedule.

All times are said and none is slept: the send is held until then. `max_age` is its own, and may end it sooner.
"""

from datetime import UTC, datetime, time, timedelta, tzinfo
from math import ceil
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

DOUBLINGS_MAX: Final = 16  # 0.1 s doubled 16 times is far over any delay_max_s; keeps the power small
LATERS_MAX: Final = 5  # as many as a policy's tries
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
SPREAD: Final = 0.25  # of a schedule's wait, added by jitter: what was refused together comes back one by one
SPREAD_MAX_S: Final = 30 * MINUTE_S  # also what a day's end is spread over
PACIFIC: Final = ZoneInfo("America/Los_Angeles")  # T-Mobile's day; the tzdata package has it where the system hasn't


class RetryPolicy(Struct, frozen=True):
    """Exponential backoff with full jitter. Source: Twilio's advice for 429 (100 ms doubling, at most 30 s).

    `tries_max` counts all requests of a send, the first included.
    """

    delay_first_s: float = 0.1
    delay_max_s: float = 30.0
    tries_max: int = 5


POLICY: Final = RetryPolicy()


class Waits(Struct, frozen=True):
    """A schedule that waits `waits_s[n - 1]` after the n-th refusal, and gives up after the last."""

    waits_s: tuple[float, ...]


class NextDay(Struct, frozen=True):
    """A schedule that waits for the next midnight of `zone`, at most `laters_max` times."""

    zone: tzinfo
    laters_max: int = LATERS_MAX


SCHEDULES: Final[dict[str, Waits | NextDay]] = {
    "once": Waits((5 * MINUTE_S,)),
    "minutes": Waits(tuple(MINUTE_S * minutes for minutes in (5, 10, 20, 40, 60))),
    "queue": Waits(tuple(MINUTE_S * minutes for minutes in (10, 20, 40, 80, 120))),
    "half_hour": Waits((30 * MINUTE_S,) * LATERS_MAX),
    "hour": Waits((HOUR_S,) * LATERS_MAX),
    "unreachable": Waits((15 * MINUTE_S, HOUR_S, 4 * HOUR_S)),
    "day": Waits((24 * HOUR_S,) * LATERS_MAX),
    "pacific_day": NextDay(PACIFIC),
    "utc_day": NextDay(UTC),
}


def delay_s(attempt: int, policy: RetryPolicy, jitter: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait before the attempt that follows `attempt`.

    Units: attempts count from 1; `jitter` is the caller's draw from [0, 1); a `retry_after_s` is the least.
    Raises: nothing; the result lies in [0, policy.delay_max_s], or is `retry_after_s` if that is more.
    """
    doublings = float(min(attempt - 1, DOUBLINGS_MAX))
    backoff_s = jitter * min(policy.delay_max_s, policy.delay_first_s * 2**doublings)
    return max(backoff_s, retry_after_s or 0.0)


def retry_at_ms(
    tries: int, now_ms: int, jitter: float, retry_after_s: float | None = None, policy: RetryPolicy = POLICY
) -> int | None:
    """When a send whose `tries` requests were all refused is tried again; None once its tries are used up.

    Units: ms since the epoch; tries count from 1; `jitter` and `retry_after_s` as in `delay_s`.
    """
    if tries >= policy.tries_max:
        return None
    return now_ms + ceil(delay_s(tries, policy, jitter, retry_after_s) * 1000)


def later_at_ms(schedule: str, laters: int, now_ms: int, jitter: float) -> int | None:
    """When a send that was refused for later is tried again by a schedule of `SCHEDULES`; None once that is used up.

    Units: ms since the epoch; `laters` counts the send's refusals of this kind from 1, with the present one, whatever
    their schedules; `jitter` is a draw from [0, 1). A wait is never shorter than named, and at most `SPREAD` longer.
    Raises: KeyError for a schedule of no such name.
    """
    match SCHEDULES[schedule]:
        case Waits(waits_s):
            if laters > len(waits_s):
                return None
            wait_s = waits_s[laters - 1]
            return now_ms + ceil((wait_s + jitter * min(wait_s * SPREAD, SPREAD_MAX_S)) * 1000)
        case NextDay(zone, laters_max):
            return None if laters > laters_max else _midnight_ms(zone, now_ms) + ceil(jitter * SPREAD_MAX_S * 1000)


def _midnight_ms(zone: tzinfo, now_ms: int) -> int:
    """The first midnight of a zone after `now_ms`, 23 to 25 hours after the last where clocks are changed."""
    tomorrow = datetime.fromtimestamp(now_ms // 1000, zone).date() + timedelta(days=1)
    return int(datetime.combine(tomorrow, time(), zone).timestamp()) * 1000
