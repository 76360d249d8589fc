"""How many messages a person may get in some time: rolling windows, and calendar days and weeks in their zone.

What is counted are postings: a message is noted as its request is about to leave, and given back once it is known that
none came of it. A limit counts those of one mapping, of one category, of all, or of all people of one number.
Read after `sends` and `state`, whose `Person.counted` it keeps; before `gate`, which asks it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from streamer.core.state import COUNTED_MAX, COUNTS_MAX

MAPPING: Final = "mapping"
CATEGORY: Final = "category"
ALL: Final = "all"
NUMBER: Final = "number"
SCOPES: Final = (MAPPING, CATEGORY, ALL, NUMBER)
DAY: Final = "day"
WEEK: Final = "week"  # begins on Monday, as ISO 8601 has it
PERIODS: Final = (DAY, WEEK)
COUNT_MAX: Final = 100  # of a limit: so many of the newest postings of each mapping tell whether any limit is full
PER_MAX_S: Final = 31 * 86_400
SPARE: Final = 4  # postings of a mapping more: given back, a refusal heard late may uncover so many older ones
WEEK_MS: Final = 8 * 86_400_000  # the longest that a posting counts in a calendar week: clocks are changed, people move
AHEAD_MAX_MS: Final = 86_400_000  # no owner's clock is so far ahead of another's
_DAYS_CACHED: Final = 4_096  # 1 MB: zones times the minutes of an hour

Counted = dict[str, list[int]]
"""By `mapping/category` the times of postings, ms since the epoch, oldest first."""


class Limit(Struct, frozen=True):
    """At most `count` messages `per` period: DAY or WEEK of the calendar, else any `per_s` seconds.

    `over` is one of SCOPES. A message that finds it full is held until it is not, or dropped (`is_dropped`).
    """

    count: int
    per: str
    per_s: float
    over: str
    is_dropped: bool = False

    @property
    def text(self) -> str:
        """How outcomes name it."""
        return f"{self.count} per {self.per} over {self.over}"

    @property
    def counted_ms(self) -> int:
        """How long a posting counts at most."""
        return WEEK_MS if self.per in PERIODS else int(self.per_s * 1000)


class Full(NamedTuple):
    """A limit that is full, and when it is not any more if nothing is posted until then."""

    limit: Limit
    until_ms: int


class Counting(Struct, frozen=True):
    """What of the limits of all mappings says how long postings are kept, and how many of each mapping.

    `kept_ms` 0: nothing has a limit, and nothing is counted. `by_number`: some are counted with the number.
    """

    kept_ms: int = 0
    newest: int = 0
    by_number: bool = False

    @classmethod
    def of(cls, limits: Iterable[Limit]) -> "Counting":
        """For all limits that there are."""
        known = tuple(limits)
        return cls(
            kept_ms=max((each.counted_ms for each in known), default=0),
            newest=max((each.count for each in known), default=0),
            by_number=any(each.over == NUMBER for each in known),
        )


def note(counted: Counted, name: str, posted_ms: int, counting: Counting) -> None:
    """Count a posting of `name`, which is `mapping/category`; what no limit asks for any more is forgotten.

    Only the newest `counting.newest` of a name can fill a limit. A clock that was set back leaves later ones in place.
    """
    expire(counted, posted_ms, counting)
    counted[name] = _newest((*counted.get(name, ()), posted_ms), counting)
    _bound(counted)


def give_back(counted: Counted, mapping: str, posted_ms: int) -> None:
    """No message came of a posting: it doesn't count. Its category may have changed since."""
    for name, times in counted.items():
        if name.partition("/")[0] == mapping and posted_ms in times:
            times.remove(posted_ms)
            if not times:
                del counted[name]
            return


def expire(counted: Counted, now_ms: int, counting: Counting) -> None:
    """Forget what no limit asks for any more."""
    since_ms = now_ms - counting.kept_ms
    for name in [name for name, times in counted.items() if times[0] <= since_ms]:
        counted[name] = [at_ms for at_ms in counted[name] if at_ms > since_ms]
        if not counted[name]:
            del counted[name]


def unite(counted: Counted, other: Mapping[str, Sequence[int]], counting: Counting, now_ms: int) -> None:
    """Add what another key of the person was sent; what lies over a day ahead no owner counted."""
    for name, times in other.items():
        known = [at_ms for at_ms in times if at_ms <= now_ms + AHEAD_MAX_MS]
        if known:
            counted[name] = _newest((*counted.get(name, ()), *known), counting)
    _bound(counted)


def _newest(times: Sequence[int], counting: Counting) -> list[int]:
    return sorted(times)[-counting.newest - SPARE :]


def _bound(counted: Counted) -> None:
    """Forget the oldest beyond what a record may hold: what a message of no limit, or another key's, made too much.

    Until there is room again no message leaves that has a limit; by then what was forgotten would count no more.
    """
    while len(counted) > COUNTS_MAX:
        del counted[min(counted, key=lambda name: counted[name][-1])]
    surplus = sum(map(len, counted.values())) - COUNTED_MAX
    if surplus > 0:
        for at_ms, name in sorted((at_ms, name) for name, times in counted.items() for at_ms in times)[:surplus]:
            give_back(counted, name.partition("/")[0], at_ms)


def fullest(
    limits: Sequence[Limit], counted: Counted, name: str, zones: Sequence[str], now_ms: int, counting: Counting
) -> Full | None:
    """Of the limits that are full for one more posting of `name`, the one that stays so the longest; None: none is.

    `zones` are all that the person may be in: a calendar's limit is full where it is in any of them. Of limits that end
    alike one that drops is named. Where more is counted than a record may hold, that is a limit too.
    Costs: 1 µs with one rolling limit and few postings, 3 with three of which two are of the calendar.
    """
    if not counted:
        return None
    found: Full | None = None
    total = sum(map(len, counted.values()))
    for limit in limits:
        until_ms = _full_until_ms(limit, counted, name, zones, now_ms) if total >= limit.count else 0
        if until_ms > now_ms and (
            found is None or (until_ms, limit.is_dropped) > (found.until_ms, found.limit.is_dropped)
        ):
            found = Full(limit, until_ms)
    if limits and (total >= COUNTED_MAX or (name not in counted and len(counted) >= COUNTS_MAX)):
        oldest_ms = min(times[0] for times in counted.values())
        over = Full(_TOO_MANY, max(oldest_ms + counting.kept_ms, now_ms + 1))
        found = over if found is None or over.until_ms > found.until_ms else found
    return found


def _full_until_ms(limit: Limit, counted: Counted, name: str, zones: Sequence[str], now_ms: int) -> int:
    """Until when a limit is full; 0: it is not."""
    asked = _in_scope(limit.over, counted, name)
    if sum(map(len, asked)) < limit.count:
        return 0
    at_ms = (asked[0] if len(asked) == 1 else sorted(chain.from_iterable(asked)))[-limit.count]
    if limit.per not in PERIODS:
        return at_ms + int(limit.per_s * 1000)
    ends = [_period(zone, limit.per, now_ms // 60_000) for zone in zones]
    return max([end_ms for begin_ms, end_ms in ends if at_ms >= begin_ms], default=0)


def _in_scope(over: str, counted: Counted, name: str) -> list[list[int]]:
    """The postings that count for `name`, each list in order."""
    if over in (ALL, NUMBER):
        return list(counted.values())
    mapping, slash, category = name.partition("/")
    if over == MAPPING:
        return [times for each, times in counted.items() if each.startswith(mapping + slash)]
    if not category:
        return []
    return [times for each, times in counted.items() if each == name or each.partition("/")[2] == category]


@lru_cache(maxsize=_DAYS_CACHED)
def _period(zone: str, per: str, minute: int) -> tuple[int, int]:
    """When the day or week of a zone began that a minute since the epoch is in, and when it ends; ms."""
    its = ZoneInfo(zone)
    today = datetime.fromtimestamp(minute * 60, its).date()
    first = today - timedelta(days=today.weekday()) if per == WEEK else today
    return _midnight_ms(first, its), _midnight_ms(first + timedelta(days=7 if per == WEEK else 1), its)


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    """When a day begins: where clocks skip its midnight, the moment they skip it (fold 0 lies that far before)."""
    return int(datetime.combine(day, time(), zone).timestamp()) * 1000


_TOO_MANY: Final = Limit(COUNTED_MAX, "record", 0.0, ALL)
