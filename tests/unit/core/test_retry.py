"""How long an attempt waits for the next, and when a send that was refused for later is tried again."""

import zoneinfo
from datetime import datetime, timedelta

import pytest

from streamer.core.retry import RetryPolicy, delay_s, later_at_ms, retry_at_ms

POLICY = RetryPolicy()
ALMOST_ONE = 1 - 2**-53
NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000


def ms(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("attempt", [1, 2, 3, 9, 10, 17, 18, 1_000, 10**9])
@pytest.mark.parametrize("jitter", [0.0, 0.5, ALMOST_ONE])
def test_a_delay_lies_within_the_policy(attempt, jitter):
    assert 0 <= delay_s(attempt, POLICY, jitter) <= POLICY.delay_max_s


def test_the_bound_doubles_until_the_most():
    bounds = [delay_s(attempt, POLICY, 1.0) for attempt in range(1, 12)]
    assert bounds == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_jitter_is_full():
    """Equal delays would bring everyone back in the same moment."""
    assert delay_s(10, POLICY, 0.0) == 0.0
    assert delay_s(10, POLICY, 0.25) == pytest.approx(7.5)


@pytest.mark.parametrize(("asked_s", "waited_s"), [(None, 0.05), (0.0, 0.05), (0.01, 0.05), (7.0, 7.0), (90.0, 90.0)])
def test_what_the_gateway_asks_for_is_the_least(asked_s, waited_s):
    """Also above the policy's most: asking sooner than told earns another 429."""
    assert delay_s(1, POLICY, 0.5, asked_s) == pytest.approx(waited_s)


def test_a_send_is_tried_five_times():
    assert [NOW_MS + 50, NOW_MS + 100, NOW_MS + 200, NOW_MS + 400, None, None] == [
        retry_at_ms(tries, NOW_MS, 0.5) for tries in range(1, 7)
    ]
    assert retry_at_ms(1, NOW_MS, 0.5, policy=RetryPolicy(tries_max=1)) is None


def test_a_retry_is_never_a_part_of_a_millisecond_early():
    """The gateway counts seconds, and may count them exactly."""
    assert NOW_MS + 7_001 == retry_at_ms(1, NOW_MS, 0.0, retry_after_s=7.0001)
    assert NOW_MS + 7_000 == retry_at_ms(1, NOW_MS, 0.0, retry_after_s=7.0)


def test_retry_after_adds_no_try():
    assert retry_at_ms(5, NOW_MS, 0.5, retry_after_s=1.0) is None


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("once", [5]),
        ("minutes", [5, 10, 20, 40, 60]),
        ("queue", [10, 20, 40, 80, 120]),
        ("half_hour", [30] * 5),
        ("hour", [60] * 5),
        ("unreachable", [15, 60, 240]),
        ("day", [1_440] * 5),
    ],
)
def test_a_schedule_waits_as_named_and_then_gives_up(schedule, minutes):
    waits = [later_at_ms(schedule, number, NOW_MS, 0.0) for number in range(1, len(minutes) + 2)]
    assert [*(NOW_MS + wait * MINUTE_MS for wait in minutes), None] == waits


def test_what_is_refused_together_comes_back_spread():
    """36 000 parts that overflowed a queue would do so again; by half an hour at most, so that a day stays one."""
    assert NOW_MS + 12.5 * MINUTE_MS == later_at_ms("queue", 1, NOW_MS, 1.0)
    assert NOW_MS + 1_470 * MINUTE_MS == later_at_ms("day", 1, NOW_MS, 1.0)


@pytest.mark.parametrize(
    ("schedule", "refused", "again"),
    [
        ("pacific_day", "2026-07-01T12:00:00+00:00", "2026-07-02T00:00:00-07:00"),
        ("pacific_day", "2026-07-02T06:59:59.999+00:00", "2026-07-02T00:00:00-07:00"),
        ("pacific_day", "2026-07-02T00:00:00-07:00", "2026-07-03T00:00:00-07:00"),
        ("pacific_day", "2026-03-08T00:30:00-08:00", "2026-03-09T00:00:00-07:00"),
        ("pacific_day", "2026-11-01T00:30:00-07:00", "2026-11-02T00:00:00-08:00"),
        ("pacific_day", "2026-11-01T01:30:00-08:00", "2026-11-02T00:00:00-08:00"),
        ("pacific_day", "2026-12-31T23:00:00-08:00", "2027-01-01T00:00:00-08:00"),
        ("utc_day", "2026-07-01T12:00:00+00:00", "2026-07-02T00:00:00+00:00"),
        ("utc_day", "2028-02-28T23:59:59+00:00", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_a_days_cap_is_waited_for_until_the_days_end(schedule, refused, again):
    """T-Mobile counts a brand's day in Pacific time, which has 23 and 25 hours once a year."""
    assert ms(again) == later_at_ms(schedule, 1, ms(refused), 0.0)
    assert ms(again) + 15 * MINUTE_MS == later_at_ms(schedule, 1, ms(refused), 0.5)


def test_a_day_is_waited_for_five_times():
    assert [True] * 5 + [False] == [later_at_ms("utc_day", number, NOW_MS, 0.0) is not None for number in range(1, 7)]


def test_the_pacific_day_is_known_without_files_of_the_system():
    """A slim image has none."""
    try:
        zoneinfo.reset_tzpath(to=[])
        zone = zoneinfo.ZoneInfo.no_cache("America/Los_Angeles")
    finally:
        zoneinfo.reset_tzpath()
    assert timedelta(hours=-7) == datetime(2026, 7, 1, tzinfo=zone).utcoffset()
