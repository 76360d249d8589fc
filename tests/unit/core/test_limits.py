"""How often: rolling windows, calendar days and weeks where the person is, and what is kept to tell."""

from datetime import UTC, datetime

import pytest

from streamer.core.limits import SPARE, WEEK_MS, Counting, Limit, expire, fullest, give_back, note, unite
from streamer.core.state import COUNTED_MAX, COUNTS_MAX

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a Thursday
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UTC_ZONE = ("UTC",)
HOURLY = Limit(1, "1h", 3600.0, "mapping")
DAY = Limit(1, "day", 0.0, "mapping")
WEEK = Limit(1, "week", 0.0, "mapping")


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def until(limit, *times, now_ms=NOW_MS, zones=UTC_ZONE, name="m/", counted=None):
    """Until when one limit is full after postings of `m`; 0: it is not."""
    counted = {"m/": sorted(times)} if counted is None else counted
    found = fullest([limit], counted, name, zones, now_ms, Counting.of([limit]))
    return 0 if found is None else found.until_ms


# ── rolling windows ───────────────────────────────────────────────────────


def test_a_rolling_window_is_free_again_exactly_its_length_later():
    assert NOW_MS + HOUR_MS == until(HOURLY, NOW_MS)
    assert NOW_MS + HOUR_MS == until(HOURLY, NOW_MS, now_ms=NOW_MS + HOUR_MS - 1)
    assert 0 == until(HOURLY, NOW_MS, now_ms=NOW_MS + HOUR_MS)


def test_of_several_the_oldest_that_counts_frees_it():
    limit = Limit(2, "1h", 3600.0, "mapping")
    assert 0 == until(limit, NOW_MS)
    assert NOW_MS + HOUR_MS - 5 == until(limit, NOW_MS - 5, NOW_MS - 3)
    assert NOW_MS + HOUR_MS - 3 == until(limit, NOW_MS - 9, NOW_MS - 3, NOW_MS - 1)


def test_what_was_posted_by_a_clock_that_was_ahead_counts():
    """Until the window of that time is over: there may be no more than so many in any."""
    assert NOW_MS + 2 * HOUR_MS == until(HOURLY, NOW_MS + HOUR_MS)


# ── the calendar ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("zone", "posted", "now", "end"),
    [
        ("UTC", "2026-01-01T23:59:59", "2026-01-01T23:59:59", "2026-01-02T00:00:00"),
        ("America/New_York", "2026-01-01T05:00:00", "2026-01-02T04:59:59", "2026-01-02T05:00:00"),
        ("Pacific/Kiritimati", "2026-01-01T10:00:00", "2026-01-01T11:00:00", "2026-01-02T10:00:00"),
        # Of 23 hours and of 25: clocks are changed within it.
        ("America/New_York", "2026-03-08T05:00:00", "2026-03-08T06:00:00", "2026-03-09T04:00:00"),
        ("America/New_York", "2026-11-01T04:00:00", "2026-11-01T06:00:00", "2026-11-02T05:00:00"),
        # Sao Paulo skipped midnight: the day began at one; Havana does too, in spring, and in autumn has it twice.
        ("America/Sao_Paulo", "2018-11-04T02:59:00", "2018-11-04T02:59:00", "2018-11-04T03:00:00"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00", "2018-11-04T03:00:00", "2018-11-05T02:00:00"),
        ("America/Havana", "2026-03-08T04:59:00", "2026-03-08T04:59:00", "2026-03-08T05:00:00"),
        ("America/Havana", "2026-03-08T05:00:00", "2026-03-08T05:00:00", "2026-03-09T04:00:00"),
        ("America/Havana", "2026-11-01T04:00:00", "2026-11-01T05:30:00", "2026-11-02T05:00:00"),
    ],
)
def test_a_day_is_one_of_the_persons_calendar_and_ends_with_it(zone, posted, now, end):
    assert ms(end) == until(DAY, ms(posted), now_ms=ms(now), zones=(zone,))
    assert 0 == until(DAY, ms(posted), now_ms=ms(end), zones=(zone,))


def test_yesterday_does_not_count():
    assert 0 == until(DAY, NOW_MS - 1)
    assert 0 == until(DAY, ms("2026-03-08T04:59:59"), now_ms=ms("2026-03-08T05:00:00"), zones=("America/Havana",))


def test_a_week_begins_on_monday():
    assert ms("2026-01-05T00:00:00") == until(WEEK, ms("2025-12-29T00:00:00"))
    assert 0 == until(WEEK, ms("2025-12-28T23:59:59"))


def test_a_week_over_a_change_of_clocks_ends_at_its_midnight():
    found = until(WEEK, ms("2026-03-02T05:00:00"), now_ms=ms("2026-03-07T00:00:00"), zones=("America/New_York",))
    assert ms("2026-03-09T04:00:00") == found


def test_it_is_full_where_it_is_in_any_zone_that_the_person_may_be_in_and_until_the_last_is_not():
    posted_ms = ms("2026-01-01T03:00:00")
    zones = ("America/New_York", "UTC")  # there it was yesterday, and is today
    assert ms("2026-01-02T00:00:00") == until(DAY, posted_ms, now_ms=ms("2026-01-01T06:00:00"), zones=zones)
    now_ms = ms("2026-01-01T04:00:00")
    assert ms("2026-01-02T00:00:00") == until(DAY, posted_ms, now_ms=now_ms, zones=zones)
    assert ms("2026-01-01T05:00:00") == until(DAY, posted_ms, now_ms=now_ms, zones=("America/New_York",))


def test_a_person_who_moves_east_begins_a_new_day_sooner_and_is_asked_by_the_new_one():
    posted_ms, now_ms = ms("2026-01-01T18:00:00"), ms("2026-01-01T19:00:00")
    assert ms("2026-01-02T00:00:00") == until(DAY, posted_ms, now_ms=now_ms)
    assert 0 == until(DAY, posted_ms, now_ms=now_ms, zones=("Asia/Kolkata",))


# ── over what ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("over", "name", "is_full"),
    [
        ("mapping", "m/news", True), ("mapping", "x/news", False), ("mapping", "m/other", True),
        ("category", "x/news", True), ("category", "x/other", False), ("category", "m/", False),
        ("all", "x/other", True), ("all", "x/", True),
    ],
)  # fmt: skip
def test_a_limit_counts_one_mappings_one_categorys_or_all(over, name, is_full):
    """A mapping whose category was changed is the same mapping."""
    limit = Limit(1, "1h", 3600.0, over)
    assert is_full == bool(until(limit, name=name, counted={"m/news": [NOW_MS]}))


def test_messages_without_a_category_are_none_together():
    assert 0 == until(Limit(1, "1h", 3600.0, "category"), name="x/", counted={"m/": [NOW_MS]})


def test_the_strictest_is_named():
    limits = [HOURLY, Limit(1, "2h", 7200.0, "all"), DAY]
    counting = Counting.of(limits)
    full = fullest(limits, {"m/": [NOW_MS]}, "m/", UTC_ZONE, NOW_MS, counting)
    assert ("1 per day over mapping", NOW_MS + DAY_MS) == (full.limit.text, full.until_ms)
    full = fullest(limits[:2], {"m/": [NOW_MS]}, "m/", UTC_ZONE, NOW_MS, counting)
    assert "1 per 2h over all" == full.limit.text


def test_of_two_that_end_alike_the_one_that_drops_is_named():
    drops = Limit(1, "1h", 3600.0, "all", is_dropped=True)
    for limits in ([HOURLY, drops], [drops, HOURLY]):
        assert drops == fullest(limits, {"m/": [NOW_MS]}, "m/", UTC_ZONE, NOW_MS, Counting.of(limits)).limit


def test_where_none_is_full_there_is_nothing_to_say():
    assert fullest([HOURLY, DAY], {}, "m/", UTC_ZONE, NOW_MS, Counting.of([HOURLY, DAY])) is None
    assert fullest([], {"m/": [NOW_MS]}, "m/", UTC_ZONE, NOW_MS, Counting()) is None


# ── what is kept ──────────────────────────────────────────────────────────


def test_what_is_kept_follows_from_the_limits():
    assert Counting(HOUR_MS, 3) == Counting.of([HOURLY, Limit(3, "30m", 1800.0, "all")])
    assert Counting(WEEK_MS, 1) == Counting.of([DAY])
    assert Counting(0, 0) == Counting.of([])


def test_what_no_limit_asks_for_any_more_is_forgotten():
    counted = {"a/": [NOW_MS - HOUR_MS], "b/": [NOW_MS - HOUR_MS, NOW_MS - HOUR_MS + 1]}
    expire(counted, NOW_MS, Counting.of([HOURLY]))
    assert {"b/": [NOW_MS - HOUR_MS + 1]} == counted


def test_postings_stay_in_order_though_the_clock_goes_back():
    counted = {}
    for at_ms in (NOW_MS, NOW_MS - 5, NOW_MS + 5):
        note(counted, "m/", at_ms, Counting.of([HOURLY]))
    assert {"m/": [NOW_MS - 5, NOW_MS, NOW_MS + 5]} == counted


def test_a_posting_given_back_does_not_count_whatever_category_its_mapping_has_by_now():
    counted = {"m/news": [NOW_MS, NOW_MS + 1], "other/": [NOW_MS]}
    give_back(counted, "m", NOW_MS)
    give_back(counted, "m", NOW_MS + 7)
    assert {"m/news": [NOW_MS + 1], "other/": [NOW_MS]} == counted
    give_back(counted, "m", NOW_MS + 1)
    assert {"other/": [NOW_MS]} == counted


def test_one_given_back_uncovers_the_one_before_it():
    """Else another mapping's limit would forget a message that was sent."""
    counting, counted = Counting.of([HOURLY]), {}
    for number in range(SPARE + 1):
        note(counted, "m/", NOW_MS + number, counting)
    for number in range(1, SPARE + 1):
        give_back(counted, "m", NOW_MS + number)
    assert {"m/": [NOW_MS]} == counted


def test_only_so_many_of_a_mapping_are_kept():
    counted = {}
    for number in range(20):
        note(counted, "m/", NOW_MS + number, Counting.of([HOURLY]))
    assert {"m/": [NOW_MS + number for number in range(20 - 1 - SPARE, 20)]} == counted


MANY = Counting.of([Limit(100, "1h", 3600.0, "all")])


def test_where_more_is_counted_than_a_record_may_hold_that_is_a_limit_too():
    counted = {f"m{n}/": [NOW_MS + k for k in range(COUNTED_MAX // 16)] for n in range(16)}
    limit = Limit(100, "1h", 3600.0, "mapping")
    full = fullest([limit], counted, "x/", UTC_ZONE, NOW_MS + 99, MANY)
    assert (f"{COUNTED_MAX} per record over all", NOW_MS + HOUR_MS) == (full.limit.text, full.until_ms)
    counted["m0/"].pop()
    assert fullest([limit], counted, "x/", UTC_ZONE, NOW_MS + 99, MANY) is None


def test_a_record_counts_so_many_mappings_apart():
    counted = {f"m{n}/": [NOW_MS] for n in range(COUNTS_MAX)}
    assert NOW_MS + HOUR_MS == until(HOURLY, name="x/", counted=counted)
    assert 0 == until(HOURLY, name="m1/", counted=counted, now_ms=NOW_MS + HOUR_MS)


def test_messages_of_mappings_without_a_limit_make_no_record_larger_than_it_may_be():
    """They are counted for others' limits, and none of their own stops them."""
    counted = {}
    for number in range(3 * COUNTED_MAX):
        note(counted, f"m{number % (2 * COUNTS_MAX)}/", NOW_MS + number, MANY)
    assert COUNTS_MAX == len(counted)
    counted = {}
    for number in range(3 * COUNTED_MAX):
        note(counted, f"m{number % 20}/", NOW_MS + number, MANY)
    assert COUNTED_MAX == sum(map(len, counted.values()))
    assert NOW_MS + 3 * COUNTED_MAX - 1 == max(times[-1] for times in counted.values())


def test_two_that_become_one_count_together_within_a_records_bounds():
    mine = {f"m{n}/": [NOW_MS + k for k in range(60)] for n in range(16)}
    theirs = {f"t{n}/": [NOW_MS + 90 + k for k in range(60)] for n in range(16)}
    unite(mine, theirs, MANY, NOW_MS)
    assert COUNTED_MAX == sum(map(len, mine.values()))
    assert all(times == sorted(times) and times for times in mine.values())
    counted = {"m/": [NOW_MS]}
    unite(counted, {"m/": [NOW_MS - 1], "x/": [NOW_MS]}, MANY, NOW_MS)
    assert {"m/": [NOW_MS - 1, NOW_MS], "x/": [NOW_MS]} == counted
