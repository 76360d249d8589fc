"""When it is open, when it opens, and what a configuration may say of it."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flit_core.common import Module

from streamer.core.quiet_hours import (
    OPENING_DAYS_MAX,
    Opening,
    QuietHours,
    compile_quiet_hours,
    leaves_ms,
    opening,
)
from streamer.core.quiet_presets import Preset, read_presets
from streamer.core.zones import country_of_number, zones_of_number
from streamer.errors import MappingError

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "streamer" / "quiet_hours.csv"
NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"
DAY_MS = 86_400_000
PRESETS = read_presets(TABLE.read_text(encoding="utf-8").splitlines())


def ms(text, zone="UTC"):
    """The first instant at which a zone's clock shows a time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def hours(days="daily", windows="09:00-20:00", **others):
    return compile_quiet_hours({"open": {days: windows}, "zone": "UTC", **others}, PRESETS)


def utc(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M")


def next_of(hours, zone, text):
    """When it opens and closes, asked at a time in UTC."""
    found = opening(hours, "", zone, ms(text))
    return utc(found.opens_ms), utc(found.closes_ms)


def faults(document):
    with pytest.raises(MappingError) as caught:
        compile_quiet_hours(document, PRESETS)
    return dict(caught.value.faults)


def test_open_is_now_and_closed_is_the_next_window():
    now = ms("2026-06-01T12:00:30.250")
    assert opening(hours(), "", "UTC", now) == Opening(True, now, ms("2026-06-01T20:00"), ("UTC",))
    late = ms("2026-06-01T20:00")
    expected = Opening(False, ms("2026-06-02T09:00"), ms("2026-06-02T20:00"), ("UTC",))
    assert expected == opening(hours(), "", "UTC", late)
    assert opening(hours(), "", "UTC", late - 1).is_open


def test_the_days_of_the_week_are_the_persons():
    """It is Monday in Tokyo while London still has Sunday."""
    mondays = hours("mon", "00:00-24:00")
    assert opening(mondays, "", "Asia/Tokyo", ms("2026-06-07T15:00")).is_open
    assert not opening(mondays, "", "Europe/London", ms("2026-06-07T15:00")).is_open
    assert ("2026-06-07T15:00", "2026-06-08T15:00") == next_of(mondays, "Asia/Tokyo", "2026-06-01T15:00")


def test_windows_that_touch_at_midnight_are_one_opening():
    whole = compile_quiet_hours({"open": {"fri": "20:00-24:00", "sat": "00:00-02:00"}, "zone": "UTC"}, {})
    assert ("2026-06-05T20:00", "2026-06-06T02:00") == next_of(whole, "UTC", "2026-06-05T12:00")


def test_an_opening_without_an_end_is_told_to_end_after_its_bound():
    now = ms("2026-06-01T12:00:30")
    found = opening(hours(windows="00:00-24:00"), "", NEW_YORK, now)
    assert found == Opening(True, now, ms("2026-06-01T12:00") + OPENING_DAYS_MAX * DAY_MS, (NEW_YORK,))


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ("02:30-04:00", ("2026-03-08T07:00", "2026-03-08T08:00")),  # from the gap's end
        ("01:00-02:30", ("2026-03-08T06:00", "2026-03-08T07:00")),  # to the gap's begin
        ("01:00-04:00", ("2026-03-08T06:00", "2026-03-08T08:00")),  # over the gap
        ("02:10-02:50", ("2026-03-09T06:10", "2026-03-09T06:50")),  # in the gap: not that day
    ],
)
def test_a_window_in_a_gap_opens_at_its_end(windows, expected):
    assert expected == next_of(hours(windows=windows), NEW_YORK, "2026-03-08T05:30")


def test_a_window_in_a_fold_is_open_twice():
    quarter = hours(windows="01:15-01:45")
    assert ("2026-11-01T05:15", "2026-11-01T05:45") == next_of(quarter, NEW_YORK, "2026-11-01T04:00")
    assert ("2026-11-01T06:15", "2026-11-01T06:45") == next_of(quarter, NEW_YORK, "2026-11-01T05:45")


def test_a_window_over_a_fold_is_an_hour_longer():
    assert ("2026-11-01T04:30", "2026-11-01T07:30") == next_of(
        hours(windows="00:30-02:30"), NEW_YORK, "2026-11-01T04:00"
    )


def test_half_an_hour_is_changed_like_a_whole_one():
    """Lord Howe's clock goes from 02:00 to 02:30 in October, and from 02:00 to 01:30 in April."""
    assert ("2026-10-03T15:30", "2026-10-03T16:00") == next_of(
        hours(windows="02:00-03:00"), LORD_HOWE, "2026-10-03T12:00"
    )
    twice = hours(windows="01:45-01:50")
    assert ("2026-04-04T14:45", "2026-04-04T14:50") == next_of(twice, LORD_HOWE, "2026-04-04T12:00")
    assert ("2026-04-04T15:15", "2026-04-04T15:20") == next_of(twice, LORD_HOWE, "2026-04-04T14:50")


def test_a_day_that_a_zone_left_out_is_never_open():
    """Apia had no 2011-12-30, a Friday: Thursday's midnight began Saturday."""
    fridays = hours("fri", "09:00-17:00")
    assert "2012-01-05T19:00" == next_of(fridays, "Pacific/Apia", "2011-12-29T20:00")[0]
    days = hours("thu-sat", "00:00-24:00")
    assert ("2011-12-29T10:00", "2011-12-31T10:00") == next_of(days, "Pacific/Apia", "2011-12-28T20:00")


def test_a_holiday_is_closed_from_one_local_midnight_to_the_next():
    closed = hours(windows="00:00-24:00", holidays=["2026-12-25", "01-01"])
    for day, next_day in (("2026-12-25", "2026-12-26"), ("2027-01-01", "2027-01-02"), ("2031-01-01", "2031-01-02")):
        midnight = ms(f"{day}T00:00", NEW_YORK)
        assert ms(f"{day}T00:00", NEW_YORK) == opening(closed, "", NEW_YORK, midnight - 1).closes_ms
        assert ms(f"{next_day}T00:00", NEW_YORK) == opening(closed, "", NEW_YORK, midnight).opens_ms
    assert opening(closed, "", NEW_YORK, ms("2027-12-25T12:00")).is_open


def test_without_a_zone_all_that_the_number_could_be_in_must_be_open():
    """An Australian mobile may be in Perth or on Lord Howe; Christmas Island is as far west as any of its zones."""
    number = "+61412345678"
    found = opening(hours(), number, "", ms("2026-06-01T00:00"))
    assert zones_of_number(number) == found.zones
    assert ("2026-06-01T02:30", "2026-06-01T09:30") == (utc(found.opens_ms), utc(found.closes_ms))


def test_a_persons_zone_is_asked_before_their_number():
    assert ("Asia/Tokyo",) == opening(hours(), "+61412345678", "Asia/Tokyo", ms("2026-06-01T00:00")).zones


def test_british_mobiles_have_one_clock():
    found = opening(hours(), "+447911123456", "", ms("2026-06-01T00:00"))
    assert ("2026-06-01T08:00", "2026-06-01T19:00") == (utc(found.opens_ms), utc(found.closes_ms))
    assert 4 == len(found.zones)


def test_a_toll_free_number_is_open_where_guam_and_newfoundland_are():
    us = compile_quiet_hours({"preset": "us", "zone": NEW_YORK}, PRESETS)
    found = opening(us, "+18002345678", "", ms("2026-06-03T12:00"))
    assert ("2026-06-03T22:00", "2026-06-03T23:30") == (utc(found.opens_ms), utc(found.closes_ms))


@pytest.mark.parametrize("number", ["+18002345678", "+8821612345678", "+1", ""])
def test_zones_that_never_agree_and_none_at_all_leave_it_to_the_configured_one(number):
    office = hours(windows="09:00-17:00", zone=NEW_YORK)
    found = opening(office, number, "", ms("2026-06-03T12:00"))
    assert found == Opening(False, ms("2026-06-03T13:00"), ms("2026-06-03T21:00"), (NEW_YORK,))


def test_several_zones_are_given_two_weeks_to_agree():
    """A common opening that begins two weeks from now is too late; a minute later it isn't."""
    fortnight = [f"2026-01-{day:02}" for day in range(1, 15)]
    closed = hours(holidays=fortnight, zone="Asia/Tokyo")
    now = ms("2026-01-01T09:00")
    assert ("Asia/Tokyo",) == opening(closed, "+447400123456", "", now).zones
    found = opening(closed, "+447400123456", "", now + 60_000)
    assert (4, "2026-01-15T09:00") == (len(found.zones), utc(found.opens_ms))


def test_it_opens_after_weeks_of_holidays_and_never_if_every_day_is_one():
    days = [f"2026-{month:02}-{day:02}" for month in (6, 7, 8) for day in range(1, 31)]
    away = hours(holidays=[*days, "2026-07-31", "2026-08-31"])
    assert ("2026-09-01T09:00", "2026-09-01T20:00") == next_of(away, "UTC", "2026-06-01T00:00")
    every = hours(holidays=[f"{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)])
    only_late = QuietHours(
        every.week, every.holidays | {f"{m:02}-{d}" for m in range(1, 13) for d in (29, 30, 31)}, "UTC"
    )
    assert Opening(False, 0, 0, ("UTC",)) == opening(only_late, "", "UTC", ms("2026-06-01T00:00"))
    assert 0 == leaves_ms(opening(only_late, "", "UTC", ms("2026-06-01T00:00")), 900.0, 0.5)


@pytest.mark.parametrize(
    ("number", "closes"),
    [
        ("+12122001234", "21:00"),  # New York has no preset of its own
        ("+13052001234", "20:00"),  # Florida
        ("+18002345678", "21:00"),
        ("+14162001234", "21:30"),
        ("+34612345678", "21:00"),
        ("+447911123456", "22:00"),  # no preset: `open`
    ],
)
def test_by_number_takes_the_preset_of_the_area_code_or_else_of_the_country(number, closes):
    mixed = compile_quiet_hours(
        {"preset": "by_number", "open": {"daily": "08:00-22:00"}, "zone": "UTC", "holidays": ["01-01"]}, PRESETS
    )
    assert ms(f"2026-06-03T{closes}") == opening(mixed, number, "UTC", ms("2026-06-03T12:00")).closes_ms
    assert not opening(mixed, number, "UTC", ms("2027-01-01T12:00")).is_open


@pytest.mark.parametrize(
    ("spread_s", "draw", "expected_s"),
    [(0.0, 0.9, 0), (600.0, 0.0, 0), (600.0, 0.5, 300), (86_400.0, 0.5, 1620), (86_400.0, 0.999_999, 3239)],
)
def test_held_sends_leave_one_by_one_within_the_opening(spread_s, draw, expected_s):
    """An hour's opening: the spread is cut to 54 minutes."""
    an_hour = Opening(False, 1_000_000, 4_600_000, ())
    assert expected_s == (leaves_ms(an_hour, spread_s, draw) - 1_000_000) // 1000


def test_a_preset_is_taken_and_its_named_days_are_replaced():
    ours = compile_quiet_hours(
        {
            "preset": "us",
            "open": {"sat": ["14:00-18:00", "10:00-13:00"], "sun": "closed"},
            "holidays": ["2026-12-25"],
            "zone": NEW_YORK,
            "when_closed": "drop",
            "spread": "15m",
        },
        PRESETS,
    )
    week = (((480, 1260),),) * 5 + (((600, 780), (840, 1080)), ())
    assert ours == QuietHours(week, frozenset({"2026-12-25"}), NEW_YORK, True, 900.0)
    assert hash(ours) == hash(QuietHours(week, frozenset({"2026-12-25"}), NEW_YORK, True, 900.0))


def test_sections_that_say_the_same_are_one_object():
    """The caches ask for it at every send; to compare two takes longer than all the rest."""
    assert hours() is hours()


def test_a_range_of_days_may_go_over_sunday():
    assert [True, False, False, False, False, True, True] == [bool(day) for day in hours("sat-mon").week]


ZONE = {"zone": "UTC"}
OPEN = {"open": {"daily": "09:00-20:00"}}
FAULTS = [
    ({**OPEN, **ZONE, "opened": 1}, "opened", "unknown key; did you mean 'open'?"),
    ({**OPEN}, "zone", "is missing"),
    ({**OPEN, "zone": "America/NewYork"}, "zone", "did you mean 'America/New_York'?"),
    ({**OPEN, "zone": "berlin"}, "zone", "did you mean 'Europe/Berlin'?"),
    ({**OPEN, "zone": "qqqqqqqq"}, "zone", "such as Europe/Berlin"),
    ({**OPEN, "zone": 1}, "zone", "put it in quotes"),
    ({**OPEN, "zone": ""}, "zone", "not empty"),
    ({**ZONE}, "open", "is missing"),
    ({**ZONE, "open": {}}, "open", "windows by day"),
    ({**ZONE, "open": ["09:00-20:00"]}, "open", "windows by day"),
    ({**ZONE, "open": {"mon-fri": "closed"}}, "open", "is never open"),
    ({**ZONE, "preset": "us", "open": {"daily": "closed"}}, "open", "is never open"),
    ({**ZONE, "open": {"monday": "09:00-20:00"}}, "open.monday", "did you mean 'mon'?"),
    ({**ZONE, "open": {"mon-funday": "09:00-20:00"}}, "open.mon-funday", "no such day"),
    ({**ZONE, "open": {True: "09:00-20:00"}}, "open.True", "no such day"),
    ({**ZONE, "open": {"mon-fri": "09:00-20:00", "tue": "closed"}}, "open.tue", "named twice"),
    ({**ZONE, "open": {"mon": "9-20"}}, "open.mon", "as in 09:00-20:00"),
    ({**ZONE, "open": {"mon": "09:00-25:00"}}, "open.mon", "as in 09:00-20:00"),
    ({**ZONE, "open": {"mon": "24:00-24:00"}}, "open.mon", "as in 09:00-20:00"),
    ({**ZONE, "open": {"mon": "09:00-24:30"}}, "open.mon", "as in 09:00-20:00"),
    ({**ZONE, "open": {"mon": 540}}, "open.mon", "put it in quotes"),
    ({**ZONE, "open": {"mon": False}}, "open.mon", "put it in quotes"),
    ({**ZONE, "open": {"mon": []}}, "open.mon", "0 windows"),
    ({**ZONE, "open": {"mon": ["09:00-10:00"] * 25}}, "open.mon", "25 windows"),
    ({**ZONE, "open": {"mon": "10:00-10:00"}}, "open.mon", "is empty"),
    ({**ZONE, "open": {"mon": "20:00-02:00"}}, "open.mon", "write two, 20:00-24:00 here, and 00:00-02:00 for the next"),
    ({**ZONE, "open": {"mon": "20:00-00:00"}}, "open.mon", "write two, 20:00-24:00 here"),
    ({**ZONE, "open": {"mon": ["09:00-13:00", "12:00-18:00"]}}, "open.mon", "overlap at 12:00"),
    ({**OPEN, **ZONE, "holidays": "2026-12-25"}, "holidays", "must be a list"),
    ({**OPEN, **ZONE, "holidays": [date(2026, 12, 25)]}, "holidays.0", "put it in quotes"),
    ({**OPEN, **ZONE, "holidays": ["01-01", "2026-02-29"]}, "holidays.1", "there is no day 2026-02-29"),
    ({**OPEN, **ZONE, "holidays": ["02-30"]}, "holidays.0", "there is no day 02-30"),
    ({**OPEN, **ZONE, "holidays": ["25.12."]}, "holidays.0", "must be a day"),
    ({**OPEN, **ZONE, "when_closed": "hodl"}, "when_closed", "did you mean 'hold'?"),
    ({**OPEN, **ZONE, "spread": "25h"}, "spread", "at most 24h"),
    ({**OPEN, **ZONE, "spread": "soon"}, "spread", "is not a duration"),
    ({**OPEN, **ZONE, "spread": 15}, "spread", "put it in quotes"),
    ({**ZONE, "preset": "US"}, "preset", "did you mean 'us'?"),
    ({**ZONE, "preset": "by_numbers"}, "preset", "did you mean 'by_number'?"),
    ({**ZONE, "preset": False}, "preset", "put it in quotes"),
    ({**ZONE, "preset": "by_number"}, "open", "is missing: by_number needs it"),
    ("us", "", "must have keys"),
]


@pytest.mark.parametrize(("document", "path", "text"), FAULTS)
def test_what_is_wrong_is_said_at_its_place_with_the_way_out(document, path, text):
    assert text in faults(document)[path]


def test_every_fault_is_told_at_once():
    wrong = {"preset": "uk", "open": {"mon": "9"}, "holidays": ["x"], "when_closed": "x", "spread": "x", "zones": "x"}
    assert {"zones", "preset", "open.mon", "holidays.0", "zone", "when_closed", "spread"} == faults(wrong).keys()


def test_a_leap_day_may_be_a_holiday_of_each_year():
    assert not opening(hours(holidays=["02-29"]), "", "UTC", ms("2028-02-29T12:00")).is_open


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_compiles_and_names_its_source(preset):
    ours = compile_quiet_hours({"preset": preset.country, "zone": "UTC"}, PRESETS)
    assert preset.week == ours.week
    assert preset.source
    assert preset.note
    assert "://" not in preset.source + preset.note
    assert all(country_of_number(f"+1{code}2002345") == preset.country[:2] for code in preset.area_codes)


def test_a_states_week_lies_within_its_countrys_and_its_area_codes_are_its_own():
    states = [preset for preset in PRESETS.values() if "-" in preset.country]
    codes = [code for state in states for code in state.area_codes]
    assert len(set(codes)) == len(codes)
    for state in states:
        assert state.area_codes
        for day, country_day in zip(state.week, PRESETS[state.country[:2]].week, strict=True):
            assert all(any(a <= start and end <= b for a, b in country_day) for start, end in day)


def test_the_table_is_part_of_the_package():
    files = {Path(file).relative_to(ROOT).as_posix() for file in Module("streamer", ROOT).iter_files()}
    assert "streamer/quiet_hours.csv" in files


def test_the_documentation_has_every_row_of_the_table():
    text = (ROOT / "docs" / "quiet-hours.md").read_text(encoding="utf-8")
    with TABLE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            assert f"{row['days']} {row['windows']}" in text
            assert row["source"] in text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("us,everyday,08:00-21:00,,,s,n", "no such day"),
        ("us,daily,8-9,,,s,n", "is no window"),
        ("us,daily,08:00-21:00,1305,,s,n", "three digits"),
    ],
)
def test_a_table_that_can_not_be_read_is_refused(row, text):
    with pytest.raises(ValueError, match=text):
        read_presets(["country,days,windows,area_codes,holidays_note,source,note", row])


def test_a_countrys_rows_are_one_preset():
    table = ["country,days,windows,area_codes,holidays_note,source,note", "xx,mon,08:00-09:00 10:00-11:00,,h,s,n"]
    week = (((480, 540), (600, 660)), (), (), (), (), ((720, 780),), ())
    assert {"xx": Preset("xx", week, (), "h", "s", "n")} == read_presets([*table, "xx,sat,12:00-13:00,,,,"])
