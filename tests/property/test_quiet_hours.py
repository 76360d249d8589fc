"""Openings against a plain model that looks at the clock of every zone, minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.core.quiet_hours import QuietHours, leaves_ms, opening
from streamer.core.zones import zones_of_number

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_MS = 60_000
DAY_MINUTES = 1_440
WALK_MINUTES = 3 * DAY_MINUTES

# Each with a time near which its clock changes: by an hour, by half of one, at midnight, twice a year, by a day.
CHANGES = [
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Africa/Casablanca", "2026-02-15T02:00"),
    ("Africa/Cairo", "2026-04-23T22:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("Antarctica/Troll", "2026-03-29T01:00"),
    ("America/St_Johns", "2010-11-07T02:31"),
    ("Pacific/Chatham", "2026-09-26T14:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Asia/Kolkata", "2026-01-01T00:00"),
]
# One zone, four with one clock, eight with several, forty-two, none.
NUMBERS = ["+12122001234", "+447400123456", "+61412345678", "+18002345678", "+8821612345678"]


@st.composite
def days(draw):
    """A day's windows: often whole or closed, as those are what touches over midnight."""
    times = draw(st.lists(st.integers(0, DAY_MINUTES), max_size=6, unique=True).map(sorted))
    windows = tuple(zip(times[::2], times[1::2], strict=False))
    return draw(st.sampled_from([windows, windows, windows, ((0, DAY_MINUTES),), ()]))


@st.composite
def hours(draw):
    week = tuple(draw(days()) for _ in range(7))
    near = [(EPOCH + timedelta(minutes=minute)).date().isoformat() for minute in map(change_minute, CHANGES)]
    holidays = draw(st.sets(st.sampled_from([*near, *(day[5:] for day in near)]), max_size=3))
    return QuietHours(week, frozenset(holidays), draw(st.sampled_from(CHANGES))[0])


def change_minute(change):
    return (datetime.fromisoformat(change[1]).replace(tzinfo=UTC) - EPOCH) // timedelta(minutes=1)


def near_a_change(change):
    around = st.integers(-2 * DAY_MINUTES * MINUTE_MS, DAY_MINUTES * MINUTE_MS)
    return st.tuples(st.just(change[0]), around.map(lambda ms: change_minute(change) * MINUTE_MS + ms))


moments = st.sampled_from(CHANGES).flatmap(near_a_change)


def is_open(hours, zones, minute):
    """Whether every zone's clock shows a time that is in a window of its day."""
    for zone in zones:
        shown = (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))
        day = shown.date().isoformat()
        at = shown.hour * 60 + shown.minute
        if day in hours.holidays or day[5:] in hours.holidays:
            return False
        if not any(start <= at < end for start, end in hours.week[shown.weekday()]):
            return False
    return True


def check(hours, found, now_ms, walk_minutes):
    """Nothing before it opens is open, nothing in it is closed, and it is closed where it ends."""
    minute = now_ms // MINUTE_MS
    opens, closes = found.opens_ms // MINUTE_MS, found.closes_ms // MINUTE_MS
    assert found.is_open == (found.opens_ms == now_ms) == is_open(hours, found.zones, minute)
    if found.opens_ms == 0:
        opens = closes = minute + walk_minutes
    for each in range(minute, min(minute + walk_minutes, closes)):
        assert (each >= opens) == is_open(hours, found.zones, each)
    if found.opens_ms:
        assert now_ms <= found.opens_ms < found.closes_ms
        assert is_open(hours, found.zones, opens)
        assert is_open(hours, found.zones, closes - 1)
        assert not is_open(hours, found.zones, closes) or closes - opens == 14 * DAY_MINUTES


@settings(max_examples=150, deadline=None)
@given(hours=hours(), moment=moments)
def test_in_one_zone_it_opens_and_closes_as_its_clock_shows(hours, moment):
    zone, now_ms = moment
    found = opening(hours, "", zone, now_ms)
    assert (zone,) == found.zones
    check(hours, found, now_ms, WALK_MINUTES)


@settings(max_examples=60, deadline=None)
@given(hours=hours(), moment=moments, number=st.sampled_from(NUMBERS))
def test_by_a_number_it_is_open_where_all_of_its_zones_are_or_else_in_the_configured_one(hours, moment, number):
    now_ms = moment[1]
    found = opening(hours, number, "", now_ms)
    zones = zones_of_number(number)
    walk_minutes = WALK_MINUTES // (len(zones) or 1)
    if found.zones != zones:
        assert (hours.zone,) == found.zones
        minute = now_ms // MINUTE_MS
        assert not zones or not any(is_open(hours, zones, minute + each) for each in range(walk_minutes))
        walk_minutes = WALK_MINUTES
    check(hours, found, now_ms, walk_minutes)


@settings(max_examples=150, deadline=None)
@given(
    hours=hours(),
    moment=moments,
    spread_s=st.floats(0, 86_400),
    draw=st.one_of(st.floats(0, 1, exclude_max=True), st.just(0.9999999999999999)),
)
@example(QuietHours((((0, 1),),) * 7, frozenset(), "UTC"), ("UTC", 30_000), 86_400.0, 0.9999999999999999)
def test_a_held_send_leaves_inside_the_opening(hours, moment, spread_s, draw):
    zone, now_ms = moment
    found = opening(hours, "", zone, now_ms)
    at_ms = leaves_ms(found, spread_s, draw)
    if found.opens_ms == 0:
        assert 0 == at_ms
        return
    assert found.opens_ms <= at_ms <= found.opens_ms + spread_s * 1000
    assert opening(hours, "", zone, at_ms).is_open
    assert at_ms < found.closes_ms


@settings(max_examples=100, deadline=None)
@given(hours=hours(), moment=moments, later_ms=st.integers(0, 4 * DAY_MINUTES * MINUTE_MS))
def test_asked_again_before_it_opens_or_closes_it_says_the_same(hours, moment, later_ms):
    """A send that is held until then must not be held again, whenever it is looked at."""
    zone, now_ms = moment
    found = opening(hours, "", zone, now_ms)
    then_ms = min(now_ms + later_ms, found.opens_ms or now_ms)
    again = opening(hours, "", zone, then_ms)
    assert found.opens_ms == again.opens_ms or found.opens_ms == 0
    assert found.closes_ms == again.closes_ms or found.closes_ms - found.opens_ms == 14 * DAY_MINUTES * MINUTE_MS
