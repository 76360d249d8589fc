"""Quiet hours: in which windows of a person's local week a message may leave, and when the next of them opens.

All is decided to the minute, on the wall clock of every zone asked. Time is cut where a zone's clock is changed: what
the change leaves out (a gap) is never shown by the clock, so a window that begins there opens at the gap's end; what it
shows twice (a fold) is open, or closed, both times.
Source: docs/quiet-hours.md; the IANA time zone database.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from math import floor
from typing import Any, Final, NamedTuple

from msgspec import Struct

from streamer.core.action_fields import nearest
from streamer.core.duration import parse_duration_s
from streamer.core.quiet_presets import (
    DAY_MINUTES,
    DAYS,
    NO_DAYS,
    Day,
    Preset,
    Week,
    Window,
    day_of,
    days_of,
    with_days,
)
from streamer.core.zones import country_of_number, zone_named, zone_names, zone_of, zones_of_number
from streamer.errors import MappingError

MINUTE_MS: Final = 60_000
# Zones that never agree have none in two weeks: every day of the week was asked twice.
COMMON_DAYS_MAX: Final = 14
# Longer than a year, so that a week which is open at all opens again behind any yearly holidays.
SEARCH_DAYS_MAX: Final = 400
OPENING_DAYS_MAX: Final = 14  # of an opening's length, which may have no end; `spread` is at most a day
SPREAD_SHARE: Final = 0.9  # of an opening: the last tenth is for the senders' own paces

KEYS: Final = ("preset", "open", "holidays", "zone", "when_closed", "spread")
BY_NUMBER: Final = "by_number"
HOLD: Final = "hold"
DROP: Final = "drop"
SPREAD_MAX_S: Final = 86_400.0
HOLIDAYS_MAX: Final = 1_000

# A minute's entries are one for each set of zones, of which libphonenumber has 400, in each section: 5 MB.
_MINUTES_MAX: Final = 8_192
# A month of all 600 zones; a week of them in four sections: 6 MB with all three caches.
_BLOCKS_MAX: Final = 4_096
_SECTIONS_MAX: Final = 1_024
_PLACES_MAX: Final = 4_096  # 300 countries and area codes with presets, in some sections

# Zones are looked at in blocks of so many days in UTC, in which a clock changes once at most: since 1970 none has
# changed twice within 6.9 days (that was Cambridge Bay, in 2000), so a block's two ends show whether it does.
_BLOCK_MINUTES: Final = 5 * DAY_MINUTES

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY: Final = 3  # a Thursday
_AREA_CODE_CHARS: Final = 5  # +1 and three digits
_DATE: Final = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})")
_LEAP_YEAR: Final = "2000"
_QUOTES: Final = "put it in quotes"

# What is open of something, as (first minute since the epoch, minute after the last), in order, none touching.
_Spans = tuple[Window, ...]


class QuietHours(Struct, frozen=True, cache_hash=True):
    """When messages may leave.

    `week`: the windows of seven days, Monday first, in minutes of 0 to 1 440, sorted, not overlapping. `holidays`:
    local days that are closed, as YYYY-MM-DD or, each year's, as MM-DD. `zone`: whose clock counts where none is known.
    `is_dropped`: whether what comes while it is closed is dropped, else held. `spread_s`: over how long what was held
    leaves. `by_country`: others for numbers of a country (`us`) or of an area code (`+1305`), which goes first.
    """

    week: Week
    holidays: frozenset[str]
    zone: str
    is_dropped: bool = False
    spread_s: float = 0.0
    by_country: tuple[tuple[str, "QuietHours"], ...] = ()


class Opening(NamedTuple):
    """Whether it is open, when it opens (now, if it is; 0: never), when that opening ends, and in which zones.

    Units: ms since the epoch. An opening that has no end is told to end OPENING_DAYS_MAX days later.
    """

    is_open: bool
    opens_ms: int
    closes_ms: int
    zones: tuple[str, ...]


class _Found(NamedTuple):
    """An opening in minutes; `start` is the minute it was asked for if that is open, -1 if there is none."""

    start: int
    end: int
    zones: tuple[str, ...]


def opening(hours: QuietHours, number: str, zone: str, now_ms: int) -> Opening:
    """The opening of now, or else the next one, for a person whose zone is `zone`, or else ("") one of their number's.

    It must be open in every zone that the number could be in. Where it has none, or they have no common opening in
    COMMON_DAYS_MAX days (as the 42 of a toll-free number, of 09:00-17:00), the configured zone is asked alone. A zone
    that is asked alone and has no opening in SEARCH_DAYS_MAX days has none: `opens_ms` is 0.
    Raises: nothing, for a `zone` that `zone_named` gave.
    Costs: 0.8 to 1.5 µs when the same was asked in this minute, 2 with `by_country`; 3 to 6 in the next minute. After 5
    days, or of zones not seen before: 20 µs for one, 150 for Australia's 8, 400 for a toll-free number's 42, and 1 ms
    if those never agree. A new number costs its look-ups besides, 40 to 70 µs; a new zone the reading of its file.
    """
    if hours.by_country:
        hours = _of_place(
            hours, country_of_number(number), number[:_AREA_CODE_CHARS] if number.startswith("+1") else ""
        )
    zones = (zone,) if zone else zones_of_number(number)
    minute = now_ms // MINUTE_MS
    start, end, asked = _found(hours, zones, minute)
    if start == minute:
        return Opening(True, now_ms, end * MINUTE_MS, asked)
    if start < 0:
        return Opening(False, 0, 0, asked)
    return Opening(False, start * MINUTE_MS, end * MINUTE_MS, asked)


def leaves_ms(opening: Opening, spread_s: float, draw: float) -> int:
    """When a held send leaves: at the opening, or up to `spread_s` later, by a draw from [0, 1).

    The spread is cut to SPREAD_SHARE of the opening, so that what leaves last still leaves inside of it.
    """
    length_ms = (opening.closes_ms - opening.opens_ms) * SPREAD_SHARE
    return opening.opens_ms + floor(draw * min(spread_s * 1000, length_ms))


@lru_cache(maxsize=_PLACES_MAX)
def _of_place(hours: QuietHours, country: str, area_code: str) -> QuietHours:
    """The hours of a country or, before that, of an area code."""
    others = dict(hours.by_country)
    return others.get(area_code) or others.get(country) or hours


@lru_cache(maxsize=_MINUTES_MAX)
def _found(hours: QuietHours, zones: tuple[str, ...], minute: int) -> _Found:
    """The first opening that ends after a minute: in all zones, or else in the configured one."""
    if len(zones) > 1 and (span := _first(hours, zones, minute, COMMON_DAYS_MAX)):
        return _Found(*span, zones)
    if len(zones) != 1:
        zones = (hours.zone,)
    return _Found(*(_first(hours, zones, minute, SEARCH_DAYS_MAX) or (-1, -1)), zones)


def _first(hours: QuietHours, zones: tuple[str, ...], minute: int, days_max: int) -> Window | None:
    """What is left at a minute of the first opening that isn't over, if it begins within so many days."""
    found: Window | None = None
    block = minute // _BLOCK_MINUTES
    latest = minute + days_max * DAY_MINUTES
    while True:
        for start, end in _common(hours, zones, block):
            if end <= minute:
                continue
            if found is None:
                if start >= latest:
                    return None
                found = (max(start, minute), end)
            elif start == found[1]:  # over the end of a block, which is nothing to the zones
                found = (found[0], end)
            else:
                return found
        block += 1
        until = block * _BLOCK_MINUTES
        if found is None:
            if until >= latest:
                return None
        elif found[1] < until:
            return found
        elif until - found[0] >= OPENING_DAYS_MAX * DAY_MINUTES:
            return found[0], found[0] + OPENING_DAYS_MAX * DAY_MINUTES


@lru_cache(maxsize=_BLOCKS_MAX)
def _common(hours: QuietHours, zones: tuple[str, ...], block: int) -> _Spans:
    """What of a block is open in all zones; the 42 of a toll-free number have 15 different clocks."""
    common: _Spans = ((block * _BLOCK_MINUTES, (block + 1) * _BLOCK_MINUTES),)
    for pieces in {_pieces(zone, block) for zone in zones}:
        common = _both(common, _open(hours, pieces))
    return common


def _both(first: _Spans, second: _Spans) -> _Spans:
    """What is in both."""
    spans = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return tuple((start, end) for start, end in spans if start < end)


@lru_cache(maxsize=_BLOCKS_MAX)
def _open(hours: QuietHours, pieces: tuple[tuple[int, int, int], ...]) -> _Spans:
    """What is open of a block that is cut in pieces of one offset each."""
    spans: list[Window] = []
    for begin, until, offset in pieces:
        for local_day in range((begin + offset) // DAY_MINUTES, (until + offset - 1) // DAY_MINUTES + 1):
            midnight = local_day * DAY_MINUTES - offset
            for first, last in _windows(hours, local_day):
                start, end = max(begin, midnight + first), min(until, midnight + last)
                if start >= end:
                    continue
                if spans and spans[-1][1] == start:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((start, end))
    return tuple(spans)


def _windows(hours: QuietHours, local_day: int) -> tuple[Window, ...]:
    """The windows of a day on the calendar, counted from 1970-01-01."""
    if hours.holidays:
        text = date.fromordinal(_EPOCH_ORDINAL + local_day).isoformat()
        if text in hours.holidays or text[5:] in hours.holidays:
            return ()
    return hours.week[(local_day + _EPOCH_WEEKDAY) % 7]


@lru_cache(maxsize=_BLOCKS_MAX)
def _pieces(zone: str, block: int) -> tuple[tuple[int, int, int], ...]:
    """A block as (first minute, minute after the last, offset in minutes), cut where the zone's clock changes."""
    begin, until = block * _BLOCK_MINUTES, (block + 1) * _BLOCK_MINUTES
    before, after = _offset(zone, begin), _offset(zone, until)
    if before == after:
        return ((begin, until, before),)
    low, high = begin, until  # before the change, and at or after it
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    pieces = ((begin, high, before), (high, until, after))
    return pieces if high < until else pieces[:1]


def _offset(zone: str, minute: int) -> int:
    """By how many minutes a zone's clock is ahead of UTC; all are whole since 1972."""
    offset = (_EPOCH + timedelta(minutes=minute)).astimezone(zone_of(zone)).utcoffset()
    assert offset is not None
    return offset // timedelta(minutes=1)


def compile_quiet_hours(document: object, presets: Mapping[str, Preset]) -> QuietHours:
    """The quiet hours of a configuration's section, as docs/quiet-hours.md describes it.

    Raises: MappingError, every fault as (dotted path in the section, what is wrong and the way out).
    """
    if not isinstance(document, dict):
        raise MappingError([("", "must have keys: preset or open, and zone")])
    section = _Section(document, presets)
    hours = section.hours()
    if section.faults:
        raise MappingError(section.faults)
    return _one(hours)


@lru_cache(maxsize=_SECTIONS_MAX)
def _one(hours: QuietHours) -> QuietHours:
    """The one object for all that are equal: a cache compares two that are only equal field by field, every time."""
    return hours


class _Section:
    """One section as it is read, and its faults."""

    def __init__(self, document: dict[Any, Any], presets: Mapping[str, Preset]) -> None:
        self.faults: list[tuple[str, str]] = []
        self._document = document
        self._presets = presets

    def hours(self) -> QuietHours:
        for key in self._document:
            if key not in KEYS:
                self._fault(str(key)[:80], f"unknown key; {nearest(str(key), KEYS)}")
        preset = self._preset()
        days = self._days()
        week = self._week(preset, days)
        rest = (self._holidays(), self._zone(), self._is_dropped(), self._spread_s())
        return QuietHours(week, *rest, self._by_country(rest) if preset == BY_NUMBER else ())

    def _fault(self, path: str, text: str) -> None:
        self.faults.append((path, text))

    def _text(self, key: str) -> str:
        """The text of a key, "" if it isn't there or no text, which is noted."""
        value = self._document.get(key, "")
        if isinstance(value, str) and (value or key not in self._document):
            return value
        self._fault(key, f"must be text, and not empty; {_QUOTES}")
        return ""

    def _preset(self) -> str:
        name = self._text("preset")
        if name and name != BY_NUMBER and name not in self._presets:
            self._fault("preset", f"no such preset; {nearest(name, (*self._presets, BY_NUMBER))}")
        return name

    def _days(self) -> dict[int, Day]:
        """The days of `open`, by their number from 0 for Monday."""
        written = self._document.get("open", {})
        if not isinstance(written, dict) or ("open" in self._document and not written):
            self._fault("open", 'must be windows by day, as in {mon-fri: "09:00-20:00", sat: closed}')
            return {}
        days: dict[int, Day] = {}
        for key, value in written.items():
            path = f"open.{str(key)[:80]}"
            try:
                named, day = days_of(str(key)), day_of(value)
            except ValueError as exc:
                self._fault(path, str(exc))
                continue
            for at in named:
                if at in days:
                    self._fault(path, f"{DAYS[at]} is named twice; name it once")
                days[at] = day
        return days

    def _week(self, preset: str, days: dict[int, Day]) -> Week:
        if preset == BY_NUMBER and "open" not in self._document:
            self._fault("open", "is missing: by_number needs it, for the countries that have no preset")
        elif "preset" not in self._document and "open" not in self._document:
            self._fault("open", "is missing: write the windows in which messages may leave, or a preset")
        known = self._presets.get(preset)
        week = with_days(known.week if known else NO_DAYS, days)
        if not self.faults and not any(week):
            self._fault("open", "is never open; write a window for at least one day")
        return week

    def _holidays(self) -> frozenset[str]:
        written = self._document.get("holidays", [])
        if not isinstance(written, list) or len(written) > HOLIDAYS_MAX:
            self._fault("holidays", f'must be a list of at most {HOLIDAYS_MAX} days, as in ["2026-12-25", "01-01"]')
            return frozenset()
        for at, value in enumerate(written):
            if fault := _date_fault(value):
                self._fault(f"holidays.{at}", fault)
        return frozenset(value for value in written if isinstance(value, str))

    def _zone(self) -> str:
        if "zone" not in self._document:
            self._fault("zone", "is missing: write the zone of people whose own isn't known, such as America/New_York")
            return ""
        name = self._text("zone")
        if name and not zone_named(name):
            self._fault("zone", f"no such time zone; {_nearest_zone(name)}")
        return name

    def _is_dropped(self) -> bool:
        word = self._text("when_closed") or HOLD
        if word not in (HOLD, DROP):
            self._fault("when_closed", f"must be {HOLD} or {DROP}; {nearest(word, (HOLD, DROP))}")
        return word == DROP

    def _spread_s(self) -> float:
        text = self._text("spread")
        try:
            spread_s = parse_duration_s(text) if text else 0.0
        except ValueError as exc:
            self._fault("spread", str(exc))
            return 0.0
        if spread_s > SPREAD_MAX_S:
            self._fault("spread", "is too long: at most 24h")
        return spread_s

    def _by_country(self, rest: tuple[frozenset[str], str, bool, float]) -> tuple[tuple[str, QuietHours], ...]:
        """The hours of every preset: under its country, or under each of its area codes."""
        return tuple(
            (place, _one(QuietHours(preset.week, *rest)))
            for preset in self._presets.values()
            for place in ([f"+1{code}" for code in preset.area_codes] or [preset.country])
        )


def _date_fault(value: object) -> str:
    """What is wrong with a holiday, "" if nothing is."""
    if not isinstance(value, str):
        return f"must be text; {_QUOTES}"
    match = _DATE.fullmatch(value)
    try:
        if match:
            date.fromisoformat(f"{match[1] or _LEAP_YEAR}-{match[2]}-{match[3]}")
    except ValueError:
        return f"there is no day {value}"
    return "" if match else 'must be a day as in "2026-12-25", or each year\'s as in "12-25"'


def _nearest_zone(name: str) -> str:
    """The zone that was perhaps meant, also by its city alone."""
    by_name = {each.rpartition("/")[2].lower(): each for each in sorted(zone_names())}
    by_name |= {each.lower(): each for each in zone_names()}
    near = get_close_matches(name[:80].lower().replace(" ", "_"), by_name, n=1)
    return f"did you mean {by_name[near[0]]!r}?" if near else "write one of the IANA database, such as Europe/Berlin"
