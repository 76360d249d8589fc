"""In which time zones a person could be: by the zone that they or their event name, else by their number.

A number says only where it was given out: people keep it when they move, and a mobile or toll-free one may be of many.
Source: libphonenumber's time zones; the IANA time zone database of the system, else of the tzdata package.
"""

import re
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
import phonenumbers.timezone
from phonenumbers import NumberParseException

# People are asked about more than once, as for `phone`: the zones of 65 536 numbers take 10 MB, their countries 13 MB.
CACHE_NUMBERS_MAX: Final = 65_536
ZONE_CHARS_MAX: Final = 64  # the longest name has 32
ZONES_MAX: Final = 1_024  # there are 600
# libphonenumber knows 400 sets of zones.
_SETS_MAX: Final = 1_024
# What the folder of a system holds besides: `localtime`, `posixrules`, `right/…` and `posix/…` mean what others don't.
_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*)*")


def zones_of_number(e164: str) -> tuple[str, ...]:
    """Every zone that a number could be in, sorted; () if none is known, as of what is no number. Raises: nothing.

    A geographic number mostly has one, a British mobile 4, a toll-free +1 number 42.
    Costs: 0.1 µs for a number seen lately, 40 µs for a new one.
    """
    return _zones_of_number(e164) if len(e164) <= ZONE_CHARS_MAX else ()


def country_of_number(e164: str) -> str:
    """The country of a number, as two small letters by ISO 3166; "" if none is known. Raises: nothing.

    A +1 number is of the country of its area code; a toll-free one, which has none, of the US.
    Costs: 0.1 µs for a number seen lately, 30 µs for a new one.
    """
    return _country_of_number(e164) if len(e164) <= ZONE_CHARS_MAX else ""


def zone_named(*values: object) -> str:
    """The first of some values that is the exact name of a zone, such as Europe/Berlin; "" if none is.

    Anything else is passed over, whatever its type. Costs: 0.2 µs a value, once the names are read (50 ms).
    """
    for value in values:
        if isinstance(value, str) and len(value) <= ZONE_CHARS_MAX and value in zone_names():
            return value
    return ""


@cache
def zone_names() -> frozenset[str]:
    """The names of all zones, read once: what others write for a place, not what only this machine calls so."""
    return frozenset(name for name in available_timezones() if _NAME.fullmatch(name) and name != "Factory")


@lru_cache(maxsize=ZONES_MAX)
def zone_of(name: str) -> ZoneInfo:
    """The zone of a name that `zone_named` knows. Raises: ZoneInfoNotFoundError or ValueError for another."""
    return ZoneInfo(name)


@lru_cache(maxsize=CACHE_NUMBERS_MAX)
def _zones_of_number(e164: str) -> tuple[str, ...]:
    try:
        number = phonenumbers.parse(e164, None)
    except NumberParseException:
        return ()
    return _sorted(phonenumbers.timezone.time_zones_for_number(number))


@lru_cache(maxsize=_SETS_MAX)
def _sorted(zones: tuple[str, ...]) -> tuple[str, ...]:
    """The zones that have a clock, `Etc/Unknown` has none; one tuple for all numbers of the same zones."""
    return tuple(sorted(zone_names().intersection(zones)))


@lru_cache(maxsize=CACHE_NUMBERS_MAX)
def _country_of_number(e164: str) -> str:
    try:
        number = phonenumbers.parse(e164, None)
    except NumberParseException:
        return ""
    region = phonenumbers.region_code_for_number(number) or ""
    return region.lower() if region.isalpha() else ""  # "001" is no country's
