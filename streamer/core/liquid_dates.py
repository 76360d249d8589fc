"""Liquid's `date` filters: ISO 8601 texts and Unix seconds, in UTC or at an offset of minutes, by strftime marks.

There is no clock in core, so `now` and `today` are refused; so are texts that only some JavaScript engines read.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

FORMAT_DEFAULT: Final = "%A, %B %-e, %Y at %-l:%M %P %z"
FORMAT_CHARS_MAX: Final = 200
WIDTH_MAX: Final = 40
OFFSET_MINUTES_MAX: Final = 24 * 60 - 1

_ISO: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<time>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_MARK: Final = re.compile(r"%(?P<flags>[-_0^#:]*+)(?P<width>[0-9]*+)(?P<code>.?)", re.DOTALL)
_NO_TIME: Final = "the value is not a time as in 2026-01-31T09:30:00Z"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SPACED: Final = frozenset("aAbBeklpP")
_WIDTHS: Final = {"d": 2, "e": 2, "H": 2, "I": 2, "j": 3, "k": 2, "l": 2, "L": 3, "m": 2, "M": 2, "S": 2}


def moment_of(value: Any, offset_minutes: float | None = None) -> datetime | None:
    """The time that a value names; None for null. `offset_minutes` is JavaScript's, which is positive west of UTC.

    Raises: ValueError, for what isn't ISO 8601 or Unix seconds between the years 1 and 9999.
    """
    if value is None:
        return None
    try:
        moment = _parsed(value)
        zone = UTC if offset_minutes is None else _zone(offset_minutes)
        return moment.astimezone(zone)
    except (OverflowError, TypeError) as exc:
        raise ValueError("a time outside of the years 1 to 9999") from exc


def _parsed(value: Any) -> datetime:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + timedelta(milliseconds=int(value * 1000))
    iso = _ISO.fullmatch(value) if isinstance(value, str) else None
    if iso is None:
        if value in ("now", "today"):
            raise ValueError("`now` and `today` are not the event's time; use timestamp")
        raise ValueError(_NO_TIME)
    try:
        moment = datetime.fromisoformat(f"{iso['day']}T{iso['time'] or '00:00'}").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(_NO_TIME) from None  # Python's words hold the value
    moment += timedelta(milliseconds=int((iso["fraction"] or "").ljust(3, "0")[:3]))
    if iso["zone"] in (None, "Z", "z"):
        return moment
    sign, digits = iso["zone"][0], iso["zone"][1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return moment.replace(tzinfo=_zone(minutes if sign == "-" else -minutes))


def _zone(js_offset_minutes: float) -> timezone:
    if not abs(js_offset_minutes) <= OFFSET_MINUTES_MAX:
        raise ValueError(f"an offset is at most {OFFSET_MINUTES_MAX} minutes")
    return timezone(timedelta(minutes=-int(js_offset_minutes)))


def written(moment: datetime, style: str) -> str:
    """A time by strftime marks, as liquidjs writes them. Raises: ValueError, for a mark that isn't understood."""
    if len(style) > FORMAT_CHARS_MAX:
        raise ValueError(f"a date format of {len(style)} characters; at most {FORMAT_CHARS_MAX}")
    return _MARK.sub(lambda mark: _written_mark(moment, mark), style)


def _written_mark(moment: datetime, mark: re.Match[str]) -> str:
    flags, width, code = mark["flags"], mark["width"], mark["code"]
    part = _PARTS.get(code)
    if part is None:
        raise ValueError("the date format has a mark that is not understood")
    if len(width) > 2 or int(width or 0) > WIDTH_MAX:
        raise ValueError(f"the date format has a width of more than {WIDTH_MAX}")
    text = _offset(moment, is_colon=True) if code == "z" and ":" in flags else part(moment)
    if code == "N":
        return text.ljust(9, "0")[: int(width or 9)].ljust(int(width or 9), "0")
    if "^" in flags:
        text = text.upper()
    elif "#" in flags:
        text = text.upper() if any("a" <= each <= "z" for each in text) else text.lower()
    fill = " " if "_" in flags else "0" if "0" in flags or code not in _SPACED else " "
    least = 0 if "-" in flags else int(width or 0) or _WIDTHS.get(code, 0)
    return text.rjust(least, fill)


def _ordinal(day: int) -> str:
    return "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _offset(moment: datetime, *, is_colon: bool) -> str:
    digits = f"{moment:%z}"
    return f"{digits[:3]}:{digits[3:5]}" if is_colon else digits[:5]


_PARTS: Final[dict[str, Callable[[datetime], str]]] = {
    "a": lambda moment: _DAYS[moment.isoweekday() % 7][:3],
    "A": lambda moment: _DAYS[moment.isoweekday() % 7],
    "b": lambda moment: _MONTHS[moment.month - 1][:3],
    "B": lambda moment: _MONTHS[moment.month - 1],
    "C": lambda moment: str(int(str(moment.year)[:2])),
    "d": lambda moment: str(moment.day),
    "e": lambda moment: str(moment.day),
    "h": lambda moment: _MONTHS[moment.month - 1][:3],
    "H": lambda moment: str(moment.hour),
    "I": lambda moment: str(moment.hour % 12 or 12),
    "j": lambda moment: str(moment.timetuple().tm_yday),
    "k": lambda moment: str(moment.hour),
    "l": lambda moment: str(moment.hour % 12 or 12),
    "L": lambda moment: str(moment.microsecond // 1000),
    "m": lambda moment: str(moment.month),
    "M": lambda moment: str(moment.minute),
    "n": lambda _: "\n",
    "N": lambda moment: f"{moment.microsecond // 1000:03d}",
    "p": lambda moment: "AM" if moment.hour < 12 else "PM",
    "P": lambda moment: "am" if moment.hour < 12 else "pm",
    "q": lambda moment: _ordinal(moment.day),
    "s": lambda moment: str(round((moment - _EPOCH) / timedelta(seconds=1))),
    "S": lambda moment: str(moment.second),
    "t": lambda _: "\t",
    "u": lambda moment: str(moment.isoweekday()),
    "w": lambda moment: str(moment.isoweekday() % 7),
    "y": lambda moment: str(moment.year)[2:4],
    "Y": lambda moment: str(moment.year),
    "z": lambda moment: _offset(moment, is_colon=False),
    "Z": lambda moment: _offset(moment, is_colon=False) if moment.utcoffset() else "UTC",
    "%": lambda _: "%",
}
