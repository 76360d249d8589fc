"""Weeks in which messages may leave, as people write them; and those of some countries' rules, as shipped data.

The table is the file `quiet_hours.csv`, read outside of core. It is help, not legal advice: docs/quiet-hours.md.
"""

import csv
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from msgspec import Struct

from streamer.core.action_fields import nearest

# Seven days, Monday first, each with its windows (first minute, minute after the last) of 0 to 1 440, in order.
Window = tuple[int, int]
Day = tuple[Window, ...]
Week = tuple[Day, ...]

DAY_MINUTES: Final = 1_440
WINDOWS_MAX: Final = 24  # a day
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAILY: Final = "daily"
CLOSED: Final = "closed"
NO_DAYS: Final[Week] = ((),) * len(DAYS)

_TIME: Final = r"([01][0-9]|2[0-3]):([0-5][0-9])"
_WINDOW: Final = re.compile(rf"{_TIME} ?- ?(?:{_TIME}|(24):(00))")
_AREA_CODE: Final = re.compile(r"[2-9][0-9]{2}")


class Preset(Struct, frozen=True):
    """The week of a country (`us`), or of a US state by the area codes that are its own (`us-fl`).

    `holidays_note` says which holidays are closed too; they are not in the week. `source` is the rule and its
    paragraph, `note` what it covers.
    """

    country: str
    week: Week
    area_codes: tuple[str, ...] = ()
    holidays_note: str = ""
    source: str = ""
    note: str = ""


def read_presets(lines: Iterable[str]) -> dict[str, Preset]:
    """The presets of a table in CSV, under a line of the names of its columns, by country.

    Columns: country, days, windows (both as in a configuration, several windows with spaces between), area_codes,
    holidays_note, source, note. A country whose days differ has several rows; its first has the rest.
    Raises: ValueError, for days, windows or area codes that can't be read.
    """
    presets: dict[str, Preset] = {}
    for row in csv.DictReader(lines):
        country = row["country"]
        known = presets.get(country) or Preset(
            country,
            NO_DAYS,
            tuple(row["area_codes"].split()),
            row["holidays_note"],
            row["source"],
            row["note"],
        )
        if not all(map(_AREA_CODE.fullmatch, known.area_codes)):
            raise ValueError(f"{country}: an area code has three digits")
        days = dict.fromkeys(days_of(row["days"]), day_of(row["windows"].split()))
        presets[country] = Preset(
            country,
            with_days(known.week, days),
            known.area_codes,
            known.holidays_note,
            known.source,
            known.note,
        )
    return presets


def with_days(week: Week, days: dict[int, Day]) -> Week:
    """A week with other days, by their number from 0 for Monday."""
    return tuple(days.get(at, day) for at, day in enumerate(week))


def days_of(name: str) -> tuple[int, ...]:
    """The numbers of the days that a name means: `mon`, `mon-fri`, `sat-mon`, `daily`. Raises: ValueError, way out."""
    if name == DAILY:
        return tuple(range(len(DAYS)))
    first, dash, last = name.partition("-")
    last = last if dash else first
    for each in (first, last):
        if each not in DAYS:
            raise ValueError(f"no such day; {nearest(each, (*DAYS, DAILY))}, or a range such as mon-fri")
    begin, end = DAYS.index(first), DAYS.index(last)
    return tuple(at % len(DAYS) for at in range(begin, end + 1 if end >= begin else end + 1 + len(DAYS)))


def day_of(value: object) -> Day:
    """The windows of a day: a text such as 09:00-20:00, a list of such, or `closed`. Raises: ValueError, way out."""
    if value == CLOSED:
        return ()
    items = value if isinstance(value, list) else [value]
    if not 0 < len(items) <= WINDOWS_MAX:
        raise ValueError(f"{len(items)} windows; write 1 to {WINDOWS_MAX}, or closed")
    windows = sorted(_window(item) for item in items)
    for (_, end), (start, _) in pairwise(windows):
        if start < end:
            raise ValueError(f"two windows overlap at {_clock(start)}; make them one")
    return tuple(windows)


def _window(value: object) -> Window:
    if not isinstance(value, str):
        raise ValueError('must be text such as "09:00-20:00", or closed; put it in quotes')
    match = _WINDOW.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value[:40]!r} is no window: write two times of 24 hours, as in 09:00-20:00, or closed")
    hours, minutes, *until = filter(None, match.groups())
    start, end = int(hours) * 60 + int(minutes), int(until[0]) * 60 + int(until[1])
    if start == end:
        raise ValueError(f"the window {value[:40]!r} is empty; write closed, or another end")
    if start > end:
        end_text = f", and 00:00-{_clock(end)} for the next day" if end else ""
        raise ValueError(f"{value[:40]!r} goes over midnight: write two, {_clock(start)}-24:00 here{end_text}")
    return start, end


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
